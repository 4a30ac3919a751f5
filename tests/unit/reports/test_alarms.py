"""Every alarm is set off by a run that deserves it, at the right step, and a healthy run sets off none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.run_folders import evaluated, make_run
from tests.support.worlds import tiny_circle
from uec_vlm.metrics import StepReport
from uec_vlm.reports import find_alarms, load_run
from uec_vlm.reports.alarms import CHECKS, dead_share
from uec_vlm.runlog import open_run
from uec_vlm.trainer.build import first_state
from uec_vlm.trainer.loop import train


def _after(step: int, before: float, later: float) -> Any:
    return lambda now: later if now >= step else before


# The median of five steps changes two steps after the value does.
PROVOKED: dict[str, dict[str, Any]] = {
    "entropy_collapse": {"rollout__entropy": _after(8, 0.4, 0.05)},
    "entropy_drift": {"rollout__entropy": _after(8, 0.4, 1.0)},
    "truncation": {"rollout__truncated": _after(8, 0.0, 0.5)},
    "dead_groups": {"rollout__all_correct": _after(8, 1, 9), "explore__solved": 0},
    "format": {"rollout__format": _after(8, 0.95, 0.6)},
    "mismatch": {"rollout__policy_gap_nats": _after(8, 0.001, 0.2)},
    "staleness": {"update__staleness": _after(8, 0.5, 9.0)},
}


def test_a_healthy_run_has_no_alarm(tmp_path: Path) -> None:
    assert find_alarms(load_run(make_run(tmp_path / "run").path)) == []


@pytest.mark.parametrize("key", PROVOKED)
def test_each_alarm_is_set_off_at_its_step_and_says_what_to_do(key: str, tmp_path: Path) -> None:
    alarms = find_alarms(load_run(make_run(tmp_path / "run", **PROVOKED[key]).path))
    assert [(alarm.key, alarm.step) for alarm in alarms] == [(key, 10)]
    assert "it still is" in alarms[0].evidence
    assert len(alarms[0].advice) > 40


def test_one_odd_step_is_no_alarm_and_a_passing_one_is_told_as_passed(tmp_path: Path) -> None:
    odd = make_run(tmp_path / "odd", rollout__truncated=lambda step: 1.0 if step == 9 else 0.0)
    assert find_alarms(load_run(odd.path)) == []
    passing = make_run(tmp_path / "passing", rollout__truncated=lambda step: 1.0 if 6 <= step < 11 else 0.0)
    assert "though not at the end" in find_alarms(load_run(passing.path))[0].evidence


def test_a_run_that_learns_the_format_is_not_accused_and_one_that_never_does_is(tmp_path: Path) -> None:
    learned = make_run(tmp_path / "learned", rollout__format=_after(8, 0.3, 0.9))
    assert find_alarms(load_run(learned.path)) == []
    never = make_run(tmp_path / "never", rollout__format=0.3)
    assert [alarm.key for alarm in find_alarms(load_run(never.path))] == ["format"]


def test_moving_away_from_the_sampler_is_stale_too(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", update__staleness_nats_regular=_after(8, 0.0, 0.4))
    assert [alarm.key for alarm in find_alarms(load_run(run.path))] == ["staleness"]


def test_skipped_updates_and_a_policy_that_got_worse_are_alarms(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", update__skipped=lambda step: float(step == 5), eval__gain=0.0)
    evaluated(run, 0, [4, 4])
    evaluated(run, 9, [1, 4])
    assert [(a.key, a.step) for a in find_alarms(load_run(run.path))] == [("skipped", 5), ("worse", 9)]
    assert {"skipped", "worse", *PROVOKED} == set(CHECKS), "every alarm has a run that provokes it"


def test_the_last_evaluation_decides_whether_the_policy_is_worse(tmp_path: Path) -> None:
    """That of the last step is in no row of a step; a policy that recovered is not accused."""
    run = make_run(tmp_path / "run", eval__gain=-0.5)
    evaluated(run, 0, [4, 4])
    evaluated(run, 9, [1, 4])
    evaluated(run, 12, [4, 4])
    assert find_alarms(load_run(run.path)) == []


def test_exploration_that_solves_a_prompt_revives_it(tmp_path: Path) -> None:
    run = load_run(make_run(tmp_path / "run", rollout__all_correct=2, rollout__pass_at_K=0.5, explore__solved=3).path)
    # Of ten prompts two are solved by all and five failed by all, three of which an extra rollout solved.
    assert dead_share(run).iloc[-1] == pytest.approx(0.4)


def test_a_real_run_of_a_random_model_is_told_what_is_wrong_with_it(tiny_model: Any, tmp_path: Path) -> None:
    from uec_vlm.config import dump_config

    config = tiny_circle_config(tiny_model)
    circle = tiny_circle(tiny_model("qwen2_5_vl"), "grpo", run={"steps": 4})
    folder = open_run(tmp_path / "run", resume=False, config_yaml=dump_config(config))
    folder.append_metrics(0, StepReport().row())
    for turn in train(circle, first_state(), last_step=4):
        folder.append_metrics(turn.state.step, turn.report.row())
    assert "truncation" in [alarm.key for alarm in find_alarms(load_run(folder.path))]


def tiny_circle_config(tiny_model: Any) -> Any:
    from tests.support.worlds import tiny_config

    return tiny_config(tiny_model("qwen2_5_vl"), "grpo", run={"steps": 4})
