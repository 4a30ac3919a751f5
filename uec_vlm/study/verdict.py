"""What a method was expected to reach against the reference, what it reached, and whether that is so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from uec_vlm.reports.statistics import Estimate, pass_at_k
from uec_vlm.study.entropy import entropy_course
from uec_vlm.study.markdown import table
from uec_vlm.study.tables import (
    AXES,
    RESAMPLES,
    Floats,
    Summary,
    bootstrap,
    by_arm,
    difference,
    end_split,
    final,
    first_rows,
    last_rows,
    paired,
    start,
)

# The paper's headline: a gain 37.9 % larger than GRPO's (arXiv 2604.14646).
RATIO = 1.379
ENTROPY = (0.5, 1.5)


@dataclass(frozen=True)
class Criterion:
    """One expectation. measured: as text; met: whether its interval, or for the ratio and entropy its value, is so."""

    text: str
    measured: str
    met: bool


def criteria(summaries: Sequence[Summary], arm: str, reference: str) -> list[Criterion]:
    """The expectations of one arm held against the reference arm; both must have finished cells, which are paired."""
    arms, split = by_arm(summaries), end_split(summaries)
    mine, others = zip(*paired(arms[arm], arms[reference]), strict=True)
    base = start([one for found in arms.values() for one in found], split=split)
    ratio = gain_ratio(final(mine, split=split) - base, final(others, split=split) - base)
    steps, tokens = (difference(mine, others, axis).estimate for axis in list(AXES)[:2])
    passed, _ = bootstrap(_pass16(last_rows(mine, split)) - _pass16(first_rows(mine, split)))
    entropies = list(entropy_course(mine).values())
    inside = bool(entropies) and ENTROPY[0] <= min(entropies) and max(entropies) <= ENTROPY[1]
    return [
        Criterion(f"gain at least {RATIO} x that of `{reference}`, equal steps", str(ratio), ratio.mean >= RATIO),
        Criterion(f"gain larger than that of `{reference}`, equal steps", str(steps), steps.low > 0),
        Criterion(f"gain larger than that of `{reference}`, equal sampled tokens", str(tokens), tokens.low > 0),
        Criterion("pass@16 above the start's", str(passed), passed.low > 0),
        Criterion(
            f"entropy between {ENTROPY[0]} and {ENTROPY[1]} x its start",
            f"{min(entropies):.2f} to {max(entropies):.2f}" if entropies else "not measured", inside,
        ),
    ]  # fmt: skip


def criteria_table(summaries: Sequence[Summary], order: Sequence[str], reference: str) -> str:
    """A row per expectation, a column per arm that has finished cells, the reference apart."""
    arms = by_arm(summaries)
    names = [name for name in order if name in arms and name != reference]
    if reference not in arms or not names:
        return f"No run of `{reference}` and another arm is finished yet."
    found = [criteria(summaries, name, reference) for name in names]
    rows = [
        (same[0].text, *(f"{one.measured}: {'yes' if one.met else '**no**'}" for one in same))
        for same in zip(*found, strict=True)
    ]
    return table(["expected", *(f"`{name}`" for name in names)], rows)


def gain_ratio(mine: Floats, others: Floats, *, seed: int = 0) -> Estimate:
    """Mean gain of one arm over that of the other, [seeds, problems] each, with its 95 % bootstrap interval.

    Problems are drawn once for both arms, the seeds of each arm apart. NaN where the other arm gained exactly nothing.
    """
    generator = np.random.default_rng(seed)
    ratios = []
    for _ in range(RESAMPLES):
        columns = generator.integers(mine.shape[1], size=mine.shape[1])
        means = [rows[generator.integers(len(rows), size=len(rows))][:, columns].mean() for rows in (mine, others)]
        if means[1]:
            ratios.append(means[0] / means[1])
    low, high = np.quantile(ratios or [np.nan], [0.025, 0.975])
    return Estimate(float(mine.mean() / others.mean()) if others.mean() else np.nan, float(low), float(high))


def _pass16(rows: Sequence[Mapping[str, Any]]) -> Floats:
    """pass@16 (or of as many samples as there are) of every problem, a row per evaluation."""
    return np.stack([np.asarray(pass_at_k(row["correct"], row["samples"], min(16, row["samples"]))) for row in rows])
