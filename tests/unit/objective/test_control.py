"""Controllers: laws by hand, bounds, anti-windup, and the state in a checkpoint."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from uec_vlm.errors import CheckpointError
from uec_vlm.objective.control import (
    CONTROLLERS,
    ControllerState,
    adaptive_entropy,
    entropic,
    none,
    switched_temperature,
    uec_band,
)

START = ControllerState()


def test_none_only_counts() -> None:
    assert none(START, 0.3) == replace(START, steps=1)


def test_adaptive_entropy_moves_by_its_step_and_acts_only_below_the_target() -> None:
    low = adaptive_entropy(START, 0.1, target=0.2)
    assert (low.memory, low.entropy_coef) == (1e-4, 1e-4)
    again = adaptive_entropy(low, 0.1, target=0.2)
    assert math.isclose(again.entropy_coef, 2e-4)
    above = adaptive_entropy(again, 0.3, target=0.2)
    assert math.isclose(above.memory, 1e-4)
    assert above.entropy_coef == 0.0


def test_adaptive_entropy_stays_in_its_bounds() -> None:
    assert adaptive_entropy(START, 9.0).memory == 0.0
    state = START
    for _ in range(100):
        state = adaptive_entropy(state, 0.0)
    assert state.entropy_coef == 5e-3


def test_entropic_by_hand() -> None:
    # e = 0.2: a = 1 x 0.2 + 0.01 x 0.2 = 0.202; then e = -0.1, sum 0.1: a = -0.1 + 0.001 = -0.099.
    first = entropic(START, 0.3)
    assert math.isclose(first.asymmetry, 0.202)
    second = entropic(first, 0.0)
    assert math.isclose(second.asymmetry, -0.099)


def test_entropic_is_bounded_and_its_sum_does_not_wind_up() -> None:
    state = START
    for _ in range(1000):
        state = entropic(state, 5.0)
    assert state.asymmetry == 1.0
    assert state.memory < 10.0
    assert entropic(state, 0.0).asymmetry < 0.0


def test_switched_temperature_is_hot_below_the_target() -> None:
    assert switched_temperature(START, 0.4).temperature_scale == 1.2
    assert switched_temperature(START, 0.6).temperature_scale == 0.8


def test_uec_band_by_hand() -> None:
    # Width 0.4. H = 0.1 is 0.1 below: level 0.5 x 0.25 = 0.125; temperature 1 + 0.125 x 0.5; replay 0.875.
    below = uec_band(START, 0.1)
    assert math.isclose(below.memory, 0.125)
    assert math.isclose(below.temperature_scale, 1.0625)
    assert math.isclose(below.replay_scale, 0.875)
    assert math.isclose(below.explore_scale, 1.125)
    # H = 1.4 is two widths above: the push is bounded by the gain: level -0.5; replay 1 + 0.5 x 4; share 0.5.
    above = uec_band(START, 1.4)
    assert math.isclose(above.memory, -0.5)
    assert math.isclose(above.replay_scale, 3.0)
    assert math.isclose(above.explore_scale, 0.5)
    assert above.temperature_scale == 1.0
    # Inside, the level leaks 2 %.
    assert math.isclose(uec_band(below, 0.4).memory, 0.1225)


def test_uec_band_starts_from_zero_on_the_other_side() -> None:
    assert math.isclose(uec_band(replace(START, memory=0.9), 1.4).memory, -0.5)
    assert math.isclose(uec_band(replace(START, memory=-0.9), 0.1).memory, 0.125)


def test_uec_band_saturates_at_no_replay_and_no_exploration() -> None:
    hot, cold = START, START
    for _ in range(50):
        hot, cold = uec_band(hot, 0.0), uec_band(cold, 9.0)
    assert (hot.memory, hot.temperature_scale, hot.replay_scale, hot.explore_scale) == (1.0, 1.5, 0.0, 2.0)
    assert (cold.memory, cold.temperature_scale, cold.replay_scale, cold.explore_scale) == (-1.0, 1.0, 5.0, 0.0)


@pytest.mark.parametrize("name", sorted(CONTROLLERS))
def test_every_controller_advances_once_and_survives_a_checkpoint(name: str) -> None:
    state = START
    for step, entropy in enumerate((0.0, 0.3, 2.0, 0.1)):
        state = CONTROLLERS[name](state, entropy)
        assert state.steps == step + 1
    stored = json.loads(json.dumps(state.to_json()))
    assert ControllerState.from_json(stored) == state
    assert CONTROLLERS[name](ControllerState.from_json(stored), 0.2) == CONTROLLERS[name](state, 0.2)


def test_a_foreign_state_is_refused() -> None:
    with pytest.raises(CheckpointError, match="resume with the version"):
        ControllerState.from_json({"entropy_coef": 0.1})
