"""Retention, accumulation, dynamic sampling, reward shaping."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from uec_vlm.objective.retention import (
    DynamicSampling,
    above,
    absolute_above,
    correct,
    everything,
    refill,
    take_batches,
)
from uec_vlm.objective.rewards import shaped_reward, soft_overlong_penalty

ADVANTAGES = torch.tensor([1.5, 0.05, 0.0, -0.05, -1.5])
RIGHT = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0])
WHOLE = torch.zeros(5, dtype=torch.bool)
CUT = torch.tensor([True, False, True, False, True])


def kept(mask: Tensor) -> list[int]:
    return [int(index) for index in mask.nonzero().flatten()]


def test_rules_by_hand() -> None:
    assert kept(everything(ADVANTAGES, RIGHT, WHOLE)) == [0, 1, 2, 3, 4]
    assert kept(absolute_above(ADVANTAGES, RIGHT, WHOLE)) == [0, 4]  # the threshold itself goes
    assert kept(above(ADVANTAGES, RIGHT, WHOLE)) == [0, 1]
    assert kept(correct(ADVANTAGES, RIGHT, WHOLE)) == [0, 1, 2]


def test_truncated_answers_by_setting() -> None:
    assert kept(everything(ADVANTAGES, RIGHT, CUT, truncated_answers="keep")) == [0, 1, 2, 3, 4]
    assert kept(everything(ADVANTAGES, RIGHT, CUT, truncated_answers="drop_positive")) == [1, 2, 3, 4]
    assert kept(everything(ADVANTAGES, RIGHT, CUT, truncated_answers="drop")) == [1, 3]
    # A truncated failure stays: it teaches not to ramble.
    assert kept(absolute_above(ADVANTAGES, RIGHT, CUT)) == [4]


@pytest.mark.parametrize("rule", [everything, absolute_above, above, correct])
def test_everything_truncated_and_the_empty_group_are_ordinary(rule: object) -> None:
    everyone = torch.ones(5, dtype=torch.bool)
    assert kept(rule(ADVANTAGES, RIGHT, everyone, truncated_answers="drop")) == []  # type: ignore[operator]
    empty = torch.zeros(0)
    assert rule(empty, empty, empty.bool()).shape == (0,)  # type: ignore[operator]


def test_the_largest_multiple_is_taken() -> None:
    assert [take_batches(length, 40) for length in (0, 39, 40, 79, 80, 119)] == [0, 0, 40, 40, 80, 80]
    with pytest.raises(ValueError, match="at least 1"):
        take_batches(5, 0)


SETTINGS = DynamicSampling(max_refills=2)
MIXED, RIGHT_ALL, WRONG_ALL = [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]


def test_refill_keeps_groups_that_are_neither_all_right_nor_all_wrong() -> None:
    decision = refill([RIGHT_ALL, MIXED, WRONG_ALL, MIXED, MIXED], wanted=2, refills_done=0, settings=SETTINGS)
    assert (decision.kept, decision.action) == ((1, 3), "enough")


def test_refill_is_bounded_and_says_when_the_data_are_exhausted() -> None:
    assert refill([RIGHT_ALL, MIXED], wanted=2, refills_done=1, settings=SETTINGS).action == "refill"
    last = refill([RIGHT_ALL, MIXED], wanted=2, refills_done=2, settings=SETTINGS)
    assert (last.kept, last.action) == ((1,), "exhausted")
    nothing = refill([RIGHT_ALL], wanted=2, refills_done=2, settings=SETTINGS)
    assert (nothing.kept, nothing.action) == ((), "exhausted")


def test_soft_overlong_penalty_by_hand() -> None:
    # Limit 100, buffer 20: 0 up to 80, -0.5 at 90, -1 at 100 and beyond.
    lengths = (0, 80, 81, 90, 100, 120)
    found = [soft_overlong_penalty(length, limit=100, buffer=20) for length in lengths]
    assert found == [0.0, 0.0, -0.05, -0.5, -1.0, -1.0]
    assert [soft_overlong_penalty(length, limit=100, buffer=0) for length in (100, 101)] == [0.0, -1.0]


def test_shaped_reward_of_dapo() -> None:
    dapo = {"wrong": -1.0, "overlong_share": 0.2}
    assert shaped_reward(1.0, 1.0, 50, 100, **dapo) == 1.0
    assert shaped_reward(0.0, 0.0, 50, 100, **dapo) == -1.0
    assert shaped_reward(1.0, 1.0, 90, 100, **dapo) == 0.5
    assert shaped_reward(0.0, 0.0, 100, 100, **dapo) == -2.0


def test_without_shaping_the_reward_is_as_judged() -> None:
    assert shaped_reward(1.1, 1.0, 100, 100) == 1.1
    assert shaped_reward(0.1, 0.0, 100, 100) == 0.1
