"""Advantages against numbers by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from uec_vlm.objective.advantages import (
    fixed_for_best,
    group_centred,
    group_normalised,
    leave_one_out,
    quantile_baseline,
)


def binary(right: int, of: int) -> Tensor:
    return torch.tensor([1.0] * right + [0.0] * (of - right), dtype=torch.float64)


def close(actual: Tensor, expected: list[float], atol: float = 1e-6) -> None:
    torch.testing.assert_close(actual, torch.tensor(expected, dtype=actual.dtype), rtol=0, atol=atol)


# A+ = (1 - k/n) / s and A- = -(k/n) / s with s^2 = k (n - k) / (n (n - 1)), to the three places of the specification.
@pytest.mark.parametrize(
    ("right", "of", "positive", "negative"),
    [
        (1, 5, 1.789, -0.447),
        (2, 5, 1.095, -0.730),
        (3, 5, 0.730, -1.095),
        (4, 5, 0.447, -1.789),
        (1, 20, 4.249, -0.224),
        (2, 20, 2.924, -0.325),
        (5, 20, 1.688, -0.563),
        (10, 20, 0.975, -0.975),
        (11, 20, 0.882, -1.078),
        (19, 20, 0.224, -4.249),
    ],
)
def test_group_normalised_is_the_table_of_the_specification(
    right: int, of: int, positive: float, negative: float
) -> None:
    # Half a unit of the third place, and eps = 1e-6 in the denominator.
    close(group_normalised(binary(right, of)), [positive] * right + [negative] * (of - right), atol=6e-4)


def test_group_normalised_uses_the_unbiased_deviation() -> None:
    # k = 1 of 5: mean 0.2, s^2 = (0.64 + 4 x 0.04) / 4 = 0.2; A+ = 0.8 / sqrt(0.2) = 1.7888544.
    close(group_normalised(binary(1, 5), eps=1e-12), [1.7888544] + [-0.4472136] * 4)


def test_group_centred_does_not_divide() -> None:
    close(group_centred(binary(1, 5)), [0.8, -0.2, -0.2, -0.2, -0.2])


def test_leave_one_out_compares_with_the_others() -> None:
    # The others of the right one have mean 0, those of a wrong one 1/4.
    close(leave_one_out(binary(1, 5)), [1.0, -0.25, -0.25, -0.25, -0.25])


@pytest.mark.parametrize("right", [1, 2, 3])
def test_quantile_baseline_keeps_the_successes_up_to_pass_rate_one_minus_k(right: int) -> None:
    # K = 0.4, G = 5: the second smallest reward is 0 up to p = 0.6. An interpolated quantile would be 0.6 at p = 0.6.
    advantages = quantile_baseline(binary(right, 5))
    assert (advantages[:right] > 0).all()
    assert (advantages[right:] == 0).all()


def test_quantile_baseline_keeps_the_failures_beyond() -> None:
    # p = 0.8: the second smallest reward is 1; s = sqrt(0.2): A- = -1 / 0.4472136 = -2.236068.
    close(quantile_baseline(binary(4, 5), eps=1e-12), [0.0, 0.0, 0.0, 0.0, -2.236068])


def test_quantile_rank_survives_binary_fractions() -> None:
    # 0.28 x 25 is 7.000000000000001 in floating point: rank 7, not 8. Seven zeros: the 7th smallest is 0.
    assert 0.28 * 25 > 7.0
    assert (quantile_baseline(binary(18, 25), quantile=0.28)[:18] > 0).all()


def test_fixed_for_best_is_one_at_the_successes() -> None:
    close(fixed_for_best(binary(2, 5)), [1.0, 1.0, 0.0, 0.0, 0.0])


def test_rounding_does_not_revive_a_group_of_equal_rewards() -> None:
    # Twenty times 0.1: the mean is off by a rounding, so a test on the deviation would see a spread.
    rewards = torch.full((20,), 0.1, dtype=torch.float32)
    assert float((rewards - rewards.mean()).abs().max()) > 0.0
    assert float(rewards.std()) > 0.0
    for function in (group_normalised, group_centred, leave_one_out, quantile_baseline, fixed_for_best):
        assert torch.equal(function(rewards), torch.zeros(20))
