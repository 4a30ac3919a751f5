"""Several runs beside one another: seeds of a configuration are one group, groups are compared at equal cost.

Cost is counted in steps, in sampled tokens or in optimizer steps (`AXES`): exploration samples more, replay updates
more, and a comparison at equal steps alone would hide it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from uec_vlm.errors import RunError
from uec_vlm.metrics import find
from uec_vlm.reports.figures import ROLES, blank_figure
from uec_vlm.reports.page import as_json, render
from uec_vlm.reports.run import Run, load_measured
from uec_vlm.reports.statistics import Estimate, estimate, paired_difference
from uec_vlm.reports.tables import accuracies, cost, validation_accuracy

AXES: dict[str, tuple[str | None, str]] = {
    "steps": (None, "step"),
    "tokens": ("rollout/sampled_tokens", "sampled tokens"),
    "updates": ("update/optimizer_steps", "optimizer steps"),
}
"""Axis -> (metric whose running sum it is, label); None is the step itself."""

METRICS = (
    "eval/pass@1",
    "rollout/accuracy",
    "rollout/entropy",
    "eval/image_gain",
    "explore/solved",
    "rollout/completion_length",
    "rollout/format",
    "rollout/reward",
)
_ROLES = ("accent", "warm", "cool", "ochre", "plum", "ink")
_POINTS = 80
_FEW = 12
"""Curves of so many points show them."""
_NEAR = 0.1
"""Evaluations that far from a budget, as a share of it, count as being at it."""
# Settings that do not make two runs different configurations.
_APART = ("run.seed", "run.name", "run.dir", "run.trackers", "checkpoint", "log")


@dataclass(frozen=True)
class Group:
    """The runs of one configuration, by seed."""

    label: str
    runs: tuple[Run, ...]

    @property
    def seeds(self) -> list[int]:
        """One per run."""
        return [run.seed for run in self.runs]


def load_groups(paths: Sequence[str | Path]) -> list[Group]:
    """Opens runs and groups those that differ in their seed only. RunError for what cannot be compared.

    That is: no run, a run given twice, one without a logged step or its configuration, and one without an evaluation
    beside others that have some.
    """
    runs = [load_measured(path) for path in paths]
    places = [run.folder.path.resolve() for run in runs]
    twice = {str(place) for place in places if places.count(place) > 1}
    if twice:
        raise RunError(f"{sorted(twice)[0]} was given twice; give each run once.")
    for run in runs:
        run.folder.config()  # without it a run would be a configuration of its own
        if not run.evaluations and any(other.evaluations for other in runs):
            raise RunError(
                f"{run.folder.evaluations_file} has no evaluation, so the run cannot be compared with the others; "
                "leave it out, or run it again."
            )
    return group_runs(runs)


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Groups of equal configuration but for the seed, in the order in which they came, labelled by what differs."""
    settings = [_settings(run.config) for run in runs]
    found: dict[str, list[Run]] = {}
    for run, own in zip(runs, settings, strict=True):
        found.setdefault(repr(sorted(own.items())), []).append(run)
    members = list(found.values())
    return [Group(label, tuple(group)) for label, group in zip(_labels(members), members, strict=True)]


def on_axis(run: Run, metric: str, axis: str) -> pd.Series:
    """A metric of a run over what it had cost until then (see `AXES`)."""
    series, costs = _series(run, metric), _cost_by_step(run, axis)
    series = series[[step in costs.index for step in series.index]]
    return pd.Series(series.to_numpy(), index=[costs.loc[step] for step in series.index], dtype=float)


def _series(run: Run, metric: str) -> pd.Series:
    """A metric by step; validation accuracy from the evaluations."""
    return validation_accuracy(run) if metric == "eval/pass@1" else run.series(metric)


def spread(group: Group, metric: str, axis: str = "steps") -> pd.DataFrame:
    """Mean, lowest and highest over the seeds of a group, on a common grid over the part that all of them reached.

    Between two measurements of a run a straight line is taken. Empty where a run did not measure it.
    """
    curves = [on_axis(run, metric, axis) for run in group.runs]
    if any(curve.empty for curve in curves):
        return pd.DataFrame(columns=["mean", "low", "high"])
    first, last = max(curve.index[0] for curve in curves), min(curve.index[-1] for curve in curves)
    exact = sorted({x for curve in curves for x in curve.index if first <= x <= last})
    grid = exact if len(exact) <= _POINTS else list(np.linspace(first, last, _POINTS))
    values = np.array([np.interp(grid, curve.index, curve.to_numpy()) for curve in curves])
    return pd.DataFrame({"mean": values.mean(0), "low": values.min(0), "high": values.max(0)}, index=grid)


