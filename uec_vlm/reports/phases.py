"""Where the time of a run went: a table of its phases, from the `time/*` of its metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console

from uec_vlm.runlog import RunFolder

_OF_ROLLOUTS = ("vision", "prefill", "decode")
_ROLLOUTS = ("rollout", "explore")
_OTHERS = ("data", "verify", "score", "update", "replay", "sync")


def phase_seconds(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Seconds by phase over these rows of metrics, which add up to those of the steps; empty without any step."""
    total = {name: sum(_seconds(row, name) for row in rows) for name in (*_OF_ROLLOUTS, *_ROLLOUTS, *_OTHERS, "step")}
    if total["step"] <= 0:
        return {}
    parts = {name: total[name] for name in ("data", *_OF_ROLLOUTS)}
    # What an engine does not tell apart: all of it for a server, else making records of tokens.
    parts["sampling, rest"] = sum(total[name] for name in _ROLLOUTS) - sum(total[name] for name in _OF_ROLLOUTS)
    parts |= {name: total[name] for name in _OTHERS if name != "data"}
    parts["rest"] = total["step"] - sum(parts.values())
    return {name: seconds for name, seconds in parts.items() if seconds > 0}


def _seconds(row: Mapping[str, float], name: str) -> float:
    value = row.get(f"time/{name}", 0.0)
    return value if value == value else 0.0  # a table of steps has NaN where one was not measured


def print_phases(run: RunFolder, console: Console) -> None:
    """Prints seconds, share and seconds per step of every phase; nothing where no step was timed."""
    rows = [row for row in run.metrics() if row.get("time/step", 0.0) > 0]
    seconds = phase_seconds(rows)
    if not seconds:
        return
    whole = sum(row["time/step"] for row in rows)
    evaluating = sum(row.get("time/evaluate", 0.0) for row in run.metrics())
    console.print(
        f"time of {len(rows)} steps: {whole:.1f} s (evaluation during training: {evaluating:.1f} s)", highlight=False
    )
    for name, value in seconds.items():
        console.print(
            f"  {name:<15}{value:9.2f} s {value / whole:6.1%} {value / len(rows):8.3f} s a step", highlight=False
        )
