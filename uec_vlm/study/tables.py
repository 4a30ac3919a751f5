"""Arms of a study compared at equal steps, tokens and optimizer steps, with intervals over seeds and problems."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from uec_vlm.reports.statistics import Estimate, pass_at_k, powers_of_two
from uec_vlm.study.markdown import table

Axis = Literal["step", "rollout/sampled_tokens", "update/optimizer_steps"]
AXES: dict[Axis, str] = {
    "step": "equal steps",
    "rollout/sampled_tokens": "equal sampled tokens",
    "update/optimizer_steps": "equal optimizer steps",
}
Summary = Mapping[str, Any]
Floats = NDArray[np.float64]
RESAMPLES = 2000
_GEOSYNTH_ID = re.compile(r"geosynth-(?P<family>.+)-(?P<level>\d+)-\d+")


@dataclass(frozen=True)
class Difference:
    """An arm's accuracy less the reference's, both at one budget. p: two-sided, not corrected."""

    arm: str
    axis: Axis
    budget: float
    estimate: Estimate
    p: float


def by_arm(summaries: Sequence[Summary]) -> dict[str, list[Summary]]:
    """The main cells of each arm, in the order of their seeds."""
    arms: dict[str, list[Summary]] = {}
    for one in sorted(summaries, key=lambda item: int(item["seed"])):
        if one["kind"] == "main":
            arms.setdefault(one["arm"], []).append(one)
    return arms


def accuracies(evaluation: Mapping[str, Any]) -> Floats:
    """mean@n of every problem of one evaluation."""
    return np.asarray(evaluation["correct"], dtype=float) / float(evaluation["samples"])


def evaluation_at(summary: Summary, step: float, *, split: str = "validation") -> Mapping[str, Any]:
    """The last evaluation of a split up to a step; 0 is the untouched policy."""
    rows = [row for row in summary["evaluations"] if row["split"] == split and row["step"] <= step]
    chosen: Mapping[str, Any] = max(rows, key=lambda row: row["step"])
    return chosen


def spent(summary: Summary, axis: Axis) -> dict[int, float]:
    """What a run had spent on the axis after each step of its curve; nothing at step 0."""
    return {0: 0.0, **dict(zip(summary["curve"]["step"], map(float, summary["curve"][axis]), strict=True))}


def accuracies_at(summary: Summary, axis: Axis, budget: float) -> Floats:
    """mean@n of every validation problem at a budget, linear between the evaluations before and after it.

    Behind the last evaluation: that of the last. Without the line between them a run that is evaluated just behind the
    budget would be held at its evaluation before, which may have cost far less.
    """
    costs = spent(summary, axis)
    rows = [(costs[row["step"]], row) for row in summary["evaluations"] if row["split"] == "validation"]
    rows.sort(key=lambda one: one[0])
    before = [one for one in rows if one[0] <= budget][-1]
    after = next((one for one in rows if one[0] > budget), before)
    share = (budget - before[0]) / (after[0] - before[0]) if after is not before else 0.0
    return (1 - share) * accuracies(before[1]) + share * accuracies(after[1])


def total(summary: Summary, axis: str) -> float:
    """What the whole run has spent on an axis."""
    return float(summary["curve"][axis][-1])


def last_rows(cells: Sequence[Summary], split: str) -> list[Mapping[str, Any]]:
    """The last evaluation of each run."""
    return [evaluation_at(one, float("inf"), split=split) for one in cells]


def first_rows(cells: Sequence[Summary], split: str) -> list[Mapping[str, Any]]:
    """The evaluation of the untouched policy of each run."""
    return [evaluation_at(one, 0, split=split) for one in cells]


def final(cells: Sequence[Summary], *, split: str = "validation") -> Floats:
    """mean@n at the end, one row per seed, one column per problem."""
    return np.stack([accuracies(row) for row in last_rows(cells, split)])


def start(summaries: Sequence[Summary], *, split: str = "validation") -> Floats:
    """mean@n of the untouched policy per problem, over the evaluations of all runs: it is one policy."""
    return np.asarray(np.stack([accuracies(row) for row in first_rows(summaries, split)]).mean(axis=0))


def bootstrap(values: Floats, *, seed: int = 0) -> tuple[Estimate, float]:
    """The mean of seeds x problems, its 95 % interval, and the two-sided p of a mean of 0.

    Seeds and problems are resampled independently (a two-way bootstrap), so both are sources of spread.
    """
    generator = np.random.default_rng(seed)
    seeds, problems = values.shape
    rows = generator.integers(seeds, size=(RESAMPLES, seeds))
    columns = generator.integers(problems, size=(RESAMPLES, problems))
    means = np.array([values[r][:, c].mean() for r, c in zip(rows, columns, strict=True)])
    low, high = np.quantile(means, [0.025, 0.975])
    tail = min((means <= 0).mean(), (means >= 0).mean())
    return Estimate(float(values.mean()), float(low), float(high)), float(min(2 * max(tail, 1 / RESAMPLES), 1.0))


def paired(arm: Sequence[Summary], reference: Sequence[Summary]) -> list[tuple[Summary, Summary]]:
    """The runs of two arms with the same seed, which began with the same prompts; without such, in their order."""
    others = {one["seed"]: one for one in reference}
    same = [(one, others[one["seed"]]) for one in arm if one["seed"] in others]
    return same or list(zip(arm, reference, strict=False))


def difference(arm: Sequence[Summary], reference: Sequence[Summary], axis: Axis) -> Difference:
    """The arm less the reference, same problems, seeds paired, at the smaller of their mean totals on the axis.

    Between two evaluations accuracy is taken to change linearly with what is spent.
    """
    pairs = paired(arm, reference)
    budget = min(float(np.mean([total(one, axis) for one in cells])) for cells in zip(*pairs, strict=True))
    gaps = [accuracies_at(one, axis, budget) - accuracies_at(other, axis, budget) for one, other in pairs]
    estimate, p = bootstrap(np.stack(gaps))
    return Difference(arm[0]["arm"], axis, budget, estimate, p)


def corrected(differences: Sequence[Difference]) -> list[float]:
    """The p of all comparisons after Benjamini and Yekutieli's correction, which holds under any dependence (scipy)."""
    if not differences:
        return []
    return [float(p) for p in stats.false_discovery_control([one.p for one in differences], method="by")]


