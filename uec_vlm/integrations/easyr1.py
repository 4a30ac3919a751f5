"""Reward function for EasyR1: `worker.reward.reward_function=<this file>:compute_score`.

The path is printed by `python -c "import uec_vlm.integrations.easyr1 as m; print(m.__file__)"`. It serves the batch and
the sequential reward type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from uec_vlm.verifier import Item, has_format, judge_many

REWARD_NAME = "uec_vlm"
REWARD_TYPE = "batch"


def compute_score(
    reward_inputs: Sequence[Mapping[str, Any]] | Mapping[str, Any],
    format_weight: float = 0.1,
    format_name: str = "think_boxed",
) -> list[dict[str, float]] | dict[str, float]:
    """The scores of completions given as {"response", "ground_truth", ...}; one dict for one dict.

    overall: (1 - format_weight) * accuracy + format_weight * format, what EasyR1 trains on; accuracy and format: its
    parts.
    not_judged: 1.0 where the verifier could not decide (a timeout, an unreadable gold), to be watched.
    """
    if isinstance(reward_inputs, Mapping):
        return _scores([reward_inputs], format_weight, format_name)[0]
    return _scores(reward_inputs, format_weight, format_name)


def _scores(inputs: Sequence[Mapping[str, Any]], format_weight: float, format_name: str) -> list[dict[str, float]]:
    verdicts = judge_many([Item(str(row["response"]), str(row["ground_truth"])) for row in inputs])
    scores = []
    for row, verdict in zip(inputs, verdicts, strict=True):
        accuracy = float(verdict.correct)
        kept = float(has_format(str(row["response"]), format_name))
        scores.append(
            {
                "overall": (1.0 - format_weight) * accuracy + format_weight * kept,
                "accuracy": accuracy,
                "format": kept,
                "not_judged": float(verdict.reason in ("timeout", "error", "gold_unparsable")),
            }
        )
    return scores
