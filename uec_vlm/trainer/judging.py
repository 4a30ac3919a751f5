"""Rollouts to verdicts and rewards: the verifier's word, the format, and the configured weights, never mixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from uec_vlm.batches import choices_listed
from uec_vlm.errors import RunError
from uec_vlm.records import Judged, Rollout, Verdict
from uec_vlm.verifier import Item, RewardFunction, has_format, judge_many


@dataclass(frozen=True)
class RewardSettings:
    """reward = accuracy_weight * accuracy + format_weight * format + sum of weight * user's function.

    on_error: what a failing function does: "stop" the run, or "zero": its completion counts as wrong with the reason
    "error" and reward 0, whatever the verifier says.
    """

    accuracy_weight: float
    format_weight: float
    format: str
    functions: tuple[tuple[RewardFunction, float], ...] = ()
    on_error: Literal["stop", "zero"] = "stop"


def judge_rollouts(rollouts: Sequence[Rollout], settings: RewardSettings) -> list[Judged]:
    """One `Judged` per rollout, in order. RunError if a user's reward function fails and that is to stop the run."""
    samples = [rollout.prompt.sample for rollout in rollouts]
    verdicts = judge_many(
        [
            Item(
                rollout.answer,
                sample.answer,
                sample.choices or None,
                sample.problem,
                rollout.finish,
                listed=choices_listed(sample),
            )
            for rollout, sample in zip(rollouts, samples, strict=True)
        ]
    )
    own = _own_rewards(rollouts, settings)
    judged = []
    for rollout, verdict, extra in zip(rollouts, verdicts, own, strict=True):
        format_kept = float(has_format(rollout.answer, settings.format))
        if extra is None:
            judged.append(Judged(rollout, Verdict(False, "error", verdict.extracted), 0.0, format_kept, 0.0))
            continue
        accuracy = float(verdict.correct)
        reward = settings.accuracy_weight * accuracy + settings.format_weight * format_kept + extra
        judged.append(Judged(rollout, verdict, accuracy, format_kept, reward))
    return judged


def _own_rewards(rollouts: Sequence[Rollout], settings: RewardSettings) -> list[float | None]:
    """Weighted sum of the user's functions, per rollout; None where one failed."""
    try:
        return list(_sum_of_functions(rollouts, settings))
    except RunError:
        if settings.on_error == "stop":
            raise
    if len(rollouts) == 1:
        return [None]
    return [value for rollout in rollouts for value in _own_rewards([rollout], settings)]


def _sum_of_functions(rollouts: Sequence[Rollout], settings: RewardSettings) -> list[float]:
    golds = [rollout.prompt.sample.answer for rollout in rollouts]
    contexts = [
        {
            "problem": r.prompt.sample.problem,
            "choices": r.prompt.sample.choices,
            "finish_reason": r.finish,
            "metadata": dict(r.prompt.sample.metadata),
        }
        for r in rollouts
    ]
    total = [0.0] * len(rollouts)
    for function, weight in settings.functions:
        values = function([rollout.answer for rollout in rollouts], golds, contexts)
        total = [have + weight * value for have, value in zip(total, values, strict=True)]
    return total
