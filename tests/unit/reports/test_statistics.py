"""Statistics by hand: unbiased pass@k, intervals that cover."""

from itertools import combinations

import numpy as np
import pytest

from uec_vlm.reports.statistics import estimate, paired_difference, pass_at_k


def test_pass_at_k_equals_the_average_over_all_subsets() -> None:
    samples = [1, 1, 0, 0, 0, 0]
    for k in range(1, 7):
        subsets = list(combinations(samples, k))
        expected = sum(any(subset) for subset in subsets) / len(subsets)
        assert pass_at_k([2], 6, k)[0] == pytest.approx(expected, abs=1e-12)


def test_pass_at_1_is_the_mean_accuracy() -> None:
    assert pass_at_k([0, 1, 4], 4, 1) == [0.0, 0.25, 1.0]


def test_k_above_the_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 5 samples"):
        pass_at_k([1], 4, 5)


def test_an_interval_covers_the_truth_about_95_times_in_100() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        interval = estimate(generator.normal(0.3, 1.0, size=60).tolist(), seed=trial)
        covered += interval.low <= 0.3 <= interval.high
    assert 180 <= covered <= 198


def test_a_paired_gain_is_surer_than_the_spread_over_problems() -> None:
    generator = np.random.default_rng(1)
    before = generator.uniform(size=200)
    gain = paired_difference(before.tolist(), (before + 0.05 + generator.normal(0, 0.01, 200)).tolist())
    assert gain.low > 0.04
    assert gain.high < 0.06
    with pytest.raises(ValueError, match="paired values"):
        paired_difference([1.0], [1.0, 2.0])


def test_equal_values_have_an_interval_of_a_point() -> None:
    assert estimate([0.5, 0.5]).low == estimate([0.5, 0.5]).high == 0.5
