"""Reward functions for TRL: `GRPOTrainer(..., reward_funcs=[accuracy_reward, format_reward])`.

The data set has a column `answer` (or `solution`) with the gold; columns `choices` (where the prompt lists them: a
letter is paid then) and `problem` are used when they are there. A completion that could not be judged (a timeout, an
unreadable gold) gives None, which TRL leaves out of the reward; it is never paid as wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from uec_vlm.records import Verdict
from uec_vlm.verifier import FORMATS, Item, has_format, judge_many

NOT_JUDGED = frozenset({"timeout", "error", "gold_unparsable"})


def accuracy_reward(
    completions: Sequence[Any],
    *,
    answer: Sequence[str] | None = None,
    solution: Sequence[str] | None = None,
    choices: Sequence[Sequence[str] | None] | None = None,
    problem: Sequence[str] | None = None,
    log_metric: Callable[[str, float], None] | None = None,
    log_extra: Callable[[str, list[Any]], None] | None = None,
    **_: object,
) -> list[float | None]:
    """1.0 for a right answer, 0.0 for a wrong one, None for one that could not be judged.

    completions: texts, or lists of messages of which the last one is the answer, as TRL passes them. The share of every
    reason that occurs goes to `log_metric` as `verifier/<reason>`, the extracted answers to `log_extra`.
    """
    golds = answer if answer is not None else solution
    if golds is None:
        raise ValueError("accuracy_reward needs the column 'answer' or 'solution' in the data set")
    items = [
        Item(
            response_text(completion),
            str(golds[place]),
            (choices[place] or None) if choices is not None else None,
            problem[place] if problem is not None else None,
        )
        for place, completion in enumerate(completions)
    ]
    verdicts = judge_many(items)
    if log_metric is not None:
        for reason, count in sorted(Counter(verdict.reason for verdict in verdicts).items()):
            log_metric(f"verifier/{reason}", count / len(verdicts))
    if log_extra is not None:
        log_extra("extracted_answer", [verdict.extracted for verdict in verdicts])
        log_extra("verdict", [verdict.reason for verdict in verdicts])
    return [_reward(verdict) for verdict in verdicts]


def format_reward(completions: Sequence[Any], *, format_name: str = "think_boxed", **_: object) -> list[float]:
    """1.0 where the completion keeps the format (a key of `uec_vlm.verifier.FORMATS`), a number of its own."""
    if format_name not in FORMATS:
        raise ValueError(f"format_name = {format_name!r}; the formats are {sorted(FORMATS)}")
    return [float(has_format(response_text(completion), format_name)) for completion in completions]


def response_text(completion: Any) -> str:
    """The text of a completion: a string, or the content of the last message (its text parts joined)."""
    if isinstance(completion, str):
        return completion
    content = completion[-1]["content"]
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content if isinstance(part, dict))


def _reward(verdict: Verdict) -> float | None:
    return None if verdict.reason in NOT_JUDGED else float(verdict.correct)