def comparison_figures(groups: Sequence[Group], axis: str = "steps") -> dict[str, go.Figure]:
    """A figure per metric that every group has: mean over seeds, and the band from the lowest to the highest."""
    figures = {}
    for metric in METRICS:
        tables = [spread(group, metric, axis) for group in groups]
        if all(len(table) for table in tables):
            figures[metric] = _figure(metric, groups, tables, axis)
    return figures


def paired(groups: Sequence[Group]) -> pd.DataFrame:
    """Every later group against the first: accuracy on the same problems, its difference with a 95 % interval.

    Validation is compared at equal steps, tokens and updates: each run's last evaluation at what the cheapest run cost
    in all, or a tenth from it; without one there is no row. Test, which is evaluated once, is compared at the end. Runs
    pair by seed where the groups share seeds, and problems always pair; the interval is a bootstrap over problems of
    the difference averaged over seeds, so it does not cover the choice of seeds: `seeds_low` and `seeds_high` are the
    lowest and highest difference of a seed.
    """
    rows = []
    for other in groups[1:]:
        for split, axis in (
            ("validation", "steps"),
            ("validation", "tokens"),
            ("validation", "updates"),
            ("test", "end"),
        ):
            row = _paired_row(groups[0], other, split, axis)
            if row is not None:
                rows.append(row)
    return pd.DataFrame(rows)


def run_table(groups: Sequence[Group]) -> pd.DataFrame:
    """A row per group: seeds, steps, tokens, updates, and accuracy before and after on test (or validation)."""
    rows = []
    for group in groups:
        costs = [cost(run) for run in group.runs]
        split = "test" if all(run.of_split("test") for run in group.runs) else "validation"
        evaluated = [run.of_split(split) for run in group.runs]
        rows.append(
            {
                "group": group.label,
                "seeds": ", ".join(map(str, group.seeds)),
                "steps": float(np.mean([run.last_step for run in group.runs])),
                "tokens": float(np.mean([one["sampled_tokens"] for one in costs])),
                "updates": float(np.mean([one["optimizer_steps"] for one in costs])),
                "split": split,
                "before": _over_seeds([np.mean(accuracies(rows[0])) for rows in evaluated if rows]),
                "after": _over_seeds([np.mean(accuracies(rows[-1])) for rows in evaluated if rows]),
            }
        )
    return pd.DataFrame(rows)


def render_comparison(groups: Sequence[Group]) -> str:
    """The page that compares groups of runs, as HTML: self-contained like that of a run."""
    drawn: dict[str, Any] = {}
    axes = {}
    for axis in AXES:
        figures = comparison_figures(groups, axis)
        axes[axis] = [f"{axis}/{metric}" for metric in figures]
        drawn |= {f"{axis}/{metric}": as_json(figure) for metric, figure in figures.items()}
    return render("compare.html.j2", drawn, groups=groups, axes=axes, runs=run_table(groups), paired=paired(groups))


