"""The replay buffer: who enters, who leaves, when it is due, what is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest
import torch

from tests.support.objective_worlds import trajectory
from uec_vlm.objective.replay import (
    ReplayBuffer,
    ReplaySettings,
    above,
    absolute_above,
    capacity_of,
    draw,
    due,
    nothing,
    push,
)
from uec_vlm.records import Trajectory

POSITIVE = partial(above, threshold=1.0)
FREE = ReplaySettings(size=2.0, every=5, max_reuse=None)


def names(items: tuple[Trajectory, ...] | list[Trajectory]) -> list[str]:
    return [item.judged.rollout.prompt.sample.id for item in items]


def filled(count: int, *, settings: ReplaySettings = FREE, unit: int = 4, born: int = 0) -> ReplayBuffer:
    items = [trajectory(2.0, name=str(index), born=born) for index in range(count)]
    return push(ReplayBuffer(), items, step=born, unit=unit, admit=POSITIVE, settings=settings)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_admission_by_sign() -> None:
    advantages = torch.tensor([1.5, 1.0, 0.0, -1.5])
    assert above(advantages).tolist() == [True, False, False, False]
    assert absolute_above(advantages).tolist() == [True, False, False, True]
    assert nothing(advantages).tolist() == [False] * 4


def test_what_enters_has_been_used_once_and_the_rest_stays_out() -> None:
    items = [trajectory(2.0, name="in"), trajectory(0.5, name="out"), trajectory(-2.0, name="failure")]
    buffer = push(ReplayBuffer(), items, step=0, unit=4, admit=POSITIVE, settings=FREE)
    assert names(buffer.trajectories) == ["in"]
    assert buffer.trajectories[0].uses == 1
    assert items[0].uses == 0


def test_first_in_first_out() -> None:
    # Capacity 2 x 4 = 8: of ten the two oldest leave.
    assert names(filled(10).trajectories) == [str(index) for index in range(2, 10)]


def test_an_empty_push_changes_nothing_and_is_ordinary() -> None:
    buffer = filled(3)
    assert push(buffer, [], step=1, unit=4, admit=POSITIVE, settings=FREE) == buffer
    assert len(push(ReplayBuffer(), [], step=0, unit=4, admit=POSITIVE, settings=FREE)) == 0


@pytest.mark.parametrize(("size", "unit", "capacity"), [(2.0, 4, 8), (0.5, 5, 3), (0.01, 4, 1)])
def test_capacity(size: float, unit: int, capacity: int) -> None:
    assert capacity_of(unit=unit, settings=ReplaySettings(size=size)) == capacity


def replay_steps(scales: Sequence[float], settings: ReplaySettings = FREE) -> list[int]:
    """The steps with a replay, the controller's scale of every step given."""
    owed, steps = 0.0, []
    for step, scale in enumerate(scales):
        follows, owed = due(owed, settings, scale=scale)
        assert 0.0 <= owed < 1.0
        steps += [step] if follows else []
    return steps


@pytest.mark.parametrize("every", [1, 3, 7, 49, 300])
def test_a_constant_interval_does_not_drift(every: int) -> None:
    steps = replay_steps([1.0] * 3000, replace(FREE, every=every))
    assert steps == list(range(every - 1, 3000, every))


def test_a_scale_that_drifts_moves_no_replay_by_more_than_the_interval() -> None:
    falling = [1.42 - 0.24 * step / 50 for step in range(50)]
    steps = replay_steps([1.0] * 200 + falling)
    assert max(after - before for before, after in pairwise(steps)) <= 5
    assert len(steps) == 40 + int(sum(falling) / 5)


def test_due_every_five_steps() -> None:
    assert replay_steps([1.0] * 20) == [4, 9, 14, 19]


def test_the_scale_changes_the_frequency() -> None:
    count = lambda scale: len(replay_steps([scale] * 100))  # noqa: E731
    assert [count(scale) for scale in (0.0, 0.5, 1.0, 2.5, 5.0, 50.0)] == [0, 10, 20, 50, 100, 100]


def test_a_full_buffer_is_drawn_whole_and_no_random_number_is_used() -> None:
    source = generator()
    before = source.get_state()
    drawn, after = draw(filled(8), unit=4, step=4, generator=source, settings=FREE)
    assert names(drawn) == [str(index) for index in range(8)]
    assert torch.equal(source.get_state(), before)
    assert [item.uses for item in after.trajectories] == [2] * 8


def test_otherwise_the_largest_multiple_is_drawn_without_replacement() -> None:
    drawn, after = draw(filled(7), unit=4, step=4, generator=generator(), settings=FREE)
    assert len(drawn) == len(set(names(drawn))) == 4
    assert len(after) == 7
    assert sorted(item.uses for item in after.trajectories) == [1, 1, 1, 2, 2, 2, 2]
    other, _ = draw(filled(7), unit=4, step=4, generator=generator(3), settings=FREE)
    assert names(other) != names(drawn)


def test_too_few_or_none_are_an_empty_draw() -> None:
    assert draw(filled(3), unit=4, step=4, generator=generator(), settings=FREE)[0] == []
    assert draw(ReplayBuffer(), unit=4, step=4, generator=generator(), settings=FREE) == ([], ReplayBuffer())


def test_a_trajectory_is_replayed_at_most_max_reuse_times() -> None:
    settings = ReplaySettings(size=1.0, max_reuse=2)
    buffer = filled(4, settings=settings)
    sizes = []
    for _ in range(4):
        drawn, buffer = draw(buffer, unit=4, step=4, generator=generator(), settings=settings)
        sizes.append(len(drawn))
    assert sizes == [4, 4, 0, 0]


def test_old_trajectories_leave() -> None:
    settings = ReplaySettings(max_age=3, max_reuse=None)
    buffer = filled(4, settings=settings, born=2)
    assert len(draw(buffer, unit=4, step=5, generator=generator(), settings=settings)[0]) == 4
    late, after = draw(buffer, unit=4, step=6, generator=generator(), settings=settings)
    assert (late, len(after)) == ([], 0)
    assert len(push(buffer, [], step=6, unit=4, admit=POSITIVE, settings=settings)) == 0
