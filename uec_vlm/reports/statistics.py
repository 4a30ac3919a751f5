"""Accuracy with intervals: unbiased pass@k per problem, bootstrap over problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """A mean over problems with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def powers_of_two(samples: int) -> list[int]:
    """1, 2, 4 ... up to `samples`."""
    return [1 << bit for bit in range(samples.bit_length())]


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
    from scipy import stats  # a second of every start, for one table

    result = stats.bootstrap((array,), np.mean, n_resamples=2000, method="percentile", rng=generator, batch=100)
    return Estimate(mean, float(result.confidence_interval.low), float(result.confidence_interval.high))


def paired_difference(before: Sequence[float], after: Sequence[float], *, seed: int = 0) -> Estimate:
    """Mean of after - before over the same problems, with its 95 % interval. ValueError if the lengths differ."""
    if len(before) != len(after):
        raise ValueError(f"paired values are needed, but there are {len(before)} before and {len(after)} after")
    return estimate([b - a for a, b in zip(before, after, strict=True)], seed=seed)


@dataclass(frozen=True)
class FormatGain:
    """A gain in accuracy in two parts that add up to it. total: after - before, in [-1, 1].

    by_format: what comes of more completions being well-formed. within: what comes of better answers among those that
    are as well formed as before.
    """

    total: float
    by_format: float
    within: float

    @property
    def share(self) -> float:
        """by_format / total; NaN without a gain. Above 1 or below 0 where the parts have opposite signs."""
        return self.by_format / self.total if self.total else float("nan")


def format_gain(before: Mapping[str, Any], after: Mapping[str, Any]) -> FormatGain:
    """How much of the gain between two rows of `evaluations.jsonl` is format (Kitagawa's decomposition, 1955).

    With f the share of well-formed completions, a the accuracy among them and b the accuracy among the others,
    accuracy = f a + (1 - f) b, and the change of it is exactly

        by_format = (f' - f) * ((a - b) + (a' - b')) / 2
        within    = (f + f') / 2 * (a' - a) + (1 - (f + f') / 2) * (b' - b)

    A rate over no completions (all of them well-formed, say) is taken from the other evaluation; where neither has any,
    it is 0. Learning to write the answer down as asked shows up in by_format, solving more problems in within.
    """
    (f0, a0, b0), (f1, a1, b1) = _rates(before), _rates(after)
    a0, a1 = _known(a0, a1)
    b0, b1 = _known(b0, b1)
    by_format = (f1 - f0) * ((a0 - b0) + (a1 - b1)) / 2
    middle = (f0 + f1) / 2
    within = middle * (a1 - a0) + (1 - middle) * (b1 - b0)
    return FormatGain(by_format + within, by_format, within)


def _rates(row: Mapping[str, Any]) -> tuple[float, float | None, float | None]:
    """Share of well-formed completions, accuracy among them and among the others; None over no completions."""
    completions = row["samples"] * len(row["ids"])
    formatted, correct, both = (sum(row[name]) for name in ("formatted", "correct", "correct_formatted"))
    others = completions - formatted
    return (
        formatted / completions,
        both / formatted if formatted else None,
        (correct - both) / others if others else None,
    )


def _known(one: float | None, other: float | None) -> tuple[float, float]:
    filled = [value if value is not None else spare for value, spare in ((one, other), (other, one))]
    return (filled[0] or 0.0, filled[1] or 0.0)
