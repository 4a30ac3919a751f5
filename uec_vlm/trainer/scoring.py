"""Scoring of sampled rollouts without gradient: micro-batches in, one record per rollout out, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from uec_vlm.batches import collate_completions, cut_rollouts
from uec_vlm.policy import Policy, score
from uec_vlm.records import CompletionBatch, Rollout


@dataclass(frozen=True)
class SequenceScores:
    """What the policy says of one completion, on the CPU (see `TokenScores`)."""

    logprobs: Float[Tensor, " T"]
    entropy: Float[Tensor, " T"]
    moment: Float[Tensor, " T"]


@torch.no_grad()
def score_rollouts(
    policy: Policy, rollouts: Sequence[Rollout], *, temperature: float, budget: int
) -> list[SequenceScores]:
    """Log-probabilities, exact entropy and moment of every rollout at a temperature, by the weights of now."""
    scored: list[SequenceScores | None] = [None] * len(rollouts)
    for places in cut_rollouts(rollouts, budget=budget):
        part = [rollouts[place] for place in places]
        batch = collate_completions([r.completion_ids for r in part], [r.prompt for r in part])
        scores = score(policy, batch, temperature=temperature)
        for row, place in enumerate(places):
            length = len(rollouts[place].completion_ids)
            parts = (scores.logprobs, scores.entropy, scores.moment)
            scored[place] = SequenceScores(*(values[row, :length].cpu().clone() for values in parts))
    return [scores for scores in scored if scores is not None]


@torch.no_grad()
def reference_logprobs(
    reference: Callable[[CompletionBatch], Tensor], rollouts: Sequence[Rollout], *, budget: int
) -> list[Float[Tensor, " T"]]:
    """Log-probabilities of every rollout by the reference policy, on the CPU."""
    out: dict[int, Tensor] = {}
    for places in cut_rollouts(rollouts, budget=budget):
        part = [rollouts[place] for place in places]
        logprobs = reference(collate_completions([r.completion_ids for r in part], [r.prompt for r in part]))
        out |= {p: logprobs[row, : len(rollouts[p].completion_ids)].cpu() for row, p in enumerate(places)}
    return [out[place] for place in range(len(rollouts))]
