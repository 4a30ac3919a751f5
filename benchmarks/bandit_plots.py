"""The plots of `benchmarks.bandit`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from torch import Tensor

# One colour per method, kept across all plots; dark enough for a white page and told apart without red and green.
COLOURS = {
    "grpo": "#4d4d4d",
    "grpo, G = 15": "#969696",
    "grpo, rate x 3": "#17becf",
    "grpo at T = 1.2": "#8c6d31",
    "filter_only": "#9467bd",
    "uec": "#0b62a4",
    "uec without replay": "#56b4e9",
    "uec, replay by |A|": "#e69f00",
    "uec_reference": "#d55e00",
    "uec_band": "#0b62a4",
    "uec_band, truncated weights": "#e69f00",
}
SOURCES = {"regular": "#4d4d4d", "extra": "#0b62a4", "replay": "#e69f00"}


def draw_all(
    sgd: dict[str, list[Any]],
    adam: dict[str, list[Any]],
    updates: list[dict[str, Any]],
    bands: dict[str, list[Any]],
    *,
    band: tuple[float, float],
    folder: Path,
) -> None:
    """All plots as PNG into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    solved(sgd, folder / "bandit_solved.png")
    entropies({"plain SGD": sgd, "Adam": adam}, folder / "bandit_entropy.png")
    signs(updates, folder / "bandit_dh.png")
    held(bands, band, folder / "bandit_band.png")


def solved(results: dict[str, list[Any]], path: Path) -> None:
    """Hard prompts solved, one dot per seed, against the tokens that were sampled."""
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for name, rows in results.items():
        tokens = [row["sampled"] / 1000 for row in rows]
        axes.scatter(tokens, [row["hard_solved"] for row in rows], s=18, color=COLOURS[name], label=name, alpha=0.8)
    axes.set_xlabel("sampled tokens (thousands)")
    axes.set_ylabel(f"solved, of {next(iter(results.values()))[0]['hard']} prompts below 1 %")
    axes.set_title("Hard prompts solved at equal steps (20 seeds)")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    _finish(axes)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def entropies(results: dict[str, dict[str, list[Any]]], path: Path) -> None:
    """Entropy against step (above) and against accuracy (below), one column per optimizer: median and quartiles."""
    figure, grid = plt.subplots(2, len(results), figsize=(5.2 * len(results), 7.4), layout="constrained", squeeze=False)
    for column, (optimizer, arms) in enumerate(results.items()):
        above, below = grid[0][column], grid[1][column]
        for name, rows in arms.items():
            entropy, accuracy = (torch.tensor([row[key] for row in rows]) for key in ("entropy", "accuracy"))
            steps = range(entropy.shape[1])
            above.plot(steps, _quantile(entropy, 0.5), color=COLOURS[name], label=name, linewidth=1.6)
            above.fill_between(
                steps, _quantile(entropy, 0.25), _quantile(entropy, 0.75), color=COLOURS[name], alpha=0.2, linewidth=0
            )
            below.plot(
                _quantile(accuracy, 0.5), _quantile(entropy, 0.5), color=COLOURS[name], label=name, linewidth=1.6
            )
        above.set_title(optimizer)
        above.set_xlabel("step")
        below.set_xlabel("accuracy (exact, mean over prompts)")
        for axes in (above, below):
            axes.set_ylabel("entropy (nats)")
            _finish(axes)
    handles, names = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, names, fontsize=9, loc="outside lower center", ncols=5)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def signs(updates: list[dict[str, Any]], path: Path) -> None:
    """Realised against predicted change of entropy, one dot per update, one panel per source."""
    figure, panels = plt.subplots(1, len(SOURCES), figsize=(11, 3.8), layout="constrained")
    for axes, (source, colour) in zip(panels, SOURCES.items(), strict=True):
        own = [row for row in updates if row["source"] == source]
        predicted, realised = ([row[key] for row in own] for key in ("predicted", "realised"))
        bounds = [min(predicted + realised), max(predicted + realised)]
        axes.axhline(0.0, color="#bbbbbb", linewidth=0.8)
        axes.axvline(0.0, color="#bbbbbb", linewidth=0.8)
        axes.plot(bounds, bounds, color="#bbbbbb", linewidth=0.8)
        axes.scatter(predicted, realised, s=12, color=colour, alpha=0.7)
        axes.set_title(f"{source} ({len(own)} updates)")
        axes.set_xlabel("predicted dH (nats, summed over prompts)")
        _finish(axes)
    panels[0].set_ylabel("realised dH")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def held(bands: dict[str, list[Any]], band: tuple[float, float], path: Path) -> None:
    """Entropy over steps with the band, one line per seed."""
    figure, axes = plt.subplots(figsize=(7, 4.0), layout="constrained")
    axes.axhspan(*band, color="#cfe8cf", label=f"band [{band[0]}, {band[1]}] nats", linewidth=0)
    colours = {"uec": "#4d4d4d", "uec_band": COLOURS["uec_band"], "uec_band, truncated weights": "#e69f00"}
    for name, rows in bands.items():
        for number, row in enumerate(rows):
            axes.plot(row["entropy"], color=colours[name], linewidth=1.2, label=name if number == 0 else None)
    axes.set_xlabel("step")
    axes.set_ylabel("entropy (nats)")
    axes.set_title("Eight right answers per prompt (5 seeds)")
    axes.legend(fontsize=8)
    _finish(axes)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _quantile(values: Tensor, share: float) -> list[float]:
    return [float(value) for value in values.quantile(share, dim=0)]


def _finish(axes: Axes) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
