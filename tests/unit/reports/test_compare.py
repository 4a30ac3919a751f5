"""Comparing runs: seeds are grouped, costs are equal, differences are paired."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.run_folders import evaluated, make_run
from uec_vlm.errors import RunError
from uec_vlm.reports import load_groups
from uec_vlm.reports.compare import comparison_figures, on_axis, paired, render_comparison, run_table, spread


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Two seeds of GRPO; two of UEC, which sample twice as many tokens a step and are better by 1 of 4 at the end."""
    made = []
    for algorithm, more in (("grpo", 0), ("uec", 1)):
        for seed in (0, 1):
            run = make_run(
                tmp_path / f"{algorithm}{seed}",
                steps=4,
                seed=seed,
                algorithm=algorithm,
                rollout__sampled_tokens=1000 * (1 + more),
                rollout__entropy=0.2 + 0.1 * seed,
            )
            for step in (0, 2, 4):
                evaluated(run, step, [step // 2 + more * (step == 4), 2])
            evaluated(run, 0, [1, 2, 1], split="test")
            evaluated(run, 4, [1 + more, 2 + more, 1 + more + seed], split="test")
            made.append(run.path)
    return made


def test_seeds_of_a_configuration_are_one_group(paths: list[Path]) -> None:
    groups = load_groups(paths)
    assert [(group.label, group.seeds) for group in groups] == [("grpo", [0, 1]), ("uec", [0, 1])]


def test_groups_of_one_algorithm_are_told_apart_by_what_differs(tmp_path: Path) -> None:
    for rate in (1e-4, 1e-5):
        make_run(tmp_path / f"r{rate}", steps=3, config={"update": {"learning_rate": rate}})
    labels = [group.label for group in load_groups(sorted(tmp_path.iterdir()))]
    assert labels == ["uec: learning_rate = 0.0001", "uec: learning_rate = 1e-05"]


def test_a_run_given_twice_and_a_folder_without_a_run_are_refused(paths: list[Path], tmp_path: Path) -> None:
    with pytest.raises(RunError, match="twice"):
        load_groups([paths[0], paths[1], paths[0]])
    with pytest.raises(RunError, match="no run folder"):
        load_groups([tmp_path / "none"])


def test_a_metric_over_tokens_and_updates_is_over_what_was_spent(paths: list[Path]) -> None:
    run = load_groups(paths)[1].runs[0]
    assert list(on_axis(run, "rollout/entropy", "tokens").index) == [2000, 4000, 6000, 8000]
    assert list(on_axis(run, "rollout/entropy", "updates").index) == [2, 4, 6, 8]
    assert list(on_axis(run, "rollout/entropy", "steps").index) == [1, 2, 3, 4]


def test_mean_and_spread_over_seeds(paths: list[Path]) -> None:
    table = spread(load_groups(paths)[0], "rollout/entropy")
    assert table.loc[3].tolist() == pytest.approx([0.25, 0.2, 0.3])
    assert spread(load_groups(paths)[0], "explore/temperature").empty


def test_runs_of_different_cost_share_the_part_that_all_reached(tmp_path: Path) -> None:
    for seed, steps in ((0, 4), (1, 8)):
        make_run(tmp_path / str(seed), steps=steps, seed=seed, config={"run": {"seed": seed}})
    group = load_groups(sorted(tmp_path.iterdir()))[0]
    assert spread(group, "rollout/entropy").index.max() == 4


def test_differences_are_paired_and_at_equal_cost(paths: list[Path]) -> None:
    table = paired(load_groups(paths)).set_index("at equal")
    assert table.loc["steps", "difference"] == pytest.approx(0.125)
    # At equal tokens UEC has had two steps only (4 000 tokens), where GRPO has had four.
    assert table.loc["tokens", "difference"] == pytest.approx(-0.125)
    assert table.loc["updates", "difference"] == pytest.approx(0.125)
    end = table.loc["end"]
    assert (end["split"], end["problems"], end["pairs"]) == ("test", 3, 2)
    assert end["difference"] == pytest.approx(0.25)
    assert end["low"] <= 0.25 <= end["high"]
    assert (end["seeds_low"], end["seeds_high"]) == pytest.approx((0.25, 0.25))


def test_a_run_that_was_not_evaluated_near_the_budget_is_not_compared_there(tmp_path: Path) -> None:
    made = []
    for algorithm, tokens in (("grpo", 1000), ("dapo", 3000), ("uec", 1020)):
        run = make_run(tmp_path / algorithm, steps=4, algorithm=algorithm, rollout__sampled_tokens=tokens)
        for step in (0, 4):
            evaluated(run, step, [step // 2, 2])
        made.append(run.path)
    table = paired(load_groups(made))
    # DAPO's evaluation of step 0 is not what it reached with GRPO's 4 000 tokens; UEC's of 4 080 is near enough.
    at_tokens = table[table["at equal"] == "tokens"]
    assert list(at_tokens["other"]) == ["uec"] and at_tokens["difference"].iloc[0] == 0.0
    assert set(table[table["at equal"] == "steps"]["other"]) == {"dapo", "uec"}


def test_the_page_has_a_figure_for_each_axis_and_the_numbers(paths: list[Path]) -> None:
    groups = load_groups(paths)
    drawn = comparison_figures(groups)
    assert {"eval/pass@1", "rollout/entropy"} <= set(drawn)
    # Means over two seeds of (step // 2 + ...) / 4 and 2 / 4, from the evaluations; three points are shown as points.
    assert list(drawn["eval/pass@1"].data[1].y) == pytest.approx([0.25, 0.375, 0.5])
    assert drawn["eval/pass@1"].data[1].mode == "lines+markers"
    html = render_comparison(groups)
    for axis in ("steps", "tokens", "updates"):
        assert f'data-figure="{axis}/rollout/entropy"' in html
    assert "+0.250" in html
    assert run_table(groups)["after"].tolist()[0].startswith("0.3")


def test_one_configuration_alone_is_an_ordinary_page(paths: list[Path]) -> None:
    assert "All runs have one configuration" in render_comparison(load_groups(paths[:2]))
