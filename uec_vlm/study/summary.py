"""A finished run as a few kilobytes: what the tables of a study are made of."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from uec_vlm.runlog import RunFolder

# Metrics kept along the way: the newest value, or the sum since the start.
_VALUES = ("rollout/entropy", "rollout/accuracy", "rollout/format", "rollout/completion_length")
_SUMS = (
    "rollout/sampled_tokens", "update/optimizer_steps", "update/trajectories", "explore/tokens", "explore/hard_prompts",
    "explore/solved",
)  # fmt: skip
_POINTS = 60
# Of these the mean over the steps that have them.
ENTROPY_CHANGE = ("predicted_dh_regular", "predicted_dh_extra", "predicted_dh_replay", "realised_dh")


def summarise(run: RunFolder, *, cell: Mapping[str, Any]) -> dict[str, Any]:
    """The summary of a finished run: what it is, its curves thinned to about 60 points, its evaluations by problem.

    Sums (sampled tokens, optimizer steps, solved prompts ...) are from the start of the run, so comparisons at equal
    tokens or updates are read off them. Problems are named by their place in `problems.json`.
    """
    rows = [row for row in run.metrics() if row["step"] > 0]
    environment = json.loads((run.path / "environment.json").read_text(encoding="utf-8"))
    evaluations = run.evaluations()
    return {
        **cell,
        "device": ", ".join(environment.get("gpus", [])) or "CPU",
        "commit": environment.get("commit"),
        "packages": {name: environment["packages"].get(name) for name in ("torch", "transformers")},
        "cpu_seconds": round(sum(row.get("time/cpu", float("nan")) for row in rows), 1),
        "seconds": round(sum(row.get("time/step", 0.0) for row in rows), 1),
        "entropy_change": {name: _mean_of(rows, f"update/{name}") for name in ENTROPY_CHANGE},
        "curve": _curve(rows, evaluated={int(row["step"]) for row in evaluations}),
        "evaluations": [_evaluation(row) for row in evaluations],
    }


def problems_of(run: RunFolder) -> dict[str, list[str]]:
    """The problem ids of every evaluated split, in the order of the counts."""
    return {row["split"]: list(row["ids"]) for row in run.evaluations()}


def read_summaries(results: Path, *, folder: str = "cells") -> list[dict[str, Any]]:
    """All summaries of a results folder, by name. folder: "cells", or "interrupted" for runs that were cut short."""
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted((results / folder).glob("*.json"))]


def _evaluation(row: Mapping[str, Any]) -> dict[str, Any]:
    """Right completions by problem; of all else the sums, and the entropy in nats per token where it was measured."""
    kept = {key: row[key] for key in ("split", "step", "samples", "temperature", "correct", "tokens")}
    sums = {key: sum(row[key]) for key in ("formatted", "correct_formatted")}
    controls = {
        name: {"problems": len(counts["ids"]), "correct": sum(counts["correct"])}
        for name, counts in row["controls"].items()
    }
    sampled = "logprob" in row and row["temperature"] > 0.0
    entropy = round(-row["logprob"] / row["tokens"], 5) if sampled else None
    return {**kept, **sums, "entropy": entropy, "controls": controls}


def _mean_of(rows: Sequence[Mapping[str, float]], name: str) -> float | None:
    """The mean over the rows that have a number there; None where none has."""
    found = [row[name] for row in rows if name in row and math.isfinite(row[name])]
    return float(f"{sum(found) / len(found):.4g}") if found else None


def _curve(rows: Sequence[Mapping[str, float]], *, evaluated: set[int]) -> dict[str, list[float]]:
    every = max(len(rows) // _POINTS, 1)
    curve: dict[str, list[float]] = {name: [] for name in ("step", *_VALUES, *_SUMS)}
    sums = dict.fromkeys(_SUMS, 0.0)
    newest: dict[str, float] = {}
    for place, row in enumerate(rows):
        for name in _SUMS:
            sums[name] += row.get(name, 0.0)
        newest |= {name: row[name] for name in _VALUES if name in row}
        if place % every and place + 1 != len(rows) and int(row["step"]) not in evaluated:
            continue
        curve["step"].append(int(row["step"]))
        for name in _VALUES:
            curve[name].append(round(newest.get(name, float("nan")), 5))
        for name in _SUMS:
            curve[name].append(round(sums[name]))
    return curve
