"""Accuracy on the way: of all problems, of those that the untouched policy nearly never solves, of named ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from uec_vlm.study.markdown import table
from uec_vlm.study.tables import Floats, Summary, accuracies, bootstrap, by_arm, evaluation_at, paired, start

_HARD = 0.01
_LITTLE = 0.01  # A gain below it is no measure for another.
Chosen = NDArray[np.bool_]


def named_groups(groups: Mapping[str, Sequence[str]], ids: Sequence[str]) -> dict[str, Chosen]:
    """The problems of each group: those whose id holds one of its words."""
    masks = {name: np.array([any(word in one for word in words) for one in ids]) for name, words in groups.items()}
    return {f"{name} ({int(mask.sum())})": mask for name, mask in masks.items() if mask.any()}


def course_table(summaries: Sequence[Summary], order: Sequence[str], groups: Mapping[str, Chosen] | None = None) -> str:
    """mean@n on validation at every evaluated step that all runs of an arm have reached.

    Rows of an arm: all problems; those that the untouched policies of all runs solve in under 1 % of samples; and each
    of `groups`, a mask over the problems.
    """
    hard = start(summaries) < _HARD
    rows = {"all": np.ones_like(hard), f"the {int(hard.sum())} hard": hard, **(groups or {})}
    arms = {name: [one for one in summaries if one["arm"] == name] for name in order}
    steps = sorted({step for cells in arms.values() for step in _common_steps(cells)})
    lines = []
    for name, cells in arms.items():
        reached = _common_steps(cells)
        means = {step: _mean(cells, step) for step in reached}
        for title, chosen in rows.items():
            if reached and chosen.any():
                shown = [f"{means[step][chosen].mean():.3f}" if step in means else "" for step in steps]
                lines.append((f"`{name}`", str(len(cells)), title, *shown))
    return table(["arm", "seeds", "problems", *(f"step {step}" for step in steps)], lines)


def against_table(summaries: Sequence[Summary], order: Sequence[str], reference: str) -> str:
    """Each arm less the reference at every evaluated step, seeds paired: mean@n with its 95 % interval.

    Behind it the arm's gain over the untouched policy divided by that of the reference, where that has one.
    """
    arms = by_arm(summaries)
    others = [name for name in order if name in arms and name != reference]
    if reference not in arms or not others:
        return f"No run of `{reference}` and another arm is finished yet."
    pairs = {name: paired(arms[name], arms[reference]) for name in others}
    everyone = [one for found in pairs.values() for pair in found for one in pair]
    steps = sorted(_common_steps(everyone) - {0})
    rows = [(f"`{name}`", str(len(found)), *(_gap(found, step) for step in steps)) for name, found in pairs.items()]
    return table([f"arm less `{reference}`", "seeds", *(f"step {step}" for step in steps)], rows)


def _gap(pairs: Sequence[tuple[Summary, Summary]], step: int) -> str:
    """The difference at a step, and the ratio of the gains."""
    mine, others = (np.stack([accuracies(evaluation_at(pair[side], step)) for pair in pairs]) for side in (0, 1))
    estimate, _ = bootstrap(mine - others)
    base = start([one for pair in pairs for one in pair]).mean()
    gain = others.mean() - base
    return f"{estimate}, {(mine.mean() - base) / gain:.2f} x" if gain > _LITTLE else str(estimate)


def _common_steps(cells: Sequence[Summary]) -> set[int]:
    """The validation steps that all of these runs have."""
    found = [{int(row["step"]) for row in one["evaluations"] if row["split"] == "validation"} for one in cells]
    return set.intersection(*found) if found else set()


def _mean(cells: Sequence[Summary], step: int) -> Floats:
    rows = np.stack([accuracies(evaluation_at(one, step)) for one in cells])
    return np.asarray(rows.mean(axis=0))
