"""The results of a study as a page: tables and plots between two markers, around them what people wrote."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from uec_vlm.errors import RunError
from uec_vlm.study.course import against_table, course_table, named_groups
from uec_vlm.study.entropy import change_table, entropy_table, measured_entropy
from uec_vlm.study.plan import Study
from uec_vlm.study.summary import read_summaries
from uec_vlm.study.tables import (
    AXES,
    Axis,
    Summary,
    accuracies,
    arms_table,
    by_arm,
    differences_table,
    difficulty_table,
    end_split,
    evaluation_at,
    groups_table,
    pass_at_k_table,
    spent,
    tuning_table,
)
from uec_vlm.study.verdict import criteria_table

BEGIN, END = "<!-- study {name}: begin -->", "<!-- study {name}: end -->"


def renew_page(study: Study, page: Path) -> None:
    """Puts the tables and plots of now between the study's markers in `page`, beside which the plots are drawn."""
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    begin, end = BEGIN.format(name=study.name), END.format(name=study.name)
    if begin not in text or end not in text:
        raise RunError(f"{page} has no place for the study: put the lines '{begin}' and '{end}' where it should go.")
    body = study_text(study, images=page.parent / "img", link="img")
    head, _, rest = text.partition(begin)
    page.write_text(f"{head}{begin}\n\n{body}\n\n{end}{rest.partition(end)[2]}", encoding="utf-8")


def study_text(study: Study, *, images: Path, link: str) -> str:
    """The tables as Markdown with links to plots that are drawn into `images`. RunError if no cell is finished."""
    results = Path(study.results)
    summaries = read_summaries(results)
    if not any(one["kind"] == "main" for one in summaries):
        raise RunError(f"{results} holds no finished cell of the comparison; run `uec-vlm study` first.")
    order = list(study.arms)
    ids = json.loads((results / "problems-main.json").read_text(encoding="utf-8"))["validation"]
    groups = named_groups(study.groups, ids)
    picture = draw(summaries, study.main, images / f"study_{study.name}.png")
    devices = Counter(one.get("device", "CPU") for one in summaries)
    where = ", ".join(f"{count} on {device}" for device, count in devices.most_common())
    parts = [
        f"{len(summaries)} cells are finished, {where} ({len(ids)} held-out problems; n samples each at T = 1).",
        f"### Arms at the end ({end_split(summaries)} split)", arms_table(summaries, order),
        "### What was expected", criteria_table(summaries, study.main, study.reference),
        "95 % intervals by a bootstrap over seeds and problems. The ratio and the entropy are judged by their values, "
        "the others by their intervals.",
        "### Differences", *_differences(study, summaries),
        "95 % intervals by a bootstrap over seeds and problems; \\* p < 0.05 after Benjamini and Yekutieli's "
        "correction in each table.",
        f"![Accuracy against steps, tokens and optimizer steps; entropy]({link}/{picture.name})",
        "### On the way", course_table([one for one in summaries if one["kind"] == "main"], order, groups),
        "mean@n on validation. Hard: the untouched policy solves it in under 1 % of its samples.",
        f"### Against `{study.reference}` on the way", against_table(summaries, order, study.reference),
        "mean@n on validation at equal steps, 95 % intervals, runs of equal seed paired; behind them the ratio of the "
        "gains over the start.",
        "### pass@k on the test split", pass_at_k_table(summaries, order),
        "### By difficulty", difficulty_table(summaries, study.main),
        "### By family and level", groups_table(summaries, study.main, ids),
    ]  # fmt: skip
    entropies, changes = entropy_table(summaries, order), change_table(summaries, order)
    if entropies:
        parts += [
            "### Entropy over that of the start", entropies,
            "On the validation problems at T = 1, mean over the runs that have measured it.",
        ]  # fmt: skip
    if changes:
        parts += [
            "### What moves entropy", changes,
            "1/1000 nats per token, mean over steps. Predicted: per unit step on the logits, by source of a row. "
            "Realised: over all updates of a step, on its regular rollouts, at the steps that are measured "
            "(`log.realised_dh_every`); where each of these replays as well, more optimizer steps stand behind it than "
            "behind that of other arms.",
        ]  # fmt: skip
    finished = {one["name"] for one in summaries}
    cut_short = [one for one in read_summaries(results, folder="interrupted") if one["name"] not in finished]
    if cut_short:
        parts += ["### Runs that were cut short", course_table(cut_short, order, groups)]
    tuning = results / "tuning.json"
    if tuning.is_file():
        parts += ["### Learning rates", tuning_table(json.loads(tuning.read_text(encoding="utf-8")))]
    return "\n\n".join(parts)


def _differences(study: Study, summaries: Sequence[Summary]) -> list[str]:
    """The table against the reference, and those against further arms that have finished cells."""
    arms = by_arm(summaries)
    further = [name for name in study.also_against if name in arms]
    return [differences_table(summaries, list(study.arms), name) for name in (study.reference, *further)]


def draw(summaries: Sequence[Summary], arms: Sequence[str], out: Path) -> Path:
    """Accuracy of the main arms against each budget, entropy of the validation problems against steps.

    Mean and range over seeds.
    """
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    panels = figure.subplots(2, 2)
    cells = by_arm(summaries)
    shown = [name for name in arms if name in cells]
    for axes, (axis, title) in zip(panels.flat, AXES.items(), strict=False):
        _accuracy_panel(axes, {name: cells[name] for name in shown}, axis)
        axes.set_title(f"mean@n at {title}")
    _entropy_panel(panels[1, 1], {name: cells[name] for name in shown})
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=6, frameon=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(str(out))
    return out


def _accuracy_panel(axes: Axes, arms: dict[str, list[Summary]], axis: Axis) -> None:
    for name, cells in arms.items():
        steps = sorted({row["step"] for row in cells[0]["evaluations"] if row["split"] == "validation"})
        costs = [spent(one, axis) for one in cells]
        runs = [[float(accuracies(evaluation_at(one, step)).mean()) for one in cells] for step in steps]
        _band(axes, [float(np.mean([cost[step] for cost in costs])) for step in steps], runs, name)
    axes.set(xlabel=axis.split("/")[-1].replace("_", " "), ylabel="mean@n")


def _entropy_panel(axes: Axes, arms: dict[str, list[Summary]]) -> None:
    """At each evaluation of the runs that have measured it; an arm without any keeps its colour by an empty line."""
    measured = False
    for name, cells in arms.items():
        courses = [measured_entropy(one) for one in cells]
        steps = sorted(set().union(*courses))
        _band(axes, steps, [[found[step] for found in courses if step in found] for step in steps], name)
        measured = measured or bool(steps)
    title = "entropy on the validation problems" if measured else "entropy: not measured"
    axes.set(title=title, xlabel="step", ylabel="nats/token")


def _band(axes: Axes, places: Sequence[float], runs: Sequence[Sequence[float]], label: str) -> None:
    """A line of means over a band from least to greatest. runs: the values of the runs at each place."""
    (line,) = axes.plot(places, [np.mean(values) for values in runs], label=label, linewidth=1.6, marker=".")
    low, high = ([extreme(values) for values in runs] for extreme in (min, max))
    axes.fill_between(places, low, high, alpha=0.15, color=line.get_color(), linewidth=0)
    axes.grid(alpha=0.3)
