"""Accuracy with intervals: unbiased pass@k per problem, bootstrap over problems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Estimate:
    """A mean over problems with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def pass_at_k(correct: Sequence[int], samples: int, k: int) -> list[float]:
    """Unbiased pass@k of every problem, `1 - C(n-c, k) / C(n, k)` (Chen et al. 2021, arXiv 2107.03374).

    correct: right answers among `samples`, per problem. ValueError if k is above `samples`.
    """
    if not 1 <= k <= samples:
        raise ValueError(f"pass@{k} needs at least {k} samples per problem, but there are {samples}")
    return [1.0 - comb(samples - c, k) / comb(samples, k) for c in correct]


def estimate(values: Sequence[float], *, seed: int = 0) -> Estimate:
    """The mean over problems and its 95 % percentile-bootstrap interval (scipy)."""
    array = np.asarray(values, dtype=float)
    mean = float(array.mean())
    if len(array) < 2 or np.ptp(array) == 0.0:
        return Estimate(mean, mean, mean)
    generator = np.random.default_rng(seed)
    result = stats.bootstrap((array,), np.mean, n_resamples=2000, method="percentile", rng=generator, batch=100)
    return Estimate(mean, float(result.confidence_interval.low), float(result.confidence_interval.high))


def paired_difference(before: Sequence[float], after: Sequence[float], *, seed: int = 0) -> Estimate:
    """Mean of after - before over the same problems, with its 95 % interval. ValueError if the lengths differ."""
    if len(before) != len(after):
        raise ValueError(f"paired values are needed, but there are {len(before)} before and {len(after)} after")
    return estimate([b - a for a, b in zip(before, after, strict=True)], seed=seed)
