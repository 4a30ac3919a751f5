"""The curves of a run as a picture: accuracy, entropy, exploration, and what was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from uec_vlm.metrics import find
from uec_vlm.runlog import RunFolder

Rows = Sequence[dict[str, float]]


def draw_curves(run: RunFolder, out: Path) -> Path:
    """Writes a PNG with four panels from `metrics.jsonl`; returns its path."""
    rows = run.metrics()
    figure = Figure(figsize=(11, 7), layout="constrained")
    panels = figure.subplots(2, 2)
    _accuracy(panels[0, 0], rows)
    _lines(panels[0, 1], rows, {"rollout/entropy": "exact", "rollout/sampled_entropy": "sampled"}, "entropy")
    _lines(
        panels[1, 0],
        rows,
        {"explore/hard_prompts": "every rollout failed", "explore/solved": "solved by extra rollouts"},
        "hard prompts",
    )
    _lines(
        panels[1, 1],
        rows,
        {f"update/trajectories_{source}": source for source in ("regular", "extra", "replay")},
        "trajectories trained on",
    )
    figure.suptitle(run.path.name)
    out.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(str(out))
    return out


def _accuracy(axes: Axes, rows: Rows) -> None:
    _lines(axes, rows, {"rollout/accuracy": "training rollouts", "eval/pass@1": "validation pass@1"}, "accuracy")
    axes.set_ylim(0, 1)


def _lines(axes: Axes, rows: Rows, names: dict[str, str], title: str) -> None:
    for name, label in names.items():
        points = [(row["step"], row[name]) for row in rows if name in row]
        if not points:
            continue
        steps, values = zip(*points, strict=True)
        # Updates and evaluations happen at some steps only: points say so, a line between them would not.
        marker = "o" if name.startswith(("eval/", "update/")) else None
        style = "none" if name.startswith("update/") else "-"
        axes.plot(steps, values, label=label, marker=marker, markersize=4, linestyle=style, linewidth=1.6)
        axes.set_ylabel(find(name).unit)
    axes.set_title(title)
    axes.set_xlabel("step")
    axes.grid(alpha=0.3)
    if axes.has_data():
        axes.legend(frameon=False)
