"""Entropy of the arms, by hand."""

from __future__ import annotations

from tests.unit.study.test_tables import GRPO, UEC, _run
from uec_vlm.study.entropy import change_table, entropy_course, entropy_table


def test_entropy_is_held_to_that_of_the_runs_own_start() -> None:
    """0.25 and 0.75 over 0.5; the second run has no measurement at step 10, the third has none at all."""
    second = _run("grpo", 1, {0: [0] * 4, 20: [4] * 4}, tokens=100, entropy=0.75)
    old = {**GRPO[1], "evaluations": [{**row, "entropy": None} for row in GRPO[1]["evaluations"]]}
    assert entropy_course([GRPO[0], second, old]) == {0: 1.0, 10: 1.0, 20: 1.0}
    assert entropy_course([old]) == {}
    assert entropy_table([old], ["grpo"]) == ""
    assert entropy_table([*GRPO, second], ["grpo", "uec"]).splitlines() == [
        "| arm | step 0 | step 10 | step 20 |",
        "|---|---|---|---|",
        "| `grpo` | 1.00 | 1.00 | 0.83 |",
    ]


def test_what_moves_entropy_is_told_of_runs_that_measured_it() -> None:
    names = ("predicted_dh_regular", "predicted_dh_extra", "predicted_dh_replay", "realised_dh")
    changes = [dict(zip(names, row, strict=True)) for row in ([-0.002, 0.004, None, -0.001], [-0.004, 0.002, None, 0])]
    measured = [{**one, "entropy_change": change} for one, change in zip(UEC, changes, strict=True)]
    assert change_table([*GRPO, *UEC], ["grpo", "uec"]) == ""
    head, _, row = change_table([*GRPO, *measured], ["grpo", "uec"]).splitlines()
    assert head.startswith("| arm | seeds | predicted, regular | predicted, extra |")
    assert row == "| `uec` | 2 | -3.00 | 3.00 |  | -0.50 |"
