"""The end of a run in numbers and pictures: before and after on the test split, curves, sample rollouts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from uec_vlm.reports.curves import draw_curves
from uec_vlm.reports.phases import print_phases
from uec_vlm.reports.samples import draw_samples
from uec_vlm.reports.statistics import Estimate, estimate, paired_difference, pass_at_k
from uec_vlm.runlog import RunFolder


def write_report(run: RunFolder) -> list[str]:
    """Draws `report/curves.png` and `report/samples.png`; returns the paths that were written."""
    drawn = [draw_curves(run, run.report / "curves.png"), draw_samples(run, run.report / "samples.png")]
    return [str(path) for path in drawn if path is not None]


def print_summary(run: RunFolder, console: Console) -> None:
    """Prints accuracy before and after for each split, the paired gain, and where the pictures are."""
    for split in ("validation", "test"):
        rows = [row for row in run.evaluations() if row["split"] == split]
        if not rows:
            continue
        first, last = rows[0], rows[-1]
        console.print(f"{split}: {len(first['ids'])} problems x {first['samples']} samples, 95 % intervals")
        for row in [first, last] if len(rows) > 1 else [first]:
            console.print(f"  {_line(row)}", highlight=False)
        if len(rows) > 1:
            console.print(f"  paired gain {gain(first, last)}", highlight=False)
    print_phases(run, console)
    for name in ("curves.png", "samples.png"):
        if (run.report / name).is_file():
            console.print(f"{run.report / name}", highlight=False, soft_wrap=True)


def gain(before: Mapping[str, Any], after: Mapping[str, Any]) -> Estimate:
    """Paired difference of the accuracies of two evaluations over the same problems."""
    return paired_difference(_accuracies(before), _accuracies(after))


def _line(row: Mapping[str, Any]) -> str:
    samples, problems = row["samples"], len(row["ids"])
    reached = sum(pass_at_k(row["correct"], samples, samples)) / problems
    well_formed = sum(row["formatted"]) / (samples * problems)
    return (
        f"step {row['step']:<5} pass@1 {estimate(_accuracies(row))}  pass@{samples} {reached:.3f}  "
        f"format {well_formed:.3f}"
    )


def _accuracies(row: Mapping[str, Any]) -> list[float]:
    return [count / row["samples"] for count in row["correct"]]
