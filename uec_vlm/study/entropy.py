"""Entropy under the arms of a study: on problems that are the same at every evaluation, and what moves it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uec_vlm.study.markdown import table
from uec_vlm.study.summary import ENTROPY_CHANGE
from uec_vlm.study.tables import Summary, by_arm


def entropy_course(cells: Sequence[Summary]) -> dict[int, float]:
    """Entropy over that of the untouched policy, by step: the mean over the runs that have measured it there.

    On the validation problems, in nats per token, from the sampled tokens. That of a training step would be the entropy
    of the few prompts that were drawn for it.
    """
    found: dict[int, list[float]] = {}
    for measured in map(measured_entropy, cells):
        for step, entropy in measured.items():
            if measured.get(0):
                found.setdefault(step, []).append(entropy / measured[0])
    return {step: float(np.mean(values)) for step, values in sorted(found.items())}


def measured_entropy(summary: Summary) -> dict[int, float]:
    """Nats per token on the validation problems, by step; without the steps where it was not measured."""
    rows = [row for row in summary["evaluations"] if row["split"] == "validation" and row.get("entropy") is not None]
    return {int(row["step"]): float(row["entropy"]) for row in rows}


def entropy_table(summaries: Sequence[Summary], order: Sequence[str]) -> str:
    """`entropy_course` of every arm; empty without a run that has measured it."""
    arms = by_arm(summaries)
    courses = {name: entropy_course(arms[name]) for name in order if name in arms}
    steps = sorted({step for course in courses.values() for step in course})
    if not steps:
        return ""
    rows = [
        (f"`{name}`", *(f"{course[step]:.2f}" if step in course else "" for step in steps))
        for name, course in courses.items()
    ]
    return table(["arm", *(f"step {step}" for step in steps)], rows)


def change_table(summaries: Sequence[Summary], order: Sequence[str]) -> str:
    """Change of entropy in 1/1000 nats/token, the mean over steps and runs; empty without a run that has measured it.

    Predicted: to first order, per token and unit step on the logits, of the trajectories of each source. Realised: over
    a step's whole update, on the regular rollouts.
    """
    arms = by_arm([one for one in summaries if "entropy_change" in one])
    names = [name for name in order if name in arms]
    if not names:
        return ""
    titles = [name.replace("_dh", "").replace("_", ", ") for name in ENTROPY_CHANGE]
    rows = []
    for name in names:
        found = [[one["entropy_change"][key] for one in arms[name]] for key in ENTROPY_CHANGE]
        cells = ["" if None in values else f"{1000 * np.mean(values):.2f}" for values in found]
        rows.append((f"`{name}`", str(len(arms[name])), *cells))
    return table(["arm", "seeds", *titles], rows)
