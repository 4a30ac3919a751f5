"""Entropy terms of the loss, and the closed form of how an update moves the entropy.

An entropy term takes the scores of a micro-batch and the token advantages, and may reshape the advantages, add a loss
per token, or both. Entropy is the exact full-vocabulary one in nats (`TokenScores.entropy`) everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from uec_vlm.objective.context import StepContext, top_share
from uec_vlm.objective.control import ControllerState
from uec_vlm.objective.policy_losses import PolicyLoss
from uec_vlm.objective.ranges import Fraction, FractionOrZero, NonNegative
from uec_vlm.records import TokenScores

AboveOne = Annotated[float, Field(gt=1.0)]


@dataclass(frozen=True)
class EntropyTerm:
    """What an entropy term makes of a micro-batch.

    advantages: per token, constant: what the policy loss sees. losses: per token, added to the policy loss before the
    one reduction; None adds nothing (and no gradient bit).
    """

    advantages: Float[Tensor, "B T"]
    losses: Float[Tensor, "B T"] | None = None


def none(scores: TokenScores, advantages: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> EntropyTerm:
    """No entropy term."""
    return EntropyTerm(advantages)


def bonus(
    scores: TokenScores, advantages: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], *, coef: NonNegative = 1e-3
) -> EntropyTerm:
    """Adds -coef x H to the loss of every token: L - c H. Wants the gradient of the entropy.

    coef: loss per nat; 0 adds nothing.
    """
    return EntropyTerm(advantages, -coef * scores.entropy.masked_fill(~mask, 0.0) if coef else None)


def controlled_bonus(
    scores: TokenScores, advantages: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], controller: ControllerState
) -> EntropyTerm:
    """`bonus` with the coefficient that the controller holds (Skywork-OR1, arXiv 2505.22312)."""
    return bonus(scores, advantages, mask, coef=controller.entropy_coef)


def asymmetric_weights(
    scores: TokenScores,
    advantages: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    controller: ControllerState,
    *,
    probability_above: FractionOrZero = 0.9,
) -> EntropyTerm:
    """Weight (1 + a) where A > 0 and (1 - a) where A < 0, at tokens with pi > threshold (EntroPIC, arXiv 2511.15248).

    a in [-1, 1] is the controller's: above the target entropy likely right tokens weigh more, which lowers it.
    probability_above: the threshold; ours, the source's value was not at hand.
    """
    likely = scores.logprobs.detach().exp() > probability_above
    weight = 1.0 + controller.asymmetry * advantages.sign()
    return EntropyTerm(torch.where(likely & mask, advantages * weight, advantages))


def entropy_advantage(
    scores: TokenScores,
    advantages: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    *,
    alpha: NonNegative = 0.4,
    kappa: AboveOne = 2.0,
) -> EntropyTerm:
    """A' = A + min(alpha stopgrad(H), |A| / kappa) (arXiv 2506.14758).

    The sign of A never flips, since kappa > 1, and A' = 0 where A = 0.
    alpha: advantage per nat. kappa: the bonus is at most |A| / kappa.
    """
    shaped = torch.minimum(alpha * scores.entropy.detach(), advantages.abs() / kappa)
    return EntropyTerm((advantages + shaped).masked_fill(~mask, 0.0))


def forking_tokens(
    scores: TokenScores,
    advantages: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    context: StepContext,
    *,
    share: Fraction = 0.2,
) -> EntropyTerm:
    """Policy gradient at the top share of tokens by entropy only (arXiv 2506.01939).

    The share is taken over the whole optimizer step and all ranks; the other tokens stay in the denominator, as in the
    source. Exactly round(share x tokens) are kept (the source keeps all that reach the quantile; ties here by noise).
    share: fraction of all tokens.
    """
    kept = context.cut(top_share(context.entropy, context.noise, share), mask)
    return EntropyTerm(advantages.masked_fill(~kept, 0.0))


def predicted_dh(
    logprobs: Float[Tensor, "B T"],
    entropy: Float[Tensor, "B T"],
    moment: Float[Tensor, "B T"],
    weights: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
) -> Float[Tensor, "B T"]:
    """Change of entropy (nats) at each token's own state per unit step on the logits, if only that token is trained.

    dH = -w (D_b - sum_a pi_a D_a), D_b = pi_b (log pi_b + H): first order, for logits moved by w (e_b - pi).
    moment: sum_a pi_a D_a. weights: w, the loss's pull on log pi_b (advantage x ratio where nothing clips). 0 outside
    the mask. A rare token with w > 0 raises entropy, a likely one lowers it; w < 0 flips both.
    """
    logprobs, entropy = logprobs.detach().masked_fill(~mask, 0.0), entropy.detach().masked_fill(~mask, 0.0)
    own = logprobs.exp() * (logprobs + entropy)
    return (-weights * (own - moment)).masked_fill(~mask, 0.0)


def pull_on_logprobs(
    policy_loss: Callable[[Tensor], PolicyLoss], logprobs: Float[Tensor, "B T"]
) -> Float[Tensor, "B T"]:
    """w = -d(sum of losses) / d(log pi), per token: what `predicted_dh` takes, exact for every policy loss and clip."""
    with torch.enable_grad():
        leaf = logprobs.detach().requires_grad_(True)
        total = policy_loss(leaf).losses.sum()
        (gradient,) = torch.autograd.grad(total, leaf)
    return -gradient


ENTROPY_TERMS: dict[str, Callable[..., EntropyTerm]] = {
    "none": none,
    "bonus": bonus,
    "controlled_bonus": controlled_bonus,
    "asymmetric_weights": asymmetric_weights,
    "entropy_advantage": entropy_advantage,
    "forking_tokens": forking_tokens,
}

# The terms whose loss differentiates the entropy itself: the policy must be scored with `entropy_gradient=True`.
WITH_ENTROPY_GRADIENT: frozenset[Callable[..., EntropyTerm]] = frozenset({bonus, controlled_bonus})
