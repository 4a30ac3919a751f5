"""Tables and figures of a run: numbers worked out by hand, and nothing that a run did not measure."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.support.run_folders import evaluated, make_run, rollout_row
from uec_vlm.reports import load_run, tables
from uec_vlm.reports.figures import difficulty_map, figures
from uec_vlm.runlog import open_run


@pytest.fixture
def run(tmp_path: Path):  # type: ignore[no-untyped-def]
    folder = make_run(tmp_path / "run", steps=4)
    evaluated(folder, 0, [0, 2, 4], wrong=[0, 1, 1], formatted=3)
    evaluated(folder, 4, [1, 4, 4], wrong=[0, 1, 1])
    rows = [rollout_row(n, step=2, prompt_accuracy=0.2, id="a") for n in range(3)]
    folder.write_rollouts(2, [*rows, rollout_row(9, step=2, prompt_accuracy=0.8, id="b")])
    folder.write_rollouts(
        4, [rollout_row(1, step=4, prompt_accuracy=0.6, id="a"), rollout_row(2, source="replay", id="c")]
    )
    return load_run(folder.path)


def test_a_run_is_opened_with_its_numbers(run) -> None:  # type: ignore[no-untyped-def]
    assert (run.last_step, run.planned_steps, run.seed, run.dumped_steps) == (4, 4, 0, [2, 4])
    assert list(run.series("rollout/accuracy").index) == [1, 2, 3, 4]
    assert run.series("no/such").empty
    assert run.setting("rollout", "max_new_tokens") == 96
    assert run.setting("rollout", "none", "deeper", default="x") == "x"
    assert len(run.rollouts()) == 6
    assert list(run.rollouts(steps=[4], columns=["id"])["id"]) == ["a", "c"]


def test_controls_and_the_cost_of_exploration(run) -> None:  # type: ignore[no-untyped-def]
    last = tables.controls(run).iloc[-1]
    assert (last["true"], last["accuracy"]) == pytest.approx((9 / 12, 2 / 12))
    assert (last["gain"], last["reliance"]) == pytest.approx((7 / 12, 4.5))
    explored = tables.exploration(run)
    assert (explored["solved"], explored["tokens_per_solved"]) == (4, 300)
    assert tables.cost(run)["seconds"] == pytest.approx(14.0)


def test_the_gain_is_split_into_format_and_answers(run) -> None:  # type: ignore[no-untyped-def]
    gain = tables.format_share(run, "validation")
    assert gain is not None
    assert gain.total == pytest.approx(3 / 12)
    assert gain.by_format + gain.within == pytest.approx(gain.total)
    assert tables.format_share(run, "test") is None


def test_the_difficulty_map_is_sorted_and_has_gaps_where_nothing_was_drawn(run) -> None:  # type: ignore[no-untyped-def]
    held_out = tables.difficulty(run)
    assert list(held_out.index) == ["validation-0", "validation-1", "validation-2"]
    assert held_out.to_numpy().tolist() == [[0.0, 0.25], [0.5, 1.0], [1.0, 1.0]]
    training = tables.difficulty(run, "train")
    assert training.loc["a"].tolist() == pytest.approx([0.2, 0.6])
    assert math.isnan(training.loc["b", 4])
    assert "c" not in training.index, "a replay says nothing of how hard its problem is now"
    assert difficulty_map(run, "train").data[0]["z"][1] == [0.8, None]


def test_figures_are_of_what_was_measured_only(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    drawn = figures(run)
    assert {"accuracy", "passk", "controls", "entropy", "hard", "cost", "clip", "kl", "lengths", "time"} <= set(drawn)
    assert "gradient" in drawn
    assert "controller" not in drawn
    assert [trace["name"] for trace in drawn["entropy"].data] == ["regular", "extra, kept"]
    assert list(drawn["passk"].data[0]["y"]) == pytest.approx([9 / 12, (0.5 + 1 + 1) / 3, 1.0])
    empty = open_run(tmp_path / "empty", resume=False, config_yaml="{}")
    empty.append_metrics(0, {})
    assert figures(load_run(empty.path)) == {}


def test_a_long_run_is_smoothed_over_its_faint_numbers(tmp_path: Path) -> None:
    run = load_run(make_run(tmp_path / "run", steps=100, rollout__entropy=lambda step: step % 2).path)
    faint, smooth = figures(run)["entropy"].data[:2]
    assert faint["opacity"] < 0.5
    assert max(smooth["y"][10:90]) < 0.7, "a running mean"
