"""Figures of an evaluation from its rows: mean@k, pass@k, maj@k with intervals, and a paired test of two results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from uec_vlm.reports.statistics import Estimate, estimate, paired_difference, pass_at_k, powers_of_two


@dataclass(frozen=True)
class Answers:
    """The graded completions of one problem. votes: the answer read from each, in one spelling; None where none is."""

    dataset: str
    id: str
    correct: tuple[bool, ...]
    votes: tuple[str | None, ...]
    formatted: tuple[bool, ...]
    tokens: tuple[int, ...]

    @property
    def accuracy(self) -> float:
        """Share of right completions."""
        return sum(self.correct) / len(self.correct)


@dataclass(frozen=True)
class Comparison:
    """After minus before on the same problems. p_value: two-sided sign-flip permutation test of the mean."""

    problems: int
    difference: Estimate
    p_value: float


def powers_up_to(samples: int) -> list[int]:
    """1, 2, 4, ... and the number of samples itself."""
    ks = powers_of_two(samples)
    return ks if ks[-1] == samples else [*ks, samples]


def majority_at_k(answers: Answers, k: int) -> float:
    """Probability that the commonest answer among k completions is right, over the disjoint blocks of k.

    A tie is broken at random, so tied answers share the probability. Completions without an answer do not vote; a
    block in which nobody votes is wrong.
    """
    if not 1 <= k <= len(answers.correct):
        raise ValueError(f"maj@{k} needs at least {k} samples per problem, but there are {len(answers.correct)}")
    blocks = [range(start, start + k) for start in range(0, len(answers.correct) - k + 1, k)]
    return sum(_winner_is_right(answers, block) for block in blocks) / len(blocks)


def estimates(rows: Sequence[Answers], *, seed: int = 0) -> dict[str, Estimate]:
    """`mean@n`, `pass@k` and `maj@k` for k = 1, 2, 4, ..., `format` and `tokens`, each over the problems."""
    samples = len(rows[0].correct)
    found = {f"mean@{samples}": estimate([row.accuracy for row in rows], seed=seed)}
    right = [sum(row.correct) for row in rows]
    for k in powers_up_to(samples):
        found[f"pass@{k}"] = estimate(pass_at_k(right, samples, k), seed=seed)
    for k in powers_up_to(samples)[1:]:
        found[f"maj@{k}"] = estimate([majority_at_k(row, k) for row in rows], seed=seed)
    found["format"] = estimate([sum(row.formatted) / samples for row in rows], seed=seed)
    found["tokens"] = estimate([sum(row.tokens) / samples for row in rows], seed=seed)
    return found


def paired_test(before: Sequence[Answers], after: Sequence[Answers], *, seed: int = 0) -> Comparison:
    """The paired difference of accuracy on the problems that both have. ValueError if there are none."""
    old = {(row.dataset, row.id): row.accuracy for row in before}
    pairs = [(old[row.dataset, row.id], row.accuracy) for row in after if (row.dataset, row.id) in old]
    if not pairs:
        raise ValueError("the two results have no problem in common")
    first, second = (np.array(side) for side in zip(*pairs, strict=True))
    difference = paired_difference(first.tolist(), second.tolist(), seed=seed)
    return Comparison(len(pairs), difference, _sign_flip_test(second - first, seed))


def markdown(result: Mapping[str, Any]) -> str:
    """The page of a result: a table of figures by data set, the comparison, and how it was measured."""
    names = list(next(iter(result["datasets"].values()))["figures"])
    lines = [f"# {result['model']}", "", "| data set | problems | " + " | ".join(names) + " |"]
    lines.append("|---" * (len(names) + 2) + "|")
    for dataset, entry in result["datasets"].items():
        cells = [_cell(entry["figures"][name], name) for name in names]
        lines.append(f"| {dataset} | {entry['problems']} | " + " | ".join(cells) + " |")
    lines += ["", "Mean over problems, 95 % bootstrap interval over problems; pass@k is the unbiased estimator."]
    for dataset, entry in result["datasets"].items():
        if entry["refused"]:
            lines.append(f"{dataset}: {entry['refused']} problems could not be asked and are not counted.")
        if "against" in entry:
            gain = entry["against"]
            lines.append(
                f"{dataset}, against {result['against']}: {gain['mean']:+.3f} "
                f"[{gain['low']:+.3f}, {gain['high']:+.3f}] on {gain['problems']} problems, p = {gain['p_value']:.4f}"
            )
    settings = ", ".join(f"{key} = {value}" for key, value in result["settings"]["sampling"].items())
    lines += ["", f"Settings {result['settings_hash']}: {settings}; grader {result['settings']['grader']}.", ""]
    return "\n".join(lines)


def _cell(entry: Mapping[str, float], name: str) -> str:
    digits = 1 if name == "tokens" else 3
    return f"{entry['mean']:.{digits}f} [{entry['low']:.{digits}f}, {entry['high']:.{digits}f}]"


def _winner_is_right(answers: Answers, block: range) -> float:
    votes = Counter(answers.votes[place] for place in block if answers.votes[place] is not None)
    if not votes:
        return 0.0
    most = max(votes.values())
    winners = [vote for vote, count in votes.items() if count == most]
    # Equal spellings have equal verdicts, so any voter of an answer speaks for it.
    speaker = {answers.votes[place]: answers.correct[place] for place in block}
    return sum(speaker[winner] for winner in winners) / len(winners)


def _sign_flip_test(differences: np.ndarray[Any, Any], seed: int) -> float:
    if not differences.any():
        return 1.0
    result = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=9999, rng=np.random.default_rng(seed),
        vectorized=True,
    )  # fmt: skip
    return float(result.pvalue)