def end_split(summaries: Sequence[Summary]) -> str:
    """The split on which the end is told: test where every run has it, else validation."""
    tested = [any(row["split"] == "test" for row in one["evaluations"]) for one in summaries if one["kind"] == "main"]
    return "test" if tested and all(tested) else "validation"


def arms_table(summaries: Sequence[Summary], order: Sequence[str]) -> str:
    """One row per arm: accuracy and gain at the end, pass@16, format, image reliance, what it cost."""
    arms, split = by_arm(summaries), end_split(summaries)
    cells = [one for found in arms.values() for one in found]
    base = start(cells, split=split)
    samples = first_rows(cells[:1], split)[0]["samples"]
    few = min(16, samples)
    head = (
        "arm", "seeds", f"mean@{samples}", "gain over the start", f"pass@{few}", "format", "image gain",
        "hard prompts solved", "sampled tokens", "optimizer steps", "processor minutes",
    )  # fmt: skip
    rows: list[tuple[str, ...]] = [
        ("the start", "", f"{base.mean():.3f}", "", *_ends(first_rows(cells, split), few), "", "", "", "")
    ]
    for name in order:
        if name not in arms:
            continue
        found = arms[name]
        gain, _ = bootstrap(final(found, split=split) - base)
        costs = [f"{np.mean([total(one, key) for one in found]):,.0f}" for key in _COSTS]
        minutes = np.mean([one["cpu_seconds"] for one in found]) / 60
        end = f"{final(found, split=split).mean():.3f}"
        ends = _ends(last_rows(found, split), few)
        rows.append((f"`{name}`", str(len(found)), end, str(gain), *ends, *costs, f"{minutes:.1f}"))
    return table(head, rows)


def _ends(rows: Sequence[Mapping[str, Any]], k: int) -> tuple[str, str, str]:
    """pass@k, share of well-formed completions and image gain of evaluations, as table cells."""
    passed = np.mean([np.mean(pass_at_k(row["correct"], row["samples"], k)) for row in rows])
    formatted = np.mean([row["formatted"] / (row["samples"] * len(row["correct"])) for row in rows])
    return f"{passed:.3f}", f"{formatted:.3f}", _image_gain(rows)


def _image_gain(rows: Sequence[Mapping[str, Any]]) -> str:
    """Accuracy with the true picture minus that with a shuffled one; empty where it was not measured."""
    measured = [row for row in rows if "shuffled" in row["controls"]]
    if not measured:
        return ""
    gains = []
    for row in measured:
        wrong = row["controls"]["shuffled"]
        gains.append(accuracies(row).mean() - wrong["correct"] / (wrong["problems"] * row["samples"]))
    return f"{np.mean(gains):.3f}"


