"""Reward function for verl: `custom_reward_function.path=<this file> custom_reward_function.name=compute_score`.

The path is printed by `python -c "import uec_vlm.integrations.verl as m; print(m.__file__)"`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uec_vlm.verifier import has_format, judge


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, Any] | None = None,
    *,
    format_weight: float = 0.0,
    format_name: str = "think_boxed",
    **_: object,
) -> dict[str, Any]:
    """The score of one completion, as verl's reward managers call it, with what they log beside it.

    extra_info: `choices` (where the prompt lists them: a letter is paid then) and `question` are used when they are
    there. format_weight: share of the format in `score`,
    in [0, 1]; `acc` and `format` stay separate numbers. All rows have the same keys.
    """
    info = extra_info or {}
    choices = info.get("choices")
    verdict = judge(
        solution_str,
        str(ground_truth),
        list(choices) if choices is not None and len(choices) else None,
        question=info.get("question"),
    )
    accuracy = float(verdict.correct)
    kept = float(has_format(solution_str, format_name))
    return {
        "score": (1.0 - format_weight) * accuracy + format_weight * kept,
        "acc": accuracy,
        "format": kept,
        "pred": verdict.extracted or "",
        "reason": verdict.reason,
    }
