"""The run folder: what a run writes and what reports read. Loads neither torch nor transformers.

config.yaml             the resolved configuration, defaults included
environment.json        versions, machine, commit, command line
metrics.jsonl           a row per step, names from the catalogue; step 0 is the untouched model
evaluations.jsonl       a row per evaluation, with the counts of every problem
rollouts/step_*.parquet sampled trajectories; their pictures lie once each in rollouts/images/
checkpoints/step_N/     a folder that transformers loads, beside state/
tensorboard/            the same numbers for TensorBoard
report/                 what `uec-vlm report` draws
"""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from uec_vlm.dumps import dump_files, read_dumps, step_of_dump, write_dump
from uec_vlm.durable import append_line, read_lines, write_text
from uec_vlm.errors import ConfigError, RunError
from uec_vlm.metrics import check_row
from uec_vlm.sections import read_yaml

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PACKAGES = (
    "uec-vlm", "torch", "torchvision", "transformers", "qwen-vl-utils", "accelerate", "deepspeed", "datasets", "peft",
    "pillow", "sympy", "numpy", "pydantic",
)  # fmt: skip
ALTERED = "The file was altered after the run wrote it; take the line out."
"""What to do about a row that cannot be read."""


@dataclass(frozen=True)
class RunFolder:
    """The paths of one run folder, and the few ways in which it is written and read."""

    path: Path

    @property
    def metrics_file(self) -> Path:
        """`metrics.jsonl`."""
        return self.path / "metrics.jsonl"

    @property
    def evaluations_file(self) -> Path:
        """`evaluations.jsonl`."""
        return self.path / "evaluations.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def report(self) -> Path:
        """The folder of drawings."""
        return self.path / "report"

    def config(self) -> dict[str, Any]:
        """The resolved configuration as it was written; RunError if `config.yaml` is missing or damaged."""
        file = self.path / "config.yaml"
        if not file.is_file():
            raise RunError(f"{file} is missing, so it is not known what the run was; copy it from where it was made.")
        try:
            return read_yaml(file)
        except ConfigError as error:
            raise RunError(f"{error}\nThe file is not as the run wrote it; copy it again.") from None

    def environment(self) -> dict[str, Any]:
        """Versions, machine and command line; empty without `environment.json`, RunError where it is damaged."""
        file = self.path / "environment.json"
        try:
            return dict(json.loads(file.read_bytes())) if file.is_file() else {}
        except (ValueError, TypeError) as error:
            raise RunError(f"{file} is not as the run wrote it ({error}); copy it again, or delete it.") from None

    def append_metrics(self, step: int, row: Mapping[str, float]) -> None:
        """Appends the row of a step; KeyError for a name that is not in the catalogue."""
        check_row(row)
        append_line(self.metrics_file, {"step": step, **row})

    def append_evaluation(self, row: Mapping[str, Any]) -> None:
        """Appends one evaluation."""
        append_line(self.evaluations_file, row)

    def metrics(self) -> list[dict[str, float]]:
        """All rows of `metrics.jsonl`, in order."""
        return _rows(self.metrics_file)

    def evaluations(self) -> list[dict[str, Any]]:
        """All rows of `evaluations.jsonl`, in order."""
        return _rows(self.evaluations_file)

    def forget_after(self, step: int) -> None:
        """Drops what was logged after a step: a resumed run writes it again."""
        for file in (self.metrics_file, self.evaluations_file):
            if file.is_file():
                kept = [row for row in _rows(file) if row["step"] <= step]
                write_text(file, "".join(json.dumps(row) + "\n" for row in kept))
        for dump in dump_files(self.path / "rollouts"):
            if step_of_dump(dump) > step:
                dump.unlink()

    def write_rollouts(
        self, step: int, rows: Sequence[Mapping[str, Any]], *, budget: int | None = None, dumps_left: int = 0
    ) -> int:
        """Writes the trajectories of a step; see `uec_vlm.dumps.write_dump`."""
        return write_dump(self.path / "rollouts", step, rows, budget=budget, dumps_left=dumps_left)

    def rollouts(self, step: int | None = None) -> list[dict[str, Any]]:
        """The trajectories dumped at a step (None: the newest dump); an empty list if there are none."""
        steps = [step_of_dump(file) for file in dump_files(self.path / "rollouts")]
        wanted = steps[-1:] if step is None else [step]
        return read_dumps(self.path / "rollouts", steps=wanted)


