"""Comparisons of arms against numbers by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from uec_vlm.study.course import against_table, course_table, named_groups
from uec_vlm.study.tables import (
    accuracies_at,
    arms_table,
    bootstrap,
    corrected,
    difference,
    differences_table,
    difficulty_table,
    groups_table,
    pass_at_k_table,
    start,
    tuning_table,
)

IDS = ["geosynth-chord-1-11", "geosynth-chord-1-12", "geosynth-two_tangents-2-13", "geosynth-two_tangents-2-14"]


def _run(arm: str, seed: int, counts: dict[int, list[int]], *, tokens: int, entropy: float = 0.25) -> dict[str, Any]:
    """A run of 20 steps that is evaluated at the given steps, 4 samples each, and samples `tokens` a step.

    entropy: at step 20; 0.5 before.
    """
    steps = [1, 10, 20]
    return {
        "kind": "main", "arm": arm, "seed": seed, "seconds": 60.0, "cpu_seconds": 30.0,
        "curve": {
            "step": steps,
            "rollout/entropy": [0.5, 0.4, entropy],
            "rollout/sampled_tokens": [step * tokens for step in steps],
            "update/optimizer_steps": [2 * step for step in steps],
            "explore/solved": [0, 1, 3],
        },
        "evaluations": [
            {"split": split, "step": step, "samples": 4, "correct": found, "formatted": 12,
             "entropy": entropy if step == 20 else 0.5,
             "controls": {"shuffled": {"problems": 4, "correct": 2}}}
            for split in ("validation", "test") for step, found in counts.items()
        ],
    }  # fmt: skip


GRPO = [_run("grpo", seed, {0: [1, 1, 0, 0], 10: [2, 2, 0, 0], 20: [3, 3, 0, 0]}, tokens=100) for seed in (0, 1)]
UEC = [_run("uec", seed, {0: [1, 1, 0, 0], 10: [3, 3, 1, 1], 20: [4, 4, 2, 2]}, tokens=200) for seed in (0, 1)]


def test_between_two_evaluations_accuracy_is_on_a_line() -> None:
    """Of 200 tokens a step, 2 500 are a quarter of the way from step 10 (2 000) to step 20 (4 000)."""
    expected = [0.8125, 0.8125, 0.3125, 0.3125]
    assert accuracies_at(UEC[0], "rollout/sampled_tokens", 2500) == pytest.approx(expected, rel=0, abs=1e-12)
    assert accuracies_at(UEC[0], "rollout/sampled_tokens", 2000) == pytest.approx([0.75, 0.75, 0.25, 0.25])
    assert accuracies_at(UEC[0], "rollout/sampled_tokens", 9000) == pytest.approx([1.0, 1.0, 0.5, 0.5])


def test_the_course_of_all_problems_and_of_the_hard_ones_as_far_as_all_runs_came() -> None:
    """Of uec 10 steps are 3, 3, 1, 1 of 4; one of its runs has no evaluation at 20. The last two start at 0."""
    short = {**UEC[1], "evaluations": [row for row in UEC[1]["evaluations"] if row["step"] < 20]}
    lines = course_table([*GRPO, UEC[0], short], ["grpo", "uec", "missing"]).splitlines()
    assert lines[0] == "| arm | seeds | problems | step 0 | step 10 | step 20 |"
    assert lines[2:] == [
        "| `grpo` | 2 | all | 0.125 | 0.250 | 0.375 |",
        "| `grpo` | 2 | the 2 hard | 0.000 | 0.000 | 0.000 |",
        "| `uec` | 2 | all | 0.125 | 0.500 |  |",
        "| `uec` | 2 | the 2 hard | 0.000 | 0.250 |  |",
    ]


def test_the_course_of_named_problems() -> None:
    groups = named_groups({"chords": ["-chord-"], "none": ["-cube-"]}, IDS)
    assert list(groups) == ["chords (2)"]
    lines = course_table(UEC, ["uec"], groups).splitlines()
    assert lines[-1] == "| `uec` | 2 | chords (2) | 0.250 | 0.750 | 1.000 |"


def test_against_the_reference_on_the_way_with_the_ratio_of_gains() -> None:
    """Gains of uec 0.375 and 0.625, of grpo 0.125 and 0.25; where grpo has gained nothing there is no ratio."""
    cells = against_table([*GRPO, *UEC], ["grpo", "uec"], "grpo").splitlines()[2].split(" | ")
    assert cells[:2] == ["| `uec`", "2"]
    assert [cell.split()[0] for cell in cells[2:]] == ["0.250", "0.375"]
    assert [cell.split("], ")[1] for cell in cells[2:]] == ["3.00 x", "2.50 x |"]
    still = _run("grpo", 0, {0: [1, 1, 0, 0], 10: [1, 1, 0, 0]}, tokens=100)
    assert against_table([still, UEC[0]], ["uec"], "grpo").endswith("] |")


def test_runs_of_equal_seed_are_paired() -> None:
    """Of seed 1 both arms end equal; of seed 0 there is one run alone, and of seed 2."""
    other = _run("uec", 2, {0: [0, 0, 0, 0], 20: [4, 4, 4, 4]}, tokens=200)
    same = {**GRPO[1], "arm": "uec"}
    assert difference([same, other], GRPO, "step").estimate.mean == 0
    assert difference([other], GRPO[:1], "step").estimate.mean == pytest.approx(0.625, rel=0, abs=1e-9)


def test_differences_at_equal_steps_and_at_equal_tokens() -> None:
    """At 20 steps 1, 1, 0.5, 0.5 less 0.75, 0.75, 0, 0; 2 000 tokens are 10 steps of uec: 0.75, 0.75, 0.25, 0.25."""
    equal_steps = difference(UEC, GRPO, "step")
    assert (equal_steps.budget, equal_steps.estimate.mean) == (20, pytest.approx(0.375, rel=0, abs=1e-9))
    equal_tokens = difference(UEC, GRPO, "rollout/sampled_tokens")
    assert equal_tokens.budget == 2000
    assert equal_tokens.estimate.mean == pytest.approx(0.125, rel=0, abs=1e-9)  # 0, 0, 0.25, 0.25


def test_the_bootstrap_sees_the_spread_of_seeds_and_of_problems() -> None:
    generator = np.random.default_rng(3)
    of_seeds = np.repeat(generator.normal(0.1, 0.2, size=(6, 1)), 500, axis=1)
    of_problems = np.repeat(generator.normal(0.1, 0.2, size=(1, 500)), 6, axis=0)
    wide, _ = bootstrap(of_seeds)
    narrow, p = bootstrap(of_problems)
    # 1.96 x 0.2 / sqrt(6) and / sqrt(500), in order of magnitude.
    assert 0.2 < wide.high - wide.low < 0.5
    assert 0.02 < narrow.high - narrow.low < 0.06
    assert p <= 2 / 2000
    assert bootstrap(np.zeros((2, 5)))[1] == 1.0


def test_the_correction_is_never_below_the_plain_p() -> None:
    found = [difference(UEC, GRPO, "step"), difference(UEC, GRPO, "rollout/sampled_tokens")]
    assert all(q >= one.p for q, one in zip(corrected(found), found, strict=True))
    assert corrected([]) == []


def test_the_tables_say_what_was_measured() -> None:
    both = [*UEC, *GRPO]
    assert start(both).tolist() == [0.25, 0.25, 0.0, 0.0]
    row = next(line for line in arms_table(both, ["grpo", "uec"]).splitlines() if line.startswith("| `uec`"))
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells[1:3] == ["2", "0.750"]
    assert cells[3].startswith("0.625 [")  # 0.75, 0.75, 0.5, 0.5
    # 12 of 16 well-formed; 12 of 16 right less 2 of 16 with the wrong picture.
    assert cells[4:] == ["1.000", "0.750", "0.625", "3", "4,000", "40", "0.5"]
    difficulty = difficulty_table(both, ["grpo", "uec"])
    assert "| under 1 % | 2 | 0.000 | 0.000 | 0.500 |" in difficulty
    assert "| 25 to 75 % | 2 | 0.250 | 0.750 | 1.000 |" in difficulty
    assert "`uec` | 0.375 [" in differences_table(both, ["grpo", "uec"], "grpo")
    assert differences_table(GRPO, ["grpo", "uec"], "grpo") == "No other arm is finished yet."
    groups = groups_table(both, ["uec"], IDS)
    assert "| chord, level 1 | 2 | 0.250 | 1.000 |" in groups
    assert "| two_tangents, level 2 | 2 | 0.000 | 0.500 |" in groups
    # 2 of 4 right: pass@2 = 1 - C(2, 2) / C(4, 2) = 5/6, the mean with two sure problems 11/12.
    assert "| `uec` | 0.750 | 0.917 | 1.000 |" in pass_at_k_table(both, ["grpo", "uec"])


def test_the_tuning_shows_the_grid_and_the_choice() -> None:
    table = tuning_table({"accuracy": {"grpo": {"1e-05": 0.25, "0.0001": 0.5}}, "chosen": {"grpo": 1e-4}})
    assert "| arm | 1e-05 | 0.0001 |" in table
    assert "| `grpo` | 0.250 | **0.500** |" in table
