"""The numbers of a run as tables: evaluations with intervals, pass@k, what exploration cost, image reliance, format."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

import pandas as pd

from uec_vlm.reports.run import Run
from uec_vlm.reports.statistics import (
    Estimate,
    FormatGain,
    estimate,
    format_gain,
    paired_difference,
    pass_at_k,
    powers_of_two,
)


def accuracies(row: Mapping[str, Any]) -> list[float]:
    """Share of right completions per problem of an evaluation."""
    return [count / row["samples"] for count in row["correct"]]


def validation_accuracy(run: Run) -> pd.Series:
    """Accuracy of the validation problems by step, from the evaluations: the last one is in no step's row."""
    return pd.Series({row["step"]: fmean(accuracies(row)) for row in run.of_split("validation")}, dtype=float)


def gain(before: Mapping[str, Any], after: Mapping[str, Any]) -> Estimate:
    """Paired difference of the accuracies of two evaluations over the same problems, with its 95 % interval."""
    return paired_difference(accuracies(before), accuracies(after))


def evaluations(run: Run) -> pd.DataFrame:
    """A row per evaluation: split, step, problems, samples, accuracy with interval, pass@k, format."""
    rows = []
    for row in run.evaluations:
        interval = estimate(accuracies(row))
        samples = row["samples"]
        rows.append(
            {
                "split": row["split"],
                "step": row["step"],
                "problems": len(row["ids"]),
                "samples": samples,
                "pass@1": interval.mean,
                "low": interval.low,
                "high": interval.high,
                f"pass@{samples}": sum(pass_at_k(row["correct"], samples, samples)) / len(row["ids"]),
                "format": sum(row["formatted"]) / (samples * len(row["ids"])),
            }
        )
    return pd.DataFrame(rows)


def pass_at(row: Mapping[str, Any]) -> dict[int, float]:
    """pass@k of an evaluation for powers of two."""
    return {
        k: sum(pass_at_k(row["correct"], row["samples"], k)) / len(row["ids"]) for k in powers_of_two(row["samples"])
    }


def exploration(run: Run) -> dict[str, float]:
    """Over the whole run: hard prompts, explored and solved ones, tokens spent, tokens per solved prompt."""
    totals = {
        name: float(run.series(f"explore/{name}").sum())
        for name in ("hard_prompts", "explored_prompts", "solved", "tokens")
    }
    solved = totals["solved"]
    return {**totals, "tokens_per_solved": totals["tokens"] / solved if solved else float("nan")}


def controls(run: Run) -> pd.DataFrame:
    """Accuracy with the true picture and with each control, on the same problems; a row per evaluation and control.

    gain: true minus that control, with its interval. reliance: true over it; infinite where none of its is right.
    """
    rows = []
    for row in run.evaluations:
        for name, counts in (row.get("controls") or {}).items():
            known = dict(zip(row["ids"], row["correct"], strict=True))
            true = [known[problem] / row["samples"] for problem in counts["ids"]]
            wrong = [count / row["samples"] for count in counts["correct"]]
            difference = paired_difference(wrong, true)
            mean_true, mean_wrong = sum(true) / len(true), sum(wrong) / len(wrong)
            rows.append(
                {
                    "split": row["split"],
                    "step": row["step"],
                    "control": name,
                    "problems": len(true),
                    "true": mean_true,
                    "accuracy": mean_wrong,
                    "gain": difference.mean,
                    "low": difference.low,
                    "high": difference.high,
                    "reliance": mean_true / mean_wrong if mean_wrong else float("inf") if mean_true else float("nan"),
                }
            )
    return pd.DataFrame(rows)


def format_share(run: Run, split: str) -> FormatGain | None:
    """How much of the gain from the first to the last evaluation of a split is format; None without two of them."""
    rows = [row for row in run.of_split(split) if "correct_formatted" in row]
    return format_gain(rows[0], rows[-1]) if len(rows) > 1 else None


def difficulty(run: Run, split: str = "validation") -> pd.DataFrame:
    """The pass rate of every problem at every evaluated step: a row per problem, the hardest first; a column per step.

    split: validation, test, or train: the dumped regular rollouts of training, NaN where a problem was not drawn.
    """
    if split == "train":
        columns = ("step", "id", "source", "prompt_accuracy")
        rows = run.rollouts(columns=columns)
        if rows.empty:
            return pd.DataFrame()
        regular = rows[rows["source"] == "regular"]
        table = regular.pivot_table(index="id", columns="step", values="prompt_accuracy", aggfunc="mean")
    else:
        found = {row["step"]: dict(zip(row["ids"], accuracies(row), strict=True)) for row in run.of_split(split)}
        table = pd.DataFrame(found)
    if table.empty:
        return table
    order = table.mean(axis=1).sort_values(kind="stable").index
    sorted_table: pd.DataFrame = table.loc[order].sort_index(axis=1)
    return sorted_table


def cost(run: Run) -> dict[str, float]:
    """What the run took: sampled tokens, optimizer steps, trained trajectories, seconds of steps and evaluations."""
    return {
        "sampled_tokens": float(run.series("rollout/sampled_tokens").sum()),
        "optimizer_steps": float(run.series("update/optimizer_steps").sum()),
        "trajectories": float(run.series("update/trajectories").sum()),
        "seconds": float(run.series("time/step").sum() + run.series("time/evaluate").sum()),
    }