def open_run(path: str | Path, *, resume: bool, config_yaml: str, anew: bool = False) -> RunFolder:
    """Makes a new run folder, or opens an old one to resume it.

    anew: a run that was killed before its first checkpoint is begun again, and what it logged is dropped.
    RunError if a new run would write into a folder that already has a run, or a resumed one has none.
    """
    folder = RunFolder(Path(path))
    if resume and not folder.metrics_file.is_file():
        raise RunError(f"{path}: there is no run to resume here (metrics.jsonl is missing); leave --resume away.")
    if not resume and not anew and folder.metrics_file.is_file():
        raise RunError(f"{path} already holds a run; choose run.dir=..., delete the folder, or continue with --resume.")
    folder.path.mkdir(parents=True, exist_ok=True)
    write_text(folder.path / "config.yaml", config_yaml)
    write_text(folder.path / "environment.json", json.dumps(environment(), indent=2) + "\n")
    if not resume:
        folder.forget_after(-1)
    return folder


@contextmanager
def sole_writer(path: str | Path) -> Iterator[None]:
    """Holds the lock of a run folder, which is made if need be; the system frees it when its process ends.

    RunError if the folder cannot be made, or, naming the holder, if another run is writing there.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{path} cannot be made ({error.strerror}); choose another folder with run.dir=...") from None
    lock, holder = FileLock(folder / ".lock"), folder / ".lock.holder"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        known = holder.read_text(encoding="utf-8") if holder.is_file() else "of another user"
        raise RunError(
            f"{path} is being written by another run (process {known}). Wait until it ends, end it, or choose another "
            "folder with run.dir=..."
        ) from None
    try:
        write_text(holder, f"{os.getpid()} on {platform.node()}")
        yield
    finally:
        lock.release()


@contextmanager
def full_disk_told(path: Path) -> Iterator[None]:
    """Turns "no space left", of whichever library, into a RunError that says where and what to do."""
    try:
        yield
    except Exception as error:
        if not _is_full(error):
            raise
        free = shutil.disk_usage(path).free / 2**20
        raise RunError(
            f"{path} cannot be written: {error} ({free:.0f} MiB free). What was saved before is unharmed. Free some "
            "space (checkpoint.keep_last, log.rollouts_every say how much a run keeps), then give the same command "
            "with --resume auto."
        ) from error


def _is_full(error: Exception) -> bool:
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    return any(f"os error {number}" in str(error) for number in _FULL)  # safetensors' way to say it


def read_run(path: str | Path) -> RunFolder:
    """Opens a run folder for reading; RunError if it is none."""
    folder = RunFolder(Path(path))
    if not folder.metrics_file.is_file():
        raise RunError(f"{path} is no run folder (metrics.jsonl is missing); give the folder that `train` wrote.")
    return folder


def environment() -> dict[str, Any]:
    """Versions, machine, commit and command line: what a reader needs to repeat the run."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "gpus": _gpus(),
        "packages": versions,
        "commit": _commit(),
        "command": sys.argv,
    }


def _gpus() -> list[str]:
    """The names of the visible GPUs. torch is asked here, so that a run can be read without loading it."""
    from torch import cuda

    return [cuda.get_device_name(place) for place in range(cuda.device_count())]


def _commit() -> str | None:
    try:
        shown = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40"],
            cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return shown.stdout.strip()


def _rows(file: Path) -> list[dict[str, Any]]:
    try:
        rows = list(read_lines(file))
    except ValueError as error:
        raise RunError(f"{error}. {ALTERED}") from None
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict) or not isinstance(row.get("step"), int):
            raise RunError(f"{file} row {number} has no step ({str(row)[:60]}). {ALTERED}")
    return rows
