"""Estimators of KL(pi || pi_ref) per sampled token, and the penalty in the reward.

With d = log pi_ref - log pi at the sampled token: k1 = -d, k2 = d^2 / 2, k3 = e^d - d - 1 (J. Schulman,
"Approximating KL divergence", 2020). All agree to second order near equality; k2, k3 >= 0.
As a loss term they carry the gradient of their own value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

Clamp = Annotated[float, Field(gt=0.0, le=50.0)]


def k1(logprobs: Float[Tensor, "B T"], reference_logprobs: Float[Tensor, "B T"], *, clamp: Clamp = 10.0) -> Tensor:
    """log pi - log pi_ref, clamped to +-clamp nats. Unbiased, of either sign.

    As a *loss* its gradient is that of log pi alone and carries no pull to the reference: use it in the reward.
    clamp: nats; beyond it value and gradient stop.
    """
    return (logprobs - reference_logprobs).clamp(-clamp, clamp)


def k2(logprobs: Float[Tensor, "B T"], reference_logprobs: Float[Tensor, "B T"], *, clamp: Clamp = 10.0) -> Tensor:
    """(log pi - log pi_ref)^2 / 2, clamped. Its gradient is the one of KL(pi || pi_ref) on-policy.

    clamp: nats; beyond it value and gradient stop.
    """
    return (0.5 * (logprobs - reference_logprobs).square()).clamp(max=clamp)


def k3(logprobs: Float[Tensor, "B T"], reference_logprobs: Float[Tensor, "B T"], *, clamp: Clamp = 10.0) -> Tensor:
    """e^d - d - 1 with d = log pi_ref - log pi, clamped. Unbiased and never negative (GRPO, arXiv 2402.03300).

    clamp: nats; beyond it value and gradient stop.
    """
    # The inner clamp lies where the value is beyond the outer one already: it only keeps exp, and its gradient, finite.
    difference = (reference_logprobs - logprobs).clamp(-clamp - 1.0, clamp + 1.0)
    return (difference.exp() - difference - 1.0).clamp(max=clamp)


def none(logprobs: Float[Tensor, "B T"], reference_logprobs: Float[Tensor, "B T"]) -> Tensor:
    """No reference policy, hence no copy of one in memory: exact zeros."""
    return torch.zeros_like(logprobs)


def penalised_rewards(
    rewards: Float[Tensor, " G"],
    logprobs: Sequence[Float[Tensor, " _"]],
    reference_logprobs: Sequence[Float[Tensor, " _"]],
    *,
    estimator: Callable[..., Tensor],
    coef: float,
) -> Float[Tensor, " G"]:
    """KL in the reward: R_i - coef x sum over the tokens of completion i (RLHF's form; no gradient).

    logprobs, reference_logprobs: per completion, of the policy that sampled and of the reference, at one temperature.
    """
    spent = [
        estimator(mine.detach()[None], other.detach()[None]).sum()
        for mine, other in zip(logprobs, reference_logprobs, strict=True)
    ]
    return rewards - coef * torch.stack(spent).to(rewards) if spent else rewards


KL: dict[str, Callable[..., Tensor]] = {"none": none, "k1": k1, "k2": k2, "k3": k3}
