"""A run folder opened for reading: its numbers as a table, its evaluations, its rollouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from uec_vlm.dumps import dump_files, read_dumps, step_of_dump
from uec_vlm.errors import RunError
from uec_vlm.runlog import ALTERED, RunFolder, read_run

_COUNTS = ("split", "samples", "ids", "correct", "formatted")


@dataclass(frozen=True)
class Run:
    """What a run folder says.

    metrics: a row per step (the index), a column per metric; NaN where a step did not measure it. evaluations: the rows
    of `evaluations.jsonl`, oldest first. config: the resolved configuration, nested. environment: versions and machine.
    """

    folder: RunFolder
    name: str
    config: dict[str, Any] = field(repr=False)
    environment: dict[str, Any] = field(repr=False)
    metrics: pd.DataFrame = field(repr=False)
    evaluations: list[dict[str, Any]] = field(repr=False)

    @property
    def last_step(self) -> int:
        """The newest step that was logged."""
        return int(self.metrics.index[-1]) if len(self.metrics) else 0

    @property
    def planned_steps(self) -> int:
        """How many steps the run was to have; the last one where the configuration does not say."""
        return int(self.setting("run", "steps", default=self.last_step))

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return int(self.setting("run", "seed", default=0))

    def setting(self, *keys: str, default: Any = None) -> Any:
        """A value of the configuration; the default where there is none."""
        value: Any = self.config
        for key in keys:
            if not isinstance(value, dict) or value.get(key) is None:
                return default
            value = value[key]
        return value

    def series(self, name: str) -> pd.Series:
        """A metric by step, at the steps that measured it; empty if none did."""
        return self.metrics[name].dropna() if name in self.metrics else pd.Series(dtype=float)

    def of_split(self, split: str) -> list[dict[str, Any]]:
        """The evaluations of a split, oldest first."""
        return [row for row in self.evaluations if row["split"] == split]

    @property
    def dumped_steps(self) -> list[int]:
        """The steps whose rollouts were dumped."""
        return [step_of_dump(file) for file in dump_files(self.folder.path / "rollouts")]

    def rollouts(self, *, steps: Sequence[int] | None = None, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The dumped trajectories, one a row (columns: `uec_vlm.dumps.COLUMNS`); all steps and columns by default."""
        return pd.DataFrame(read_dumps(self.folder.path / "rollouts", steps=steps, columns=columns))


def load_run(path: str | Path) -> Run:
    """Opens a run folder, finished or going on; RunError if it is none, or a file of it is damaged."""
    folder = read_run(path)
    config = folder.config() if (folder.path / "config.yaml").is_file() else {}
    rows = folder.metrics()
    metrics = pd.DataFrame(rows)
    if rows:
        metrics = metrics.drop_duplicates("step", keep="last").set_index("step").sort_index()
    name = str((config.get("run") or {}).get("name") or folder.path.resolve().name)
    return Run(folder, name, config, folder.environment(), metrics, _evaluations(folder))


def load_measured(path: str | Path) -> Run:
    """`load_run`, for what needs numbers: RunError also for a run that has not logged a step."""
    run = load_run(path)
    if not len(run.metrics):
        raise RunError(
            f"{run.folder.metrics_file} is empty: the run has logged no step. Wait for one, or run it again."
        )
    return run


def _evaluations(folder: RunFolder) -> list[dict[str, Any]]:
    """The evaluations; RunError for one without what the tables are made of."""
    rows = folder.evaluations()
    for row in rows:
        missing = [name for name in _COUNTS if name not in row]
        if missing:
            raise RunError(f"{folder.evaluations_file}: the row of step {row['step']} lacks {missing}. {ALTERED}")
    return rows
