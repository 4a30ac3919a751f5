"""Retention: which completions of a judged group are trained on; accumulation; dynamic sampling.

An empty selection is an ordinary answer everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from uec_vlm.objective.ranges import Count, CountOrZero, Finite, NonNegative

Truncated = Literal["keep", "drop_positive", "drop", "mask"]


def everything(
    advantages: Float[Tensor, " G"],
    accuracies: Float[Tensor, " G"],
    truncated: Bool[Tensor, " G"],
    *,
    truncated_answers: Truncated = "keep",
) -> Bool[Tensor, " G"]:
    """Keeps all, those with zero advantage too (GRPO: they count in the denominators).

    truncated_answers: what happens to completions that the length limit cut: "keep"; "drop_positive": those with A > 0
    go; "drop": all go (DAPO calls this overlong filtering); "mask": all stay in the denominators with advantage 0
    (`choose` sets it): no policy gradient, but KL and entropy term act on them.
    """
    return _without_truncated(torch.ones_like(truncated), advantages, truncated, truncated_answers)


def absolute_above(
    advantages: Float[Tensor, " G"],
    accuracies: Float[Tensor, " G"],
    truncated: Bool[Tensor, " G"],
    *,
    threshold: NonNegative = 0.05,
    truncated_answers: Truncated = "drop_positive",
) -> Bool[Tensor, " G"]:
    """|A| > threshold: groups that are all right or all wrong vanish. truncated_answers: as in `everything`."""
    return _without_truncated(advantages.abs() > threshold, advantages, truncated, truncated_answers)


def above(
    advantages: Float[Tensor, " G"],
    accuracies: Float[Tensor, " G"],
    truncated: Bool[Tensor, " G"],
    *,
    threshold: Finite = 0.0,
    truncated_answers: Truncated = "drop_positive",
) -> Bool[Tensor, " G"]:
    """A > threshold: successes only, where the reward is accuracy alone. truncated_answers: as in `everything`.

    Where the reward holds more, the best of wrong answers have A > 0 too; `correct` leaves them out.
    """
    return _without_truncated(advantages > threshold, advantages, truncated, truncated_answers)


def correct(
    advantages: Float[Tensor, " G"],
    accuracies: Float[Tensor, " G"],
    truncated: Bool[Tensor, " G"],
    *,
    truncated_answers: Truncated = "keep",
) -> Bool[Tensor, " G"]:
    """Right answers only, whatever their advantage. truncated_answers: as in `everything`."""
    return _without_truncated(accuracies > 0, advantages, truncated, truncated_answers)


def take_batches(queue_length: int, unit: int) -> int:
    """How many queued trajectories are trained on: the largest multiple of `unit` (P x G) that is there, 0 included."""
    if unit < 1:
        raise ValueError(f"unit = {unit}: it is prompts x completions of a step and at least 1")
    return queue_length // unit * unit


@dataclass(frozen=True)
class DynamicSampling:
    """Refill a step with new prompts until enough groups have something to teach (DAPO, arXiv 2503.14476).

    max_refills: further draws of prompts in a step, at most. when_exhausted: what happens after them: "train" on the
    informative groups that were found, or "stop" the run with a clear message.
    """

    max_refills: CountOrZero = 10
    when_exhausted: Literal["train", "stop"] = "train"


@dataclass(frozen=True)
class RefillDecision:
    """kept: indices of the groups with 0 < accuracy < 1, at most the wanted number. action: what the step does next."""

    kept: tuple[int, ...]
    action: Literal["enough", "refill", "exhausted"]


def refill(
    accuracies_P_G: Sequence[Sequence[float]], *, wanted: Count, refills_done: int, settings: DynamicSampling
) -> RefillDecision:
    """Looks at all groups that the step has sampled so far and says whether it needs more.

    wanted: groups of a full step (P). "exhausted": all refills are used and there are fewer (perhaps none): the data
    that were drawn have nothing left to teach, and `settings.when_exhausted` says what to do.
    """
    informative = [index for index, group in enumerate(accuracies_P_G) if group and 0.0 < sum(group) / len(group) < 1.0]
    if len(informative) >= wanted:
        return RefillDecision(tuple(informative[:wanted]), "enough")
    return RefillDecision(tuple(informative), "refill" if refills_done < settings.max_refills else "exhausted")


def _without_truncated(
    kept: Bool[Tensor, " G"], advantages: Float[Tensor, " G"], truncated: Bool[Tensor, " G"], what: Truncated
) -> Bool[Tensor, " G"]:
    if what in ("keep", "mask"):
        return kept
    if what == "drop":
        return kept & ~truncated
    return kept & ~(truncated & (advantages > 0))


RETENTION: dict[str, Callable[..., Tensor]] = {
    "everything": everything,
    "absolute_above": absolute_above,
    "above": above,
    "correct": correct,
}
