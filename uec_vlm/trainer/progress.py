"""What a person sees while a run goes: step, accuracy, entropy, hard prompts solved, tokens per second, time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Show = Callable[[int, Mapping[str, float]], None]
_SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def progress(console: Console, *, done: int, total: int) -> Iterator[Show]:
    """Yields a function that shows the row of a step: as a live bar on a terminal, else as a line every ten seconds."""
    if not console.is_terminal:
        yield _line_printer(console, done, total)
        return
    columns = (
        TextColumn("step"),
        MofNCompleteColumn(),
        BarColumn(bar_width=20),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("starting", total=total, completed=done)
        yield lambda step, row: bar.update(task, completed=step, description=summary(row))


def summary(row: Mapping[str, float]) -> str:
    """The row of a step in a few words."""
    seconds = row.get("time/step", 0.0) + row.get("time/evaluate", 0.0)
    parts = [
        f"accuracy {row.get('rollout/accuracy', float('nan')):.3f}",
        f"entropy {row.get('rollout/entropy', float('nan')):.3f}",
        _hard_prompts(row),
        f"{row.get('rollout/sampled_tokens', 0) / max(seconds, 1e-9):.0f} tok/s",
    ]
    if "eval/pass@1" in row:
        parts.append(f"validation {row['eval/pass@1']:.3f}")
    return "  ".join(parts)


def _hard_prompts(row: Mapping[str, float]) -> str:
    """`hard 3/4`: three of four hard prompts solved by extra rollouts; `hard 4` where none were sampled."""
    hard, solved = row.get("explore/hard_prompts", 0), row.get("explore/solved", 0)
    return f"hard {solved:.0f}/{hard:.0f}" if row.get("explore/explored_prompts", 0) else f"hard {hard:.0f}"


def _line_printer(console: Console, done: int, total: int) -> Show:
    started = time.monotonic()
    last = [started]

    def show(step: int, row: Mapping[str, float]) -> None:
        now = time.monotonic()
        if step == total or "eval/pass@1" in row or now - last[0] > _SECONDS_BETWEEN_LINES:
            last[0] = now
            left = (now - started) / (step - done) * (total - step)
            console.print(f"step {step}/{total}  {summary(row)}  {left:.0f} s left", highlight=False, soft_wrap=True)

    return show
