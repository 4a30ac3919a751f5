"""The curves of a run as interactive Plotly figures: the page draws them, and a notebook shows them as they are.

Colours are roles (`ROLES`); the page repaints them for its light and its dark theme.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from itertools import cycle
from typing import Literal

import pandas as pd
import plotly.graph_objects as go

from uec_vlm.metrics import find
from uec_vlm.reports import tables
from uec_vlm.reports.phases import phase_seconds
from uec_vlm.reports.run import Run
from uec_vlm.reports.statistics import estimate

ROLES = {
    "accent": "#0b6b5d",
    "ink": "#4a4a46",
    "muted": "#8a8984",
    "warm": "#b3541e",
    "ochre": "#8f6b10",
    "cool": "#3d6fa5",
    "plum": "#7d4a7a",
    "rose": "#a8456b",
    "leaf": "#5f8a2b",
    "sky": "#2f8ea8",
    "clay": "#7a5a48",
}
"""Colour of each role on a light ground. accent: the subject of a figure; the others stand beside it."""

_OTHERS = ("ink", "warm", "cool", "ochre", "plum", "muted", "rose", "leaf", "sky", "clay")
_LONG = 60

Kind = Literal["lines", "bars"]


@dataclass(frozen=True)
class Panel:
    """A figure of metrics over the steps. lines: (metric name or pattern, label, role); a pattern has no label.

    unit: of the upright axis, where it is not that of the first metric in the catalogue.
    """

    key: str
    title: str
    lines: Sequence[tuple[str, str, str]]
    kind: Kind = "lines"
    note: str = ""
    unit: str = ""


PANELS: tuple[Panel, ...] = (
    Panel(
        "entropy",
        "Entropy by source",
        (
            ("rollout/entropy", "regular", "accent"),
            ("explore/entropy", "extra, kept", "warm"),
            ("replay/entropy", "replay", "cool"),
            ("eval/sampled_entropy", "held-out problems", "plum"),
            ("control/target*", "", "muted"),
        ),
        note="Exact, over the whole vocabulary, at the sampling temperature; held-out: from the sampled tokens.",
    ),
    Panel(
        "hard",
        "Hard prompts",
        (
            ("explore/hard_prompts", "failed by every rollout", "ink"),
            ("explore/explored_prompts", "given extra rollouts", "muted"),
            ("explore/solved", "solved by them", "accent"),
        ),
        note="Prompts of a step that all regular rollouts failed.",
    ),
    Panel(
        "cost",
        "What exploration buys",
        (("explore/solved_per_1k_tokens", "hard prompts solved per 1 000 extra tokens", "accent"),),
    ),
    Panel(
        "trained",
        "Trained on, by source",
        (
            ("update/trajectories_regular", "regular", "accent"),
            ("update/trajectories_extra", "extra", "warm"),
            ("update/trajectories_replay", "replay", "cool"),
        ),
        kind="bars",
    ),
    Panel("clip", "Clipped tokens", (("objective/clip_*", "", ""), ("objective/dual_clip*", "", "")), unit="share"),
    Panel(
        "kl",
        "KL",
        (("objective/*kl", "", ""),),
        note="approx: from the sampling policy; reference: from the reference.",
        unit="nats/token",
    ),
    Panel(
        "dh",
        "Predicted change of entropy",
        (
            ("update/predicted_dh_regular", "regular", "accent"),
            ("update/predicted_dh_extra", "extra", "warm"),
            ("update/predicted_dh_replay", "replay", "cool"),
        ),
        note="Per unit of step size.",
    ),
    Panel("realised", "Realised change of entropy", (("update/realised_dh", "over a step's updates", "accent"),)),
    Panel(
        "lengths",
        "Completion length",
        (("rollout/completion_length", "training", "accent"), ("eval/completion_length", "evaluation", "ink")),
    ),
    Panel(
        "format",
        "Format and truncation",
        (
            ("rollout/format", "well-formed", "accent"),
            ("eval/format", "well-formed, evaluation", "ink"),
            ("rollout/truncated", "truncated", "warm"),
        ),
    ),
    Panel("reward", "Reward", (("rollout/reward", "mean reward", "accent"),)),
    Panel("gradient", "Gradient norm", (("update/grad_norm", "before clipping", "accent"),)),
    Panel(
        "mismatch",
        "Sampler against trainer",
        (("rollout/policy_gap_nats", "difference of log-probabilities", "accent"),),
    ),
    Panel(
        "staleness",
        "Age of what is trained on",
        (("update/staleness", "new", "accent"), ("replay/age", "replay", "cool")),
    ),
    Panel("controller", "Entropy controller", (("control/*", "", ""),), unit="value"),
)


def figures(run: Run) -> dict[str, go.Figure]:
    """All figures that the run has numbers for, by key, in the order of the page."""
    made: dict[str, Callable[[], go.Figure]] = {
        "accuracy": lambda: accuracy(run),
        "passk": lambda: pass_curve(run),
        "controls": lambda: controls(run),
        **{panel.key: partial(panel_figure, run, panel) for panel in PANELS},
        "time": lambda: time_by_phase(run),
    }
    drawn = {key: make() for key, make in made.items()}
    return {key: figure for key, figure in drawn.items() if figure.data}


def accuracy(run: Run) -> go.Figure:
    """Accuracy of the training rollouts, and of every evaluation with its 95 % interval."""
    figure = blank_figure("Accuracy", "share", note="Evaluations with 95 % intervals over problems.")
    _add_line(figure, run.series("rollout/accuracy"), "training rollouts", "muted")
    for split, role in (("validation", "accent"), ("test", "warm")):
        rows = run.of_split(split)
        if not rows:
            continue
        estimates = [estimate(tables.accuracies(row)) for row in rows]
        figure.add_scatter(
            x=[row["step"] for row in rows],
            y=[one.mean for one in estimates],
            error_y={
                "array": [one.high - one.mean for one in estimates],
                "arrayminus": [one.mean - one.low for one in estimates],
                "thickness": 1,
                "width": 3,
                "color": ROLES[role],
            },
            mode="lines+markers",
            name=split,
            line={"color": ROLES[role], "width": 2},
            marker={"size": 6, "color": ROLES[role]},
            meta={"role": role},
        )
    figure.update_yaxes(rangemode="tozero")
    return figure


def pass_curve(run: Run) -> go.Figure:
    """pass@k over k of the first and the last evaluation of a split: test, or validation where there is no test."""
    figure = blank_figure("pass@k", "share", x="samples k")
    split = "test" if run.of_split("test") else "validation"
    rows = run.of_split(split)
    for row, role in zip([rows[-1], rows[0]] if len(rows) > 1 else rows, ("accent", "muted"), strict=False):
        points = tables.pass_at(row)
        figure.add_scatter(
            x=list(points),
            y=list(points.values()),
            mode="lines+markers",
            name=f"{split}, step {row['step']}",
            line={"color": ROLES[role], "width": 2},
            meta={"role": role},
        )
    figure.update_xaxes(type="log", tickvals=[1 << bit for bit in range(11)])
    figure.update_yaxes(rangemode="tozero")
    return figure


def controls(run: Run) -> go.Figure:
    """Accuracy with the true picture and with wrong ones at the steps that measured it."""
    figure = blank_figure("Does it look at the picture?", "accuracy", note="The same problems with wrong pictures.")
    table = tables.controls(run)
    if table.empty:
        return figure
    split = "validation" if (table["split"] == "validation").sum() >= (table["split"] == "test").sum() else "test"
    table = table[table["split"] == split]
    true = table.drop_duplicates("step").set_index("step")["true"]
    _add_line(figure, true, f"true picture ({split})", "accent", markers=True)
    for name, role in (("shuffled", "warm"), ("blank", "ink"), ("none", "cool")):
        own = table[table["control"] == name]
        if len(own):
            label = {"shuffled": "another's picture", "blank": "blank picture", "none": "no picture"}[name]
            _add_line(figure, own.set_index("step")["accuracy"], label, role, markers=True)
    figure.update_yaxes(rangemode="tozero")
    return figure


def difficulty_map(run: Run, split: str = "validation") -> go.Figure:
    """Pass rate of every problem (a row, the hardest at the bottom) at every evaluated step."""
    table = tables.difficulty(run, split)
    figure = blank_figure(f"Problems of {split}", "problem", x="step")
    if table.empty:
        return figure
    figure.add_heatmap(
        z=[[None if pd.isna(value) else round(float(value), 3) for value in row] for row in table.to_numpy()],
        x=[str(step) for step in table.columns],
        y=[_harmless(str(name)) for name in table.index],
        zmin=0.0,
        zmax=1.0,
        colorscale=[[0.0, "#f1efe9"], [1.0, ROLES["accent"]]],
        colorbar={"title": {"text": "pass rate"}, "thickness": 10, "outlinewidth": 0, "len": 0.9},
        hovertemplate="%{y}<br>step %{x}: %{z:.0%}<extra></extra>",
        hoverongaps=False,
        xgap=1,
        ygap=1 if len(table) < 100 else 0,
        meta={"role": "heat"},
    )
    figure.update_yaxes(showticklabels=False, title=f"{len(table)} problems, hardest below", showgrid=False)
    figure.update_xaxes(type="category", showgrid=False)
    return figure


def time_by_phase(run: Run) -> go.Figure:
    """Seconds of every step by what they were spent on."""
    figure = blank_figure("Time by phase", "seconds")
    phases = {
        step: phase_seconds([row]) for step, row in zip(run.metrics.index, run.metrics.to_dict("records"), strict=True)
    }
    timed = {step: own for step, own in phases.items() if own}
    names = dict.fromkeys(name for own in timed.values() for name in own)
    for name, role in zip(names, cycle(("accent", *_OTHERS)), strict=False):
        seconds = [round(own.get(name, 0.0), 3) for own in timed.values()]
        figure.add_bar(x=list(timed), y=seconds, name=name, marker={"color": ROLES[role]}, meta={"role": role})
    figure.update_layout(barmode="stack", bargap=0.15)
    return figure


def panel_figure(run: Run, panel: Panel) -> go.Figure:
    """The figure of a panel; without traces where the run measured none of it."""
    names = _names(run, panel)
    unit = panel.unit or (find(names[0][0]).unit if names else "")
    figure = blank_figure(panel.title, unit, note=panel.note)
    for name, label, role in names:
        series = run.series(name)
        if panel.kind == "bars":
            figure.add_bar(
                x=list(series.index), y=_plain(series), name=label, marker={"color": ROLES[role]}, meta={"role": role}
            )
        else:
            _add_line(figure, series, label, role, markers=name.startswith("eval/") or len(series) < 12)
    if panel.kind == "bars":
        figure.update_layout(barmode="stack", bargap=0.15)
    return figure


def _names(run: Run, panel: Panel) -> list[tuple[str, str, str]]:
    """The metrics of a panel that the run has, patterns spelled out: (name, label, role)."""
    found: list[tuple[str, str, str]] = []
    spare = iter(("accent", *_OTHERS) * 5)
    for pattern, label, role in panel.lines:
        for name in (n for n in run.metrics.columns if fnmatchcase(n, pattern)):
            if not run.series(name).empty and name not in [known for known, _, _ in found]:
                found.append((name, label or name.partition("/")[2].replace("_", " "), role or next(spare)))
    return found


def _add_line(figure: go.Figure, series: pd.Series, label: str, role: str, *, markers: bool = False) -> None:
    """A line; a long one is drawn faint with its running mean over it."""
    if series.empty:
        return
    style = {"color": ROLES[role], "width": 2}
    long = len(series) > _LONG
    if long:
        figure.add_scatter(
            x=list(series.index), y=_plain(series), mode="lines", line={**style, "width": 1}, opacity=0.28,
            showlegend=False, hoverinfo="skip", name=label, meta={"role": role},
        )  # fmt: skip
        series = series.rolling(max(3, len(series) // 25), center=True, min_periods=1).mean()
    figure.add_scatter(
        x=list(series.index),
        y=_plain(series),
        mode="lines+markers" if markers and not long else "lines",
        name=label,
        line=style,
        marker={"size": 5, "color": ROLES[role]},
        meta={"role": role},
    )


def _harmless(text: str) -> str:
    """An id without signs that the charts' library reads as markup."""
    return text.replace("&", "＆").replace("<", "‹").replace(">", "›")


def _plain(series: pd.Series) -> list[float]:
    return [float(f"{value:.6g}") for value in series]


def blank_figure(title: str, unit: str, *, x: str = "step", note: str = "") -> go.Figure:
    """A figure in the style of the reports, without traces. unit: of the upright axis; note: below the title."""
    figure = go.Figure()
    figure.update_layout(
        title={"text": title, "x": 0, "xref": "paper", "font": {"size": 15}},
        template="none",
        font={"family": "system-ui, sans-serif", "size": 12, "color": ROLES["ink"]},
        margin={"l": 52, "r": 12, "t": 44, "b": 40},
        height=300,
        hovermode="x unified",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 1, "xanchor": "right"},
        meta={"note": note},
    )
    figure.update_xaxes(title=x, showgrid=False, zeroline=False, ticks="outside", ticklen=3, automargin=True)
    figure.update_yaxes(title=unit, gridcolor="#e7e5df", zeroline=False, automargin=True)
    return figure