def differences_table(summaries: Sequence[Summary], order: Sequence[str], reference: str) -> str:
    """Every arm against the reference at three budgets; an asterisk where the corrected p is below 0.05."""
    arms = by_arm(summaries)
    if reference not in arms:
        return f"No run of `{reference}` is finished yet."
    others = [name for name in order if name in arms and name != reference]
    if not others:
        return "No other arm is finished yet."
    found = [difference(arms[name], arms[reference], axis) for name in others for axis in AXES]
    marks = ["\\*" if p < 0.05 else "" for p in corrected(found)]
    cells = [f"{one.estimate}{mark}" for one, mark in zip(found, marks, strict=True)]
    rows = [(f"`{name}`", *cells[place * len(AXES) :][: len(AXES)]) for place, name in enumerate(others)]
    return table([f"arm less `{reference}`", *AXES.values()], rows)


def groups_table(summaries: Sequence[Summary], order: Sequence[str], ids: Sequence[str]) -> str:
    """mean@n at the end by family and level of the generated problems."""
    arms, base = by_arm(summaries), start([one for one in summaries if one["kind"] == "main"])
    names = [name for name in order if name in arms]
    groups: dict[str, list[int]] = {}
    for place, one in enumerate(ids):
        match = _GEOSYNTH_ID.fullmatch(one)
        groups.setdefault(f"{match['family']}, level {match['level']}" if match else "all", []).append(place)
    ends = {name: final(arms[name]) for name in names}
    rows = [
        (group, str(len(places)), f"{base[places].mean():.3f}", *(f"{ends[n][:, places].mean():.3f}" for n in names))
        for group, places in sorted(groups.items())
    ]
    return table(["problems", "n", "start", *(f"`{name}`" for name in names)], rows)


def difficulty_table(summaries: Sequence[Summary], order: Sequence[str]) -> str:
    """mean@n at the end by how often the untouched policy solves a problem."""
    arms, split = by_arm(summaries), end_split(summaries)
    base = start([one for found in arms.values() for one in found], split=split)
    names = [name for name in order if name in arms]
    rows = []
    for title, low, high in _DIFFICULTY:
        places = np.flatnonzero((base >= low) & (base < high))
        if len(places):
            cells = [f"{final(arms[name], split=split)[:, places].mean():.3f}" for name in names]
            rows.append((title, str(len(places)), f"{base[places].mean():.3f}", *cells))
    return table(["the start solves", "n", "start", *(f"`{name}`" for name in names)], rows)


def pass_at_k_table(summaries: Sequence[Summary], order: Sequence[str], *, split: str = "test") -> str:
    """pass@k on the test split, of the untouched policy and at the end, for powers of two up to the samples drawn."""
    arms = by_arm(summaries)
    rows: dict[str, list[Mapping[str, Any]]] = {"start": []}
    for name in [name for name in order if name in arms]:
        tested = [one for one in arms[name] if any(row["split"] == split for row in one["evaluations"])]
        rows["start"] += first_rows(tested, split)
        rows[f"`{name}`"] = last_rows(tested, split)
    rows = {name: found for name, found in rows.items() if found}
    if not rows:
        return "No run has been tested yet."
    samples = min(row["samples"] for found in rows.values() for row in found)
    ks = powers_of_two(samples)
    means = {
        name: [np.mean([np.mean(pass_at_k(row["correct"], row["samples"], k)) for row in found]) for k in ks]
        for name, found in rows.items()
    }
    cells = [(name, *(f"{mean:.3f}" for mean in found)) for name, found in means.items()]
    return table(["", *(f"pass@{k}" for k in ks)], cells)


def tuning_table(tuning: Mapping[str, Any]) -> str:
    """The grid of learning rates with the last validation accuracy of each; the chosen one is bold."""
    rates = sorted({rate for found in tuning["accuracy"].values() for rate in found}, key=float)
    rows = []
    for arm, found in tuning["accuracy"].items():
        chosen = f"{tuning['chosen'][arm]:g}"
        cells = [f"**{found[r]:.3f}**" if r == chosen else f"{found[r]:.3f}" if r in found else "" for r in rates]
        rows.append((f"`{arm}`", *cells))
    return table(["arm", *rates], rows)


_DIFFICULTY = (
    ("under 1 %", 0.0, 0.01), ("1 to 25 %", 0.01, 0.25), ("25 to 75 %", 0.25, 0.75), ("above 75 %", 0.75, 1.01),
)  # fmt: skip
_COSTS = ("explore/solved", "rollout/sampled_tokens", "update/optimizer_steps")
