"""Accuracy on the way: of all problems, and of those that the untouched policy nearly never solves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uec_vlm.study.tables import Floats, Summary, accuracies, evaluation_at, start

_HARD = 0.01


def course_table(summaries: Sequence[Summary], order: Sequence[str]) -> str:
    """mean@n on validation at every evaluated step that all runs of an arm have reached.

    Two rows per arm: all problems, and those that the untouched policies of all runs solve in under 1 % of samples.
    """
    hard = start(summaries) < _HARD
    arms = {name: [one for one in summaries if one["arm"] == name] for name in order}
    steps = sorted({step for cells in arms.values() for step in _common_steps(cells)})
    lines = [
        f"| arm | seeds | problems | {' | '.join(f'step {step}' for step in steps)} |",
        "|---|---|---|" + "---|" * len(steps),
    ]
    for name, cells in arms.items():
        reached = _common_steps(cells)
        means = {step: _mean(cells, step) for step in reached}
        for title, chosen in (("all", np.ones_like(hard)), (f"the {int(hard.sum())} hard", hard)):
            if reached and chosen.any():
                shown = [f"{means[step][chosen].mean():.3f}" if step in means else "" for step in steps]
                lines.append(f"| `{name}` | {len(cells)} | {title} | {' | '.join(shown)} |")
    return "\n".join(lines)


def _common_steps(cells: Sequence[Summary]) -> set[int]:
    """The validation steps that all of these runs have."""
    found = [{int(row["step"]) for row in one["evaluations"] if row["split"] == "validation"} for one in cells]
    return set.intersection(*found) if found else set()


def _mean(cells: Sequence[Summary], step: int) -> Floats:
    rows = np.stack([accuracies(evaluation_at(one, "step", step)) for one in cells])
    return np.asarray(rows.mean(axis=0))