def write_comparison(groups: Sequence[Group], out: Path) -> Path:
    """Writes the page that compares groups of runs; returns its path."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(render_comparison(groups), encoding="utf-8")
    return out


def _paired_row(first: Group, other: Group, split: str, axis: str) -> dict[str, Any] | None:
    budget = _least_cost([*first.runs, *other.runs], axis)
    chosen = {id(run): _evaluation(run, split, axis, budget) for run in (*first.runs, *other.runs)}
    if any(row is None for row in chosen.values()):
        return None
    pairs = _seed_pairs(first, other)
    by_problem: dict[str, list[tuple[float, float]]] = {}
    by_seed = []
    for a, b in pairs:
        one, two = (_known(chosen[id(run)]) for run in (a, b))
        shared = [name for name in one if name in two]
        by_seed.append(float(np.mean([two[name] - one[name] for name in shared])) if shared else 0.0)
        for name in shared:
            by_problem.setdefault(name, []).append((one[name], two[name]))
    if not by_problem:
        return None
    before = [float(np.mean([pair[0] for pair in values])) for values in by_problem.values()]
    after = [float(np.mean([pair[1] for pair in values])) for values in by_problem.values()]
    difference: Estimate = paired_difference(before, after)
    return {
        "first": first.label, "other": other.label, "split": split, "at equal": axis, "problems": len(by_problem),
        "pairs": len(pairs), "accuracy of first": estimate(before).mean, "accuracy of other": estimate(after).mean,
        "difference": difference.mean, "low": difference.low, "high": difference.high,
        "seeds_low": min(by_seed), "seeds_high": max(by_seed),
    }  # fmt: skip


def _seed_pairs(first: Group, other: Group) -> list[tuple[Run, Run]]:
    """Runs of equal seed; all with all where the groups share none."""
    own = {run.seed: run for run in other.runs}
    pairs = [(run, own[run.seed]) for run in first.runs if run.seed in own]
    return pairs or [(a, b) for a in first.runs for b in other.runs]


def _known(row: Mapping[str, Any] | None) -> dict[str, float]:
    return dict(zip(row["ids"], accuracies(row), strict=True)) if row is not None else {}


def _evaluation(run: Run, split: str, axis: str, budget: float) -> Mapping[str, Any] | None:
    rows = run.of_split(split)
    if axis == "end":
        return rows[-1] if len(rows) > 1 else None
    costs = _cost_by_step(run, axis)
    low, high = (1 - _NEAR) * budget, (1 + _NEAR) * budget
    near = [row for row in rows if row["step"] in costs.index and low <= costs.loc[row["step"]] <= high]
    return near[-1] if near else None


def _least_cost(runs: Sequence[Run], axis: str) -> float:
    return 0.0 if axis == "end" else float(min(_cost_by_step(run, axis).iloc[-1] for run in runs))


def _cost_by_step(run: Run, axis: str) -> pd.Series:
    """What a run had cost when a step was done, by step."""
    metric = AXES[axis][0]
    steps = run.metrics.index
    if metric is None:
        return pd.Series(steps.astype(float), index=steps)
    return run.series(metric).reindex(steps, fill_value=0.0).cumsum()


def _figure(metric: str, groups: Sequence[Group], tables: Sequence[pd.DataFrame], axis: str) -> go.Figure:
    known = find(metric)
    figure = blank_figure(metric, known.unit, x=AXES[axis][1], note=known.meaning)
    for number, (group, table) in enumerate(zip(groups, tables, strict=True)):
        role = _ROLES[number % len(_ROLES)]
        x = [float(value) for value in table.index]
        if len(group.runs) > 1:
            figure.add_scatter(
                x=[*x, *x[::-1]], y=[*table["high"], *table["low"][::-1]], fill="toself", mode="lines",
                line={"width": 0}, fillcolor=ROLES[role], opacity=0.5, showlegend=False, hoverinfo="skip",
                name=group.label, meta={"role": role},
            )  # fmt: skip
        figure.add_scatter(
            x=x, y=list(table["mean"]), mode="lines" if len(x) > _FEW else "lines+markers",
            name=f"{group.label} ({len(group.runs)})",
            line={"color": ROLES[role], "width": 2}, meta={"role": role},
        )  # fmt: skip
    return figure


def _over_seeds(values: Sequence[Any]) -> str:
    """Mean and standard deviation over seeds."""
    if not values:
        return "–"
    mean = f"{np.mean(values):.3f}"
    return f"{mean} ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else mean


def _settings(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The configuration as dotted keys, without what does not tell configurations apart."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if name in _APART:
            continue
        if isinstance(value, Mapping):
            flat |= _settings(value, f"{name}.")
        else:
            flat[name] = value
    return flat


def _labels(members: Sequence[Sequence[Run]]) -> list[str]:
    """The algorithm of each group; with the settings that differ where two have the same."""
    names = [str(group[0].config.get("algorithm") or group[0].name) for group in members]
    labels = []
    for place, name in enumerate(names):
        rivals = [_settings(members[i][0].config) for i in range(len(names)) if names[i] == name]
        own = _settings(members[place][0].config)
        differing = sorted(key for key in own if any(rival.get(key) != own[key] for rival in rivals))
        extra = ", ".join(f"{key.rpartition('.')[2]} = {own[key]}" for key in differing[:2])
        labels.append(f"{name}: {extra}" if extra else name)
    return labels
