"""What some losses must know of the *whole* optimizer step: covariances, quantiles and top shares of all its tokens.

Such an entry has a parameter called `context` in its signature (`registry.takes(entry, "context")`). The caller scores
the step once before its first micro-batch, makes one `StepContext` over all ranks, and hands each micro-batch the slice
of its rows. Selections are made on the whole and then cut out, so they do not depend on the micro-batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class StepContext:
    """All sampled tokens of an optimizer step, flat, sequence after sequence (axis S), without gradient.

    logprobs: of the policy at the start of the optimizer step. old_logprobs: what its ratio is taken against.
    advantages: of the token's sequence. entropy: exact, nats. noise: uniform numbers in [0, 1), one per token, drawn
    once for the step: random choices are made by them, so a loss needs no generator and the cut does not matter.
    starts: sequence i is at [starts[i], starts[i + 1]). rows: the sequences of the present micro-batch, in its order.
    """

    logprobs: Float[Tensor, " S"]
    old_logprobs: Float[Tensor, " S"]
    advantages: Float[Tensor, " S"]
    entropy: Float[Tensor, " S"]
    noise: Float[Tensor, " S"]
    starts: tuple[int, ...]
    rows: tuple[int, ...]

    def at(self, rows: Sequence[int]) -> StepContext:
        """The same step, seen from a micro-batch that holds these sequences in this order."""
        return replace(self, rows=tuple(rows))

    def cut(self, chosen: Bool[Tensor, " S"], mask: Bool[Tensor, "B T"]) -> Bool[Tensor, "B T"]:
        """A choice among all tokens, cut out for the rows of the present micro-batch."""
        parts = [chosen[self.starts[row] : self.starts[row + 1]] for row in self.rows]
        lengths = [len(part) for part in parts]
        if lengths != mask.sum(dim=-1).tolist():
            raise ValueError(
                f"the context's rows have {lengths} tokens, the micro-batch {mask.sum(dim=-1).tolist()}: "
                "take context.at(rows) with the rows of this micro-batch, in its order"
            )
        out = torch.zeros_like(mask)
        out[mask] = torch.cat(parts).to(mask.device) if parts else torch.zeros(0, dtype=torch.bool, device=mask.device)
        return out


def step_context(
    logprobs: Sequence[Float[Tensor, " _"]],
    old_logprobs: Sequence[Float[Tensor, " _"]],
    advantages: Sequence[float],
    entropies: Sequence[Float[Tensor, " _"]],
    *,
    generator: torch.Generator,
) -> StepContext:
    """The context of one optimizer step, one entry per sequence (unpadded), all ranks together, in one order.

    generator: on the CPU, in the same state on all ranks. The rows start as all sequences in the given order.
    """
    lengths = [len(row) for row in logprobs]
    starts = [0]
    for length in lengths:
        starts.append(starts[-1] + length)
    per_token = [torch.full((length,), float(value)) for length, value in zip(lengths, advantages, strict=True)]
    return StepContext(
        logprobs=_flat(logprobs),
        old_logprobs=_flat(old_logprobs),
        advantages=_flat(per_token),
        entropy=_flat(entropies),
        noise=torch.rand(starts[-1], generator=generator),
        starts=tuple(starts),
        rows=tuple(range(len(lengths))),
    )


def covariance_terms(context: StepContext) -> Float[Tensor, " S"]:
    """cov_t = (A_t - mean A)(log pi_t - mean log pi), means over all tokens of the step (arXiv 2505.22617)."""
    centred = context.advantages - context.advantages.mean()
    return centred * (context.logprobs - context.logprobs.mean())


def top_share(values: Float[Tensor, " S"], noise: Float[Tensor, " S"], share: float) -> Bool[Tensor, " S"]:
    """True at the round(share x S) largest values (a half rounds up); ties are broken by the noise."""
    chosen = torch.zeros_like(values, dtype=torch.bool)
    order = noise.argsort()
    order = order[values[order].argsort(descending=True, stable=True)]
    chosen[order[: share_count(share, values.numel())]] = True
    return chosen


def share_count(share: float, count: int) -> int:
    """round(share x count), a half up: 0 for a small step (the public codes take at least one token)."""
    return int(share * count + 0.5)


def _flat(rows: Sequence[Tensor]) -> Tensor:
    if not rows:
        return torch.zeros(0)
    return torch.cat([row.detach().to(device="cpu", dtype=torch.float32) for row in rows])
