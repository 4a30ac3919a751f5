"""The end of a run in numbers and pictures: before and after on the test split, curves, sample rollouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from uec_vlm.reports.compare import Group, paired, run_table
from uec_vlm.reports.curves import draw_curves
from uec_vlm.reports.page import write_page
from uec_vlm.reports.phases import print_phases
from uec_vlm.reports.run import load_measured
from uec_vlm.reports.samples import draw_samples
from uec_vlm.reports.statistics import estimate, pass_at_k
from uec_vlm.reports.tables import accuracies, gain
from uec_vlm.runlog import RunFolder


def write_report(run: RunFolder) -> list[str]:
    """Writes `report/page.html`, `curves.png` and `samples.png`; returns the paths that were written."""
    drawn = [
        write_page(load_measured(run.path), run.report / "page.html"),
        draw_curves(run, run.report / "curves.png"),
        draw_samples(run, run.report / "samples.png"),
    ]
    return [str(path) for path in drawn if path is not None]


def print_summary(run: RunFolder, console: Console) -> None:
    """Prints accuracy before and after for each split, the paired gain, and where the pictures are."""
    evaluations = run.evaluations()
    if not evaluations:
        console.print(
            f"{run.evaluations_file} has no evaluation: there is no accuracy to tell",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    for split in ("validation", "test"):
        rows = [row for row in evaluations if row["split"] == split]
        if not rows:
            continue
        first, last = rows[0], rows[-1]
        console.print(f"{split}: {len(first['ids'])} problems x {first['samples']} samples, 95 % intervals")
        for row in [first, last] if len(rows) > 1 else [first]:
            console.print(f"  {_line(row)}", highlight=False)
        if len(rows) > 1:
            console.print(f"  paired gain {gain(first, last)}", highlight=False)
    print_phases(run, console)
    for name in ("page.html", "curves.png", "samples.png"):
        if (run.report / name).is_file():
            console.print(f"{run.report / name}", highlight=False, soft_wrap=True)


def _line(row: Mapping[str, Any]) -> str:
    samples, problems = row["samples"], len(row["ids"])
    reached = sum(pass_at_k(row["correct"], samples, samples)) / problems
    well_formed = sum(row["formatted"]) / (samples * problems)
    of_several = f"  pass@{samples} {reached:.3f}" if samples > 1 else ""
    return f"step {row['step']:<5} pass@1 {estimate(accuracies(row))}{of_several}  format {well_formed:.3f}"


def print_comparison(groups: Sequence[Group], console: Console) -> None:
    """Prints a line per configuration, and one per paired difference."""
    for row in run_table(groups).to_dict("records"):
        console.print(
            f"{row['group']} (seeds {row['seeds']}): {row['split']} {row['before']} before, {row['after']} after; "
            f"{row['tokens']:,.0f} tokens, {row['updates']:,.0f} optimizer steps",
            highlight=False,
            soft_wrap=True,
        )
    for row in paired(groups).to_dict("records"):
        where = "at the end" if row["at equal"] == "end" else f"at equal {row['at equal']}"
        console.print(
            f"{row['other']} minus {row['first']}, {row['split']} {where}: {row['difference']:+.3f} "
            f"[{row['low']:+.3f}, {row['high']:+.3f}]",
            highlight=False,
            soft_wrap=True,
        )
