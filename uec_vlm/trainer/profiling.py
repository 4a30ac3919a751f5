"""A torch profiler trace of one step of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import torch
from torch.profiler import ProfilerActivity, profile

T = TypeVar("T")
_ROWS = 40


def profiled(
    steps: Iterator[T], *, first: int, step: int | None, folder: Path, tell: Callable[[str], None]
) -> Iterator[T]:
    """The same steps; the one numbered `step`, counted from `first`, leaves a trace and a table in the folder.

    `step_<n>.json.gz` opens in Perfetto and in Chrome's tracing page; `step_<n>.txt` lists the dearest operations.
    The profiled step is slower than the others.
    """
    number = first
    while True:
        try:
            yield _with_trace(steps, number, folder, tell) if number == step else next(steps)
        except StopIteration:
            return
        number += 1


def _with_trace(steps: Iterator[T], number: int, folder: Path, tell: Callable[[str], None]) -> T:
    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as trace:
        turn = next(steps)
    folder.mkdir(parents=True, exist_ok=True)
    trace.export_chrome_trace(str(folder / f"step_{number}.json.gz"))
    table = trace.key_averages().table(sort_by="self_cpu_time_total", row_limit=_ROWS, max_name_column_width=70)
    (folder / f"step_{number}.txt").write_text(table, encoding="utf-8")
    tell(f"profile of step {number}: {folder / f'step_{number}.json.gz'}")
    return turn
