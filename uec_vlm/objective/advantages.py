"""Advantages of one group: rewards of the G completions of a prompt in, one number for each of them out.

Every entry returns exact zeros for a group of equal rewards, decided by max == min: rounding in a standard deviation
must not revive a group that has nothing to say.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from uec_vlm.objective.ranges import Finite, Fraction, Positive


def is_uniform(rewards: Float[Tensor, " G"]) -> bool:
    """Whether all rewards of the group are the same number (true for one completion and for none)."""
    return rewards.numel() < 2 or bool(rewards.max() == rewards.min())


def group_normalised(rewards: Float[Tensor, " G"], *, eps: Positive = 1e-6) -> Float[Tensor, " G"]:
    """A_i = (R_i - mean R) / (std R + eps), unbiased standard deviation (GRPO, arXiv 2402.03300).

    eps: added to the standard deviation, in units of the reward.
    """
    if is_uniform(rewards):
        return torch.zeros_like(rewards)
    return (rewards - rewards.mean()) / (rewards.std() + eps)


def group_centred(rewards: Float[Tensor, " G"]) -> Float[Tensor, " G"]:
    """A_i = R_i - mean R: no division by the deviation (Dr. GRPO, arXiv 2503.20783)."""
    if is_uniform(rewards):
        return torch.zeros_like(rewards)
    return rewards - rewards.mean()


def leave_one_out(rewards: Float[Tensor, " G"]) -> Float[Tensor, " G"]:
    """A_i = R_i - mean of the others' rewards (RLOO, arXiv 2402.14740) = G / (G - 1) (R_i - mean R)."""
    if is_uniform(rewards):
        return torch.zeros_like(rewards)
    count = rewards.numel()
    return rewards - (rewards.sum() - rewards) / (count - 1)


def quantile_baseline(
    rewards: Float[Tensor, " G"], *, quantile: Fraction = 0.4, eps: Positive = 1e-6
) -> Float[Tensor, " G"]:
    """A_i = (R_i - q_K) / (std R + eps), q_K the K-quantile of the group's rewards (QAE, arXiv 2509.22611).

    The quantile is the inverse of the empirical distribution, min {x : F(x) >= K}, never interpolated: with binary
    rewards and a pass rate p <= 1 - K only the successes get an advantage, otherwise only the failures do.
    quantile: K. eps: as in `group_normalised`.
    """
    if is_uniform(rewards):
        return torch.zeros_like(rewards)
    # K x G is exact in the mind and not in binary (0.28 x 25 = 7.000000000000001): the small number undoes that.
    rank = max(math.ceil(quantile * rewards.numel() - 1e-9), 1)
    baseline = rewards.sort().values[rank - 1]
    return (rewards - baseline) / (rewards.std() + eps)


def fixed_for_best(rewards: Float[Tensor, " G"], *, value: Finite = 1.0) -> Float[Tensor, " G"]:
    """A_i = value where R_i is the group's maximum and the group is not uniform, else 0: plain REINFORCE on successes.

    AEPO (arXiv 2510.08141) takes the positives of its second sampling temperature as A = 1. value: that number.
    """
    if is_uniform(rewards):
        return torch.zeros_like(rewards)
    return torch.zeros_like(rewards).masked_fill(rewards == rewards.max(), value)


ADVANTAGES: dict[str, Callable[..., Tensor]] = {
    "group_normalised": group_normalised,
    "group_centred": group_centred,
    "leave_one_out": leave_one_out,
    "quantile_baseline": quantile_baseline,
    "fixed_for_best": fixed_for_best,
}
