"""From losses per token to one number, with one denominator for the whole optimizer step.

`StepTotals` is counted before the first micro-batch and summed over all ranks, so the sum of the reduced parts (over
micro-batches and ranks) does not depend on how the step was cut. A data-parallel wrapper that *averages* gradients over
W ranks wants the loss times W.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from uec_vlm.objective.ranges import Count


@dataclass(frozen=True)
class StepTotals:
    """What the optimizer step holds over all its micro-batches and ranks.

    tokens: sampled tokens (True in the completion masks). sequences: completions.
    limit: tokens that a completion could have; read by `constant` where it has no length of its own.
    """

    tokens: int
    sequences: int
    limit: int | None = None


def masked_sum(values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, ""]:
    """Sum of the kept values. It fills, never multiplies: nan behind the mask reaches neither value nor gradient."""
    return values.masked_fill(~mask, 0.0).sum()


def token_mean(values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], totals: StepTotals) -> Float[Tensor, ""]:
    """Every token of the step weighs the same: sum / tokens in the step (DAPO, arXiv 2503.14476)."""
    return masked_sum(values, mask) / max(totals.tokens, 1)


def sequence_mean(values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], totals: StepTotals) -> Float[Tensor, ""]:
    """Every sequence weighs the same: mean over sequences of token means (GRPO, arXiv 2402.03300)."""
    lengths = mask.sum(dim=-1).clamp(min=1)
    return (values.masked_fill(~mask, 0.0).sum(dim=-1) / lengths).sum() / max(totals.sequences, 1)


def constant(
    values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], totals: StepTotals, *, length: Count | None = None
) -> Float[Tensor, ""]:
    """Token sum / (sequences x a constant length) (Dr. GRPO, arXiv 2503.20783): no bias by the length of an answer.

    length: tokens; null is the limit on the completion's length (`totals.limit`), as in the source. ValueError where
    neither is given.
    """
    tokens = totals.limit if length is None else length
    if tokens is None:
        raise ValueError("the reduction 'constant' needs a length: give reduction.length, or StepTotals its limit")
    return masked_sum(values, mask) / (max(totals.sequences, 1) * tokens)


REDUCTIONS: dict[str, Callable[..., Tensor]] = {
    "token_mean": token_mean,
    "sequence_mean": sequence_mean,
    "constant": constant,
}
