"""The loss of one micro-batch: policy loss, KL and entropy term under one reduction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from uec_vlm.objective.compose import Objective
from uec_vlm.objective.context import StepContext
from uec_vlm.objective.control import ControllerState
from uec_vlm.objective.entropy import predicted_dh, pull_on_logprobs
from uec_vlm.objective.measure import Measurement, over_tokens
from uec_vlm.objective.policy_losses import PolicyLoss, per_token
from uec_vlm.objective.reduce import StepTotals
from uec_vlm.objective.registry import takes
from uec_vlm.records import TokenScores, TrainBatch


def micro_batch_loss(
    scores: TokenScores,
    batch: TrainBatch,
    reference_logprobs: Float[Tensor, "B T"] | None,
    *,
    objective: Objective,
    totals: StepTotals,
    controller: ControllerState,
    context: StepContext | None = None,
    sources: Sequence[str] = (),
) -> tuple[Float[Tensor, ""], dict[str, Measurement]]:
    """Policy loss (times importance weights) + beta x KL + entropy term, per token, then one reduction for all.

    The sum over the micro-batches (and ranks) of an optimizer step is the step's loss, however it was cut.
    scores: with the gradient of the entropy where `objective.entropy_gradient`. reference_logprobs: log pi_ref of the
    same tokens where `objective.needs_reference`. context: `StepContext.at(rows)` where `objective.needs_context`.
    sources: one name per row ("regular", "extra", "replay"); then `predicted_dh/<source>` and, in nats per token,
    `staleness/<source>` are measured: |log pi - log behaviour|, how far the policy is from what sampled the tokens (for
    extra rollouts the difference of temperatures is in it).
    Raises ValueError where one of these is needed and absent.
    """
    mask = batch.completions.completion_mask
    given = {"controller": controller, "context": context}
    term = objective.entropy_term(
        scores, per_token(batch.advantages, mask), mask, **_asked_for(objective.entropy_term, given)
    )
    policy_loss = partial(_weighted, objective, batch, term.advantages, _asked_for(objective.policy_loss, given))
    policy = policy_loss(scores.logprobs)
    measured = dict(policy.measurements)
    measured["importance_weight"] = over_tokens(batch.importance_weights, mask)
    losses = policy.losses
    parts = {"policy_loss": policy.losses}
    if objective.needs_reference and objective.kl_settings.place == "loss":
        if reference_logprobs is None:
            raise ValueError("this objective has a KL term: reference_logprobs must be given")
        divergence = objective.kl(
            scores.logprobs.masked_fill(~mask, 0.0), reference_logprobs.detach().masked_fill(~mask, 0.0)
        )
        measured["reference_kl"] = over_tokens(divergence, mask)
        if objective.kl_coef:
            parts["kl_loss"] = objective.kl_coef * divergence
            losses = losses + parts["kl_loss"]
    if term.losses is not None:
        if scores.logprobs.requires_grad and torch.is_grad_enabled() and not term.losses.requires_grad:
            raise ValueError(
                "the entropy term has no gradient: score the entropy with one (objective.entropy_gradient)"
            )
        parts["entropy_loss"] = term.losses
        losses = losses + term.losses
    loss = objective.reduction(losses, mask, totals)
    share = mask.sum().to(torch.float32) / max(totals.tokens, 1)
    with torch.no_grad():
        for name, part in parts.items():
            measured[name] = Measurement(objective.reduction(part.detach(), mask, totals), share)
    measured["loss"] = Measurement(loss.detach(), share)
    measured["train_entropy"] = over_tokens(scores.entropy, mask)
    if sources:
        drift = (scores.logprobs - batch.behaviour_logprobs).detach().abs()
        measured |= _by_source("staleness", drift, mask, sources)
        measured |= _by_source("predicted_dh", _predicted(scores, mask, policy_loss), mask, sources)
    return loss, measured


def _weighted(
    objective: Objective, batch: TrainBatch, advantages: Tensor, extras: dict[str, Any], logprobs: Tensor
) -> PolicyLoss:
    mask = batch.completions.completion_mask
    policy = objective.policy_loss(logprobs, batch.old_logprobs, advantages, mask, **extras)
    weights = batch.importance_weights.detach().masked_fill(~mask, 1.0)
    return PolicyLoss(policy.losses * weights, policy.measurements)


def _predicted(scores: TokenScores, mask: Tensor, policy_loss: Callable[[Tensor], PolicyLoss]) -> Tensor:
    """The predicted dH of the policy loss, nats per unit step, at every token."""
    pull = pull_on_logprobs(policy_loss, scores.logprobs)
    return predicted_dh(scores.logprobs, scores.entropy, scores.moment, pull, mask)


def _by_source(name: str, values: Tensor, mask: Tensor, sources: Sequence[str]) -> dict[str, Measurement]:
    """`name/<source>`: the values at the tokens of each source's rows, weighted by their number."""
    out = {}
    for source in dict.fromkeys(sources):
        rows = torch.tensor([one == source for one in sources], device=mask.device)[:, None]
        out[f"{name}/{source}"] = over_tokens(values, mask & rows)
    return out


def _asked_for(function: Callable[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    """Those of the given arguments that the function has parameters for; ValueError for one that is None."""
    asked = {name: value for name, value in given.items() if takes(function, name)}
    for name, value in asked.items():
        if value is None:
            raise ValueError(f"this objective needs the {name} of the optimizer step: give micro_batch_loss one")
    return asked
