"""The phases of a run add up to its steps."""

import pytest

from uec_vlm.reports.phases import phase_seconds

ROW = {
    "time/step": 10.0,
    "time/data": 1.0,
    "time/rollout": 4.0,
    "time/explore": 2.0,
    "time/vision": 0.5,
    "time/prefill": 1.0,
    "time/decode": 4.0,
    "time/verify": 0.25,
    "time/update": 2.0,
    "time/evaluate": 7.0,
}


def test_phases_are_parts_of_the_steps() -> None:
    parts = phase_seconds([ROW, {"time/step": 1.0, "time/sync": 0.5}, {"time/evaluate": 3.0}])
    assert sum(parts.values()) == pytest.approx(11.0)
    assert parts["decode"] == 4.0 and parts["sync"] == 0.5
    assert parts["sampling, rest"] == pytest.approx(4.0 + 2.0 - 0.5 - 1.0 - 4.0)
    # 10 - 1 - (4 + 2) - 0.25 - 2 of the first row, 1 - 0.5 of the second.
    assert parts["rest"] == pytest.approx(1.25)
    assert not {"evaluate", "replay", "score"} & set(parts)


def test_a_run_without_steps_has_no_phases() -> None:
    assert phase_seconds([{"time/evaluate": 3.0}]) == {}
