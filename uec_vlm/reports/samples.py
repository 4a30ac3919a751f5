"""Sample rollouts beside their pictures, as one PNG."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from PIL import Image

from uec_vlm.errors import LeftOut
from uec_vlm.pictures import as_shown
from uec_vlm.runlog import RunFolder

_WIDTH = 78
_LINES = 14


def draw_samples(run: RunFolder, out: Path, *, count: int = 3) -> Path | None:
    """Draws `count` rollouts of the newest dump, right and wrong ones; None if the run dumped none."""
    rows = _choose(run.rollouts(), count)
    if not rows:
        return None
    figure = Figure(figsize=(11, 2.9 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), 2, squeeze=False, width_ratios=[1, 2.4])
    for (picture, text), row in zip(grid, rows, strict=True):
        for axes in (picture, text):
            axes.set_axis_off()
        shown = _open(run.path / "rollouts" / row["images"][0]) if row["images"] else None
        if shown is not None:
            picture.imshow(shown)
        text.text(0, 1, _describe(row), va="top", family="monospace", fontsize=8.5, parse_math=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(str(out))
    return out


def _choose(rows: Sequence[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """Different problems, right and wrong answers in turn, so that both can be looked at."""
    right = [row for row in rows if row["correct"]]
    wrong = [row for row in rows if not row["correct"]]
    chosen: list[dict[str, Any]] = []
    for pool in [right, wrong] * count:
        seen = {row["id"] for row in chosen}
        fresh = next((row for row in pool if row["id"] not in seen), None)
        if fresh is not None and len(chosen) < count:
            chosen.append(fresh)
    return chosen


def _open(file: Path) -> Image.Image | None:
    """A picture; None, with a warning that names it, if it is missing or broken."""
    try:
        with Image.open(file) as picture:
            return as_shown(picture).convert("RGBA")
    except (OSError, SyntaxError, ValueError) as error:  # what decoders raise on broken bytes
        warnings.warn(f"{file} is not shown: {error}. Copy it again.", LeftOut, stacklevel=1)
        return None


def _describe(row: Mapping[str, Any]) -> str:
    lines = [
        f"step {row['step']}  {row['id']}  {row['source']} rollout at T = {row['temperature']:g}",
        *textwrap.wrap("question: " + row["problem"], _WIDTH)[:3],
        f"gold: {row['gold']}",
        "",
        *textwrap.wrap(row["text"], _WIDTH)[:_LINES],
        "",
        f"{'right' if row['correct'] else 'wrong'} ({row['reason']}, read: {row['extracted']}), "
        f"advantage {row['advantage']:+.2f}, mean entropy {row['mean_entropy']:.3f} nats",
    ]
    return "\n".join(_printable(line) for line in lines)


def _printable(text: str) -> str:
    """The text with a dot for every character that the font cannot draw."""
    known = get_font(findfont("monospace")).get_charmap()
    return "".join(c if ord(c) in known else "·" for c in text)
