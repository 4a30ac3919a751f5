"""Losses per token: log-probabilities and advantages in, an unreduced loss for every sampled token out.

Common to all entries. logprobs: log pi of the sampled token, carries the gradient. old_logprobs: of the policy that the
ratio r = pi / pi_old is taken against. advantages: one per sequence, or one per token where an entropy term shaped
them. mask: True where the policy sampled the token; nothing behind it is read. The log-ratio is clamped to +-20 nats
(r in [2e-9, 5e8]), which keeps an unclipped exponential and its gradient finite.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from uec_vlm.objective.context import StepContext, covariance_terms, share_count, top_share
from uec_vlm.objective.measure import Measurement, over_tokens
from uec_vlm.objective.ranges import Finite, Fraction, FractionOrZero, NonNegative, Positive

ClipLow = Annotated[float, Field(gt=0.0, le=1.0)]
ClipHigh = Annotated[float, Field(gt=0.0, le=100.0)]
DualClip = Annotated[float, Field(gt=1.0, le=1000.0)]

LOG_RATIO_LIMIT = 20.0

Advantages = Float[Tensor, " B"] | Float[Tensor, "B T"]


@dataclass(frozen=True)
class PolicyLoss:
    """An unreduced loss and what was seen on the way.

    losses: per token; values outside the mask mean nothing. measurements: by name, as (sum, weight).
    """

    losses: Float[Tensor, "B T"]
    measurements: dict[str, Measurement] = field(default_factory=dict)


def reinforce(
    logprobs: Float[Tensor, "B T"],
    old_logprobs: Float[Tensor, "B T"],
    advantages: Advantages,
    mask: Bool[Tensor, "B T"],
) -> PolicyLoss:
    """-A log pi: the policy gradient without ratio or clip (Williams 1992). Reads old_logprobs only to measure."""
    advantage = per_token(advantages, mask)
    losses = -advantage * logprobs.masked_fill(~mask, 0.0)
    return PolicyLoss(losses, _ratio_measurements(_log_ratio(logprobs, old_logprobs, mask), mask))


def clipped_ratio(
    logprobs: Float[Tensor, "B T"],
    old_logprobs: Float[Tensor, "B T"],
    advantages: Advantages,
    mask: Bool[Tensor, "B T"],
    *,
    clip_low: ClipLow = 0.2,
    clip_high: ClipHigh = 0.2,
    dual_clip: DualClip | None = None,
) -> PolicyLoss:
    """-min(r A, clip(r, 1 - low, 1 + high) A); with a dual clip c, for A < 0, the loss is at most -c A.

    Sources: PPO (arXiv 1707.06347); separate bounds: DAPO (arXiv 2503.14476); dual clip: arXiv 1912.09729.
    clip_low, clip_high: distances from 1. dual_clip: c, or null for none.
    """
    advantage = per_token(advantages, mask)
    log_ratio = _log_ratio(logprobs, old_logprobs, mask)
    ratio = log_ratio.exp()
    losses = -torch.minimum(ratio * advantage, ratio.clamp(1.0 - clip_low, 1.0 + clip_high) * advantage)
    measured = _ratio_measurements(log_ratio, mask) | _clip_measurements(ratio, advantage, mask, clip_low, clip_high)
    if dual_clip is not None:
        beyond = (advantage < 0) & (ratio > dual_clip)
        losses = torch.where(beyond, -dual_clip * advantage, losses)
        measured["dual_clip_fraction"] = over_tokens(beyond, mask)
    return PolicyLoss(losses, measured)


def sequence_ratio(
    logprobs: Float[Tensor, "B T"],
    old_logprobs: Float[Tensor, "B T"],
    advantages: Advantages,
    mask: Bool[Tensor, "B T"],
    *,
    clip_low: ClipLow = 3e-4,
    clip_high: ClipHigh = 4e-4,
) -> PolicyLoss:
    """-min(s A, clip(s) A) at every token, s = (pi(y) / pi_old(y))^(1/|y|) (GSPO, arXiv 2507.18071).

    One ratio for the whole sequence, clipped as one. With `sequence_mean` this is the source's objective.
    clip_low, clip_high: distances from 1 (orders of magnitude below a token's, since s is a geometric mean).
    """
    advantage = per_token(advantages, mask)
    log_ratio = _log_ratio(logprobs, old_logprobs, mask)
    lengths = mask.sum(dim=-1, keepdim=True).clamp(min=1)
    ratio = (log_ratio.sum(dim=-1, keepdim=True) / lengths).exp().expand_as(log_ratio)
    losses = -torch.minimum(ratio * advantage, ratio.clamp(1.0 - clip_low, 1.0 + clip_high) * advantage)
    clipped = _clip_measurements(ratio, advantage, mask, clip_low, clip_high)
    return PolicyLoss(losses, _ratio_measurements(log_ratio, mask) | clipped)


def cispo(
    logprobs: Float[Tensor, "B T"],
    old_logprobs: Float[Tensor, "B T"],
    advantages: Advantages,
    mask: Bool[Tensor, "B T"],
    *,
    clip_high: ClipHigh = 0.2,
) -> PolicyLoss:
    """-stopgrad(min(r, 1 + high)) A log pi: every token keeps a gradient, no lower clip (arXiv 2506.13585).

    clip_high: distance from 1 of the bound on the weight.
    """
    advantage = per_token(advantages, mask)
    log_ratio = _log_ratio(logprobs, old_logprobs, mask)
    ratio = log_ratio.detach().exp()
    losses = -ratio.clamp(max=1.0 + clip_high) * advantage * logprobs.masked_fill(~mask, 0.0)
    measured = _ratio_measurements(log_ratio, mask)
    measured["clip_high_fraction"] = over_tokens(ratio > 1.0 + clip_high, mask)
    return PolicyLoss(losses, measured)


def soft_gate(
    logprobs: Float[Tensor, "B T"],
    old_logprobs: Float[Tensor, "B T"],
    advantages: Advantages,
    mask: Bool[Tensor, "B T"],
    *,
    tau_positive: Positive = 1.0,
    tau_negative: Positive = 1.05,
) -> PolicyLoss:
    """-(4 / tau) sigmoid(tau (r - 1)) A, tau by the sign of A (SAPO, arXiv 2511.20347).

    Its slope at r = 1 is that of r A; far from 1 it fades instead of being cut.
    tau_positive, tau_negative: sharpness of the gate for A > 0 and for A <= 0.
    """
    advantage = per_token(advantages, mask)
    log_ratio = _log_ratio(logprobs, old_logprobs, mask)
    tau = torch.full_like(log_ratio, tau_negative).masked_fill(advantage > 0, tau_positive)
    losses = -(4.0 / tau) * torch.sigmoid(tau * (log_ratio.exp() - 1.0)) * advantage
    return PolicyLoss(losses, _ratio_measurements(log_ratio, mask))


def clip_cov(
    logprobs: Float[Tensor, "B T"],
    old_logprobs: Float[Tensor, "B T"],
    advantages: Advantages,
    mask: Bool[Tensor, "B T"],
    context: StepContext,
    *,
    share: FractionOrZero = 2e-4,
    cov_low: Finite = 1.0,
    cov_high: Finite = 5.0,
    clip_low: ClipLow = 1.0,
    clip_high: ClipHigh = 1.0,
) -> PolicyLoss:
    """Clipped ratio; round(share x all tokens) tokens of high covariance lose their loss (arXiv 2505.22617).

    They are drawn at random among the tokens of the whole optimizer step with cov_low < cov < cov_high that the
    ratio's clip left alone. Differs from the public code: statistics over the step and all ranks instead of a
    micro-batch, and a share of less than half a token takes none instead of one.
    share: fraction of all tokens. cov_low, cov_high: bounds of the covariance. clip_low, clip_high: of the ratio.
    """
    base = clipped_ratio(logprobs, old_logprobs, advantages, mask, clip_low=clip_low, clip_high=clip_high)
    cov = covariance_terms(context)
    ratio = (context.logprobs - context.old_logprobs).exp()
    high, low = ratio > 1.0 + clip_high, ratio < 1.0 - clip_low
    clipped = torch.where(context.advantages > 0, high, low & (context.advantages < 0))
    candidates = (cov > cov_low) & (cov < cov_high) & ~clipped
    order = torch.where(candidates, context.noise, torch.inf).argsort()
    count = min(share_count(share, cov.numel()), int(candidates.sum()))
    dropped = torch.zeros_like(candidates)
    dropped[order[:count]] = True
    here = context.cut(dropped, mask)
    measured = base.measurements | {"clip_cov_fraction": over_tokens(here, mask)}
    return PolicyLoss(base.losses.masked_fill(here, 0.0), measured)


def kl_cov(
    logprobs: Float[Tensor, "B T"],
    old_logprobs: Float[Tensor, "B T"],
    advantages: Advantages,
    mask: Bool[Tensor, "B T"],
    context: StepContext,
    *,
    share: Fraction = 2e-3,
    penalty: NonNegative = 1.0,
) -> PolicyLoss:
    """-r A, no clip; the top share by covariance adds penalty x |log pi - log pi_old| (arXiv 2505.22617).

    The covariance is taken over the whole optimizer step. Inert while pi = pi_old, where |x| has gradient 0: it needs
    several optimizer steps per batch. The share is a *fraction*; one public code calls the same number a percentage.
    share: fraction of all tokens (source: 2e-3 for 7B, 2e-4 for 32B). penalty: weight of the absolute log-ratio.
    """
    advantage = per_token(advantages, mask)
    log_ratio = _log_ratio(logprobs, old_logprobs, mask)
    here = context.cut(top_share(covariance_terms(context), context.noise, share), mask)
    losses = -log_ratio.exp() * advantage + penalty * log_ratio.abs().masked_fill(~here, 0.0)
    measured = _ratio_measurements(log_ratio, mask) | {"kl_cov_fraction": over_tokens(here, mask)}
    return PolicyLoss(losses, measured)


def per_token(advantages: Advantages, mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """Advantages of sequences or of tokens as one number per token, 0 outside the mask."""
    spread = advantages if advantages.dim() == 2 else advantages[:, None].expand(mask.shape)
    return spread.masked_fill(~mask, 0.0)


def _log_ratio(logprobs: Tensor, old_logprobs: Tensor, mask: Tensor) -> Tensor:
    return (logprobs - old_logprobs).masked_fill(~mask, 0.0).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)


def _ratio_measurements(log_ratio: Tensor, mask: Tensor) -> dict[str, Measurement]:
    """Ratio, and r - 1 - log r: the estimate of KL(pi_old || pi) from samples of pi_old."""
    ratio = log_ratio.detach().exp()
    return {
        "ratio": over_tokens(ratio, mask),
        "approx_kl": over_tokens(ratio - 1.0 - log_ratio.detach(), mask),
    }


def _clip_measurements(
    ratio: Tensor, advantage: Tensor, mask: Tensor, clip_low: float, clip_high: float
) -> dict[str, Measurement]:
    """Fractions of tokens whose gradient a bound cut off: above with A > 0, below with A < 0."""
    return {
        "clip_high_fraction": over_tokens((advantage > 0) & (ratio > 1.0 + clip_high), mask),
        "clip_low_fraction": over_tokens((advantage < 0) & (ratio < 1.0 - clip_low), mask),
    }


POLICY_LOSSES: dict[str, Callable[..., PolicyLoss]] = {
    "reinforce": reinforce,
    "clipped_ratio": clipped_ratio,
    "sequence_ratio": sequence_ratio,
    "cispo": cispo,
    "soft_gate": soft_gate,
    "clip_cov": clip_cov,
    "kl_cov": kl_cov,
}
