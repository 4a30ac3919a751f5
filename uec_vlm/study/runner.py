"""Runs the cells of a study that are not done: several at once, each an ordinary resumable training run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from uec_vlm.config import RunConfig, dump_config
from uec_vlm.durable import write_text
from uec_vlm.errors import ConfigError, RunError, UecError
from uec_vlm.runlog import RunFolder, read_run
from uec_vlm.study.plan import Cell, Study, cell_config, config_hash, load_study, main_cells, tuning_cells
from uec_vlm.study.summary import problems_of, summarise


@dataclass(frozen=True)
class Place:
    """Where a study lies. source: the study file; results and runs: folders, relative to the working directory."""

    study: Study
    source: Path

    @property
    def results(self) -> Path:
        """Small files that are kept: summaries, the tuning, the problems."""
        return Path(self.study.results)

    def run_folder(self, cell: Cell) -> Path:
        """The run folder of a cell."""
        return Path(self.study.runs) / cell.name

    def summary_file(self, cell: Cell, folder: str = "cells") -> Path:
        """The summary of a cell; in `interrupted` of one that is not done."""
        return self.results / folder / f"{cell.name}.json"

    def config(self, cell: Cell) -> RunConfig:
        """The configuration of a cell."""
        return cell_config(self.study, self.source.parent, cell)


def run_study(source: Path, *, jobs: int, only: Sequence[str], console: Console) -> None:
    """Tunes, then runs every cell whose summary is not there; what is done is skipped.

    jobs: runs at once. only: arms to run (all where empty). RunError at the end if a cell failed, with its log;
    the other cells are run all the same.
    """
    place = Place(load_study(source), source)
    _refuse_unknown("--only", only, place.study)
    wanted = _tuned_for(place.study, only)
    tuning = [cell for cell in tuning_cells(place.study) if not only or cell.arm in wanted]
    _check(place, [*tuning, *main_cells(place.study, {})])  # every configuration is tried before the first run
    _run_cells(place, tuning, jobs=jobs, console=console)
    rates = choose_rates(place, tuning)
    cells = [cell for cell in main_cells(place.study, rates) if not only or cell.arm in only]
    _run_cells(place, cells, jobs=jobs, console=console)


def first_run(source: Path, arm: str) -> tuple[Path, tuple[str, ...]]:
    """The base configuration of a study, and the KEY=VALUE pairs that the first run of an arm lays over it."""
    place = Place(load_study(source), source)
    _refuse_unknown("--arm", (arm,), place.study)
    cell = next(cell for cell in main_cells(place.study, read_rates(place)) if cell.arm == arm)
    return source.parent / place.study.base, (*cell.overrides, f"run.dir={place.run_folder(cell)}")


def repeat_cell(source: Path, name: str, *, console: Console) -> None:
    """Runs one finished cell again in a folder of its own and compares: RunError unless every number is the same."""
    place = Place(load_study(source), source)
    cells = {cell.name: cell for cell in [*tuning_cells(place.study), *main_cells(place.study, read_rates(place))]}
    if name not in cells:
        raise ConfigError(f"--repeat {name}: no such cell; the cells are {sorted(cells)}.")
    cell = cells[name]
    folder = place.run_folder(cell).with_name(f"{name}-again")
    first = json.loads(place.summary_file(cell).read_text(encoding="utf-8"))
    _train(place, cell, folder, threads=first["threads"])
    second = summarise(read_run(folder), cell=_identity(place, cell))
    different = [key for key in ("curve", "evaluations", "config") if first[key] != second[key]]
    if different:
        raise RunError(
            f"cell {name}: a second run differs in {different}; compare {place.run_folder(cell)} and {folder}."
        )
    console.print(f"{name}: the second run has the same numbers, bit for bit", highlight=False)


def keep_unfinished(source: Path, *, console: Console) -> None:
    """Sums up every main run that has begun and is not done, as far as it came: for a machine that will be gone.

    The summaries lie in `interrupted/`; a page shows them apart until the cell is done.
    """
    place = Place(load_study(source), source)
    for cell in main_cells(place.study, read_rates(place)):
        begun = (place.run_folder(cell) / "evaluations.jsonl").is_file()
        if begun and not place.summary_file(cell).is_file():
            _keep(place, cell, {**_identity(place, cell), "kind": "interrupted"}, folder="interrupted")
            console.print(f"{cell.name}: kept as far as it came", highlight=False)


def choose_rates(place: Place, cells: Sequence[Cell]) -> dict[str, float]:
    """The learning rate of each tuned arm: the best last validation accuracy, the smaller rate of equals.

    Written to `tuning.json` with the whole grid.
    """
    grid: dict[str, dict[str, float]] = {}
    for cell in cells:
        summary = json.loads(place.summary_file(cell).read_text(encoding="utf-8"))
        grid.setdefault(cell.arm, {})[f"{cell.learning_rate:g}"] = last_accuracy(summary)
    rates = {arm: float(max(sorted(found, key=float), key=found.__getitem__)) for arm, found in grid.items()}
    stored = _stored_tuning(place)
    grid, rates = {**stored["accuracy"], **grid}, {**stored["chosen"], **rates}
    if grid:
        write_text(place.results / "tuning.json", json.dumps({"accuracy": grid, "chosen": rates}, indent=1) + "\n")
    return rates


def read_rates(place: Place) -> dict[str, float]:
    """The learning rates that a tuning has chosen; empty without one."""
    chosen: dict[str, float] = _stored_tuning(place)["chosen"]
    return chosen


def last_accuracy(summary: dict[str, Any]) -> float:
    """Mean accuracy over problems and samples of the last validation of a run."""
    row = max((r for r in summary["evaluations"] if r["split"] == "validation"), key=lambda r: r["step"])
    return float(sum(row["correct"]) / (len(row["correct"]) * row["samples"]))


def _stored_tuning(place: Place) -> dict[str, Any]:
    file = place.results / "tuning.json"
    empty: dict[str, Any] = {"accuracy": {}, "chosen": {}}
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else empty


def _tuned_for(study: Study, only: Sequence[str]) -> set[str]:
    """The arms whose learning rates are needed for these arms."""
    return {study.arms[name].rate_of or name for name in only}


def _refuse_unknown(option: str, arms: Sequence[str], study: Study) -> None:
    unknown = sorted(set(arms) - set(study.arms))
    if unknown:
        raise ConfigError(f"{option} {', '.join(unknown)}: the study's arms are {', '.join(sorted(study.arms))}.")


def _check(place: Place, cells: Sequence[Cell]) -> None:
    for cell in cells:
        config = place.config(cell)
        file = place.summary_file(cell)
        if cell.kind == "tuning" and file.is_file():
            _refuse_other(file, config)


def _refuse_other(file: Path, config: RunConfig) -> None:
    stored = json.loads(file.read_text(encoding="utf-8"))
    if stored["config"] != config_hash(config):
        raise ConfigError(
            f"{file} was made with another configuration than the study file gives now. Move the results away, or put "
            "the study file back."
        )


def _run_cells(place: Place, cells: Sequence[Cell], *, jobs: int, console: Console) -> None:
    todo = []
    for cell in cells:
        if place.summary_file(cell).is_file():
            _refuse_other(place.summary_file(cell), place.config(cell))
        else:
            todo.append(cell)
    if cells:
        console.print(f"{cells[0].kind}: {len(cells) - len(todo)} of {len(cells)} cells are done", highlight=False)
    failed: list[str] = []
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        futures = {pool.submit(_run_cell, place, cell, jobs): cell for cell in todo}
        for future in as_completed(futures):
            cell = futures[future]
            try:
                _keep(place, cell, future.result())
                console.print(f"{cell.name}: done", highlight=False)
            except (UecError, OSError) as error:
                console.print(f"{cell.name}: {error}", highlight=False, soft_wrap=True)
                failed.append(cell.name)
    if failed:
        raise RunError(f"{len(failed)} cells failed: {', '.join(failed)}. Start the study again when they are mended.")


def _run_cell(place: Place, cell: Cell, jobs: int) -> dict[str, Any]:
    """Trains one cell; returns what its summary says of it."""
    threads = int(os.environ.get("OMP_NUM_THREADS", max((os.cpu_count() or 1) // jobs, 1)))
    _train(place, cell, place.run_folder(cell), threads=threads)
    return {**_identity(place, cell), "threads": threads}


def _keep(place: Place, cell: Cell, identity: dict[str, Any], *, folder: str = "cells") -> None:
    """Writes the small files of a cell."""
    run = read_run(place.run_folder(cell))
    file = place.summary_file(cell, folder)
    file.parent.mkdir(parents=True, exist_ok=True)
    _keep_problems(place, cell, run)
    write_text(file, json.dumps(summarise(run, cell=identity), separators=(",", ":")) + "\n")


def _identity(place: Place, cell: Cell) -> dict[str, Any]:
    return {**asdict(cell), "name": cell.name, "config": config_hash(place.config(cell))}


def _keep_problems(place: Place, cell: Cell, run: RunFolder) -> None:
    """`problems-main.json`: the ids behind the counts, once for the study. RunError if cells saw different problems.

    A run that was cut short may lack a split, which a later one adds.
    """
    file = place.results / f"problems-{cell.kind}.json"
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    found = problems_of(run)
    both = known | found
    if both != found | known:
        raise RunError(f"cell {cell.name} was evaluated on other problems than those of {file}.")
    if both != known:
        write_text(file, json.dumps(both, indent=0) + "\n")


def _train(place: Place, cell: Cell, folder: Path, *, threads: int) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    config = folder.with_name(f"{folder.name}.yaml")
    config.write_text(dump_config(place.config(cell)), encoding="utf-8")
    log = folder.with_name(f"{folder.name}.log")
    start = place.study.launch or (sys.executable, "-m", "uec_vlm.cli")
    command = [*start, "train", str(config), f"run.dir={folder}", "--resume", "auto"]
    with log.open("a", encoding="utf-8") as out:
        done = subprocess.run(
            command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, "OMP_NUM_THREADS": str(threads)}
        )
    if done.returncode:
        tail = log.read_text(encoding="utf-8").strip().splitlines()[-1:]
        raise RunError(f"failed with status {done.returncode}: {' '.join(tail)} (log: {log})")
