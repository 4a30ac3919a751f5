"""Expectations against arms whose numbers are known."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.study.test_tables import GRPO, UEC, _run
from uec_vlm.study.verdict import criteria, criteria_table, gain_ratio


def test_every_expectation_is_measured_and_judged() -> None:
    found = criteria([*GRPO, *UEC], "uec", "grpo")
    # Gains 0.625 and 0.25; at equal steps 0.375 apart; at equal tokens 0, 0, 0.25, 0.25: the interval touches 0.
    assert found[0].measured.startswith("2.500 [")
    assert found[1].measured.startswith("0.375 [")
    assert found[2].measured.startswith("0.125 [0.000")
    # pass@4 of the start 1, 1, 0, 0; of the end 1, 1, 1, 1.
    assert found[3].measured.startswith("0.500 [")
    assert found[4].measured == "0.50 to 1.00"
    assert [one.met for one in found] == [True, True, False, False, True]
    assert "2.500" in criteria_table([*GRPO, *UEC], ["grpo", "uec"], "grpo")
    assert "No run of `grpo`" in criteria_table(UEC, ["grpo", "uec"], "grpo")


def test_a_run_without_a_partner_has_no_part_in_the_ratio() -> None:
    """Seed 1 of grpo gains 0.625 where seed 0 gained 0.25; uec has seed 0 alone, and gained 0.625."""
    lucky = _run("grpo", 1, {0: [1, 1, 0, 0], 20: [4, 4, 4, 0]}, tokens=100)
    assert criteria([GRPO[0], lucky, UEC[0]], "uec", "grpo")[0].measured.startswith("2.500 [")


def test_a_ratio_below_the_headline_and_a_collapse_are_told() -> None:
    weak = [_run("uec", 0, {0: [1, 1, 0, 0], 20: [3, 3, 1, 0]}, tokens=100, entropy=0.1)]
    found = criteria([*GRPO, *weak], "uec", "grpo")
    assert found[0].measured.startswith("1.250 [")  # 0.3125 over 0.25
    assert found[4].measured == "0.20 to 1.00"
    assert not found[0].met
    assert not found[4].met


def test_the_interval_of_a_ratio_holds_both_kinds_of_spread() -> None:
    generator = np.random.default_rng(0)
    mine, others = (generator.normal(mean, 0.05, size=(6, 1)) + np.zeros((6, 300)) for mean in (0.3, 0.2))
    ratio = gain_ratio(mine, others)
    assert ratio.mean == pytest.approx(mine.mean() / others.mean(), rel=1e-12)
    assert ratio.low < 1.5 < ratio.high
    assert 0.2 < ratio.high - ratio.low < 1.5
    same = gain_ratio(np.full((2, 5), 0.3), np.full((2, 5), 0.2))
    assert (same.low, same.high) == pytest.approx((1.5, 1.5), rel=0, abs=1e-12)


@pytest.mark.filterwarnings("error")
def test_a_ratio_to_no_gain_at_all_is_not_a_number() -> None:
    ratio = gain_ratio(np.full((2, 5), 0.3), np.zeros((2, 5)))
    assert np.isnan([ratio.mean, ratio.low, ratio.high]).all()


def test_entropy_that_was_not_measured_is_no_success() -> None:
    old = [{**one, "evaluations": [{**row, "entropy": None} for row in one["evaluations"]]} for one in UEC]
    last = criteria([*GRPO, *old], "uec", "grpo")[-1]
    assert (last.measured, last.met) == ("not measured", False)
