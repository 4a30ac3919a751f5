"""Rollouts to verdicts and rewards: the verifier's word, the format, and the configured weights, never mixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from uec_vlm.records import Judged, Rollout
from uec_vlm.verifier import has_format, judge


@dataclass(frozen=True)
class RewardSettings:
    """reward = accuracy_weight * accuracy + format_weight * format."""

    accuracy_weight: float
    format_weight: float
    format: str


def judge_rollouts(rollouts: Sequence[Rollout], settings: RewardSettings) -> list[Judged]:
    """One `Judged` per rollout, in order."""
    verdicts = [
        judge(
            rollout.text,
            rollout.prompt.sample.answer,
            rollout.prompt.sample.choices or None,
            question=rollout.prompt.sample.problem,
            finish_reason=rollout.finish,
        )
        for rollout in rollouts
    ]
    judged = []
    for rollout, verdict in zip(rollouts, verdicts, strict=True):
        accuracy = float(verdict.correct)
        format_kept = float(has_format(rollout.text, settings.format))
        reward = settings.accuracy_weight * accuracy + settings.format_weight * format_kept
        judged.append(Judged(rollout, verdict, accuracy, format_kept, reward))
    return judged
