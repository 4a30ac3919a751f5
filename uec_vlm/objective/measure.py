"""Measurements that travel as (sum, weight), so that a mean over unequal parts stays a mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class Measurement:
    """A quantity on its way to the log: its mean is total / weight.

    total: sum of the values, a scalar without gradient. weight: what it is divided by (tokens, sequences), a scalar.
    """

    total: Float[Tensor, ""]
    weight: Float[Tensor, ""]

    @property
    def mean(self) -> float:
        """Total / weight; 0 where nothing was measured."""
        weight = float(self.weight)
        return float(self.total) / weight if weight else 0.0


def over_tokens(values: Float[Tensor, "B T"] | Bool[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Measurement:
    """Sum of the values at the kept tokens, weighted by their number. Excluded values are never read."""
    kept = values.detach().to(torch.float32).masked_fill(~mask, 0.0)
    return Measurement(kept.sum(), mask.sum().to(torch.float32))


def merge(parts: Iterable[Mapping[str, Measurement]]) -> dict[str, Measurement]:
    """Measurements of several micro-batches as those of the whole: totals and weights are added by name."""
    merged: dict[str, Measurement] = {}
    for part in parts:
        for name, value in part.items():
            known = merged.get(name)
            merged[name] = (
                value if known is None else Measurement(known.total + value.total, known.weight + value.weight)
            )
    return merged
