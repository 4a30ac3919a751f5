"""The stabilizer: a first-in-first-out buffer of trajectories that are trained on again at intervals.

Pure transitions on a frozen record. `uses` of a trajectory counts the updates that it has been part of: 1 after the
update it was sampled for, one more per replay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from uec_vlm.objective.ranges import Count, CountOrZero, NonNegative, Positive
from uec_vlm.objective.retention import take_batches
from uec_vlm.records import Trajectory


def nothing(advantages: Float[Tensor, " B"]) -> Bool[Tensor, " B"]:
    """No replay: nothing enters the buffer."""
    return torch.zeros_like(advantages, dtype=torch.bool)


def above(advantages: Float[Tensor, " B"], *, threshold: NonNegative = 1.0) -> Bool[Tensor, " B"]:
    """A > threshold: successes that were rare in their group. threshold: A_0."""
    return advantages > threshold


def absolute_above(advantages: Float[Tensor, " B"], *, threshold: NonNegative = 1.0) -> Bool[Tensor, " B"]:
    """|A| > threshold: confident failures of easy groups too (the released code). threshold: A_0."""
    return advantages.abs() > threshold


@dataclass(frozen=True)
class ReplaySettings:
    """The settings that all admission rules share.

    size: capacity in units of P x G. every: a replay is due once in that many steps (times the controller's scale).
    max_reuse: replays of a trajectory, at most; null for no limit. max_age: steps since it was sampled, at most; null
    for no limit. old_logprobs: at a replay, those stored when it was first trained, or those of the policy now.
    """

    size: Positive = 2.0
    every: Count = 5
    max_reuse: Count | None = 4
    max_age: CountOrZero | None = None
    old_logprobs: Literal["stored", "recomputed"] = "recomputed"


@dataclass(frozen=True)
class ReplayBuffer:
    """Trajectories, oldest first. State of the training (checkpoint)."""

    trajectories: tuple[Trajectory, ...] = ()

    def __len__(self) -> int:
        """Number of trajectories."""
        return len(self.trajectories)


def push(
    buffer: ReplayBuffer,
    trajectories: Sequence[Trajectory],
    *,
    step: int,
    unit: int,
    admit: Callable[[Tensor], Tensor],
    settings: ReplaySettings,
) -> ReplayBuffer:
    """The buffer after an update: what `admit` lets in enters behind, with that update counted; the oldest leave.

    unit: P x G; the capacity is round(size x unit). Trajectories that are too old leave as well.
    """
    if not trajectories:
        return _without_expired(buffer, step=step, settings=settings)
    admitted = admit(torch.tensor([item.advantage for item in trajectories], dtype=torch.float64)).tolist()
    entering = [
        replace(item, uses=item.uses + 1) for item, enters in zip(trajectories, admitted, strict=True) if enters
    ]
    fresh = _without_expired(ReplayBuffer((*buffer.trajectories, *entering)), step=step, settings=settings)
    capacity = capacity_of(unit=unit, settings=settings)
    return ReplayBuffer(fresh.trajectories[max(len(fresh) - capacity, 0) :])


def due(owed: float, settings: ReplaySettings, *, scale: float = 1.0) -> tuple[bool, float]:
    """Whether a replay follows the update of this step, and what part of the next one is owed after it.

    owed: in [0, 1), as the step before returned it, at first 0: with every = 5 the fifth step replays, the tenth ...
    scale: times the frequency (the controller's); 0 is never, and more than once a step is once a step.
    """
    owed += min(scale / settings.every, 1.0)
    follows = owed > 1.0 - 1e-9
    return follows, max(owed - 1.0, 0.0) if follows else owed


def draw(
    buffer: ReplayBuffer, *, unit: int, step: int, generator: torch.Generator, settings: ReplaySettings
) -> tuple[list[Trajectory], ReplayBuffer]:
    """The trajectories of a replay, oldest first, and the buffer after it.

    All of it when the buffer is full, otherwise the largest multiple of `unit`, drawn without replacement; too old ones
    leave first, and those whose replays are used up leave afterwards. generator: CPU; advanced only when it chooses.
    """
    buffer = _without_expired(buffer, step=step, settings=settings)
    held = len(buffer)
    full = held >= capacity_of(unit=unit, settings=settings)
    count = held if full else take_batches(held, unit)
    if count == 0:
        return [], buffer
    chosen = set(range(held)) if count == held else set(torch.randperm(held, generator=generator)[:count].tolist())
    drawn = [item for index, item in enumerate(buffer.trajectories) if index in chosen]
    used = [
        replace(item, uses=item.uses + 1) if index in chosen else item for index, item in enumerate(buffer.trajectories)
    ]
    return drawn, _without_expired(ReplayBuffer(tuple(used)), step=step, settings=settings)


def capacity_of(*, unit: int, settings: ReplaySettings) -> int:
    """Trajectories that the buffer holds at most: round(size x unit), a half up, at least 1."""
    return max(int(settings.size * unit + 0.5), 1)


def _without_expired(buffer: ReplayBuffer, *, step: int, settings: ReplaySettings) -> ReplayBuffer:
    def alive(item: Trajectory) -> bool:
        young = settings.max_age is None or step - item.born <= settings.max_age
        return young and (settings.max_reuse is None or item.uses <= settings.max_reuse)

    return ReplayBuffer(tuple(item for item in buffer.trajectories if alive(item)))


REPLAY: dict[str, Callable[..., Tensor]] = {
    "none": nothing,
    "above": above,
    "absolute_above": absolute_above,
}
