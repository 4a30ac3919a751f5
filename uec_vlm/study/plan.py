"""A study file and the cells it stands for. Every cell is one training run: a configuration and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from uec_vlm.config import RunConfig, load_config
from uec_vlm.errors import ConfigError
from uec_vlm.sections import Positive, Rate, Section, merge, parse_section, read_yaml

# What may differ between two runs of the same cell without changing its numbers.
_NO_MATTER = {"run": ("name", "dir", "trackers"), "checkpoint": ("every", "keep_last"), "evaluate": ("start_cache",)}


class Arm(Section):
    """One algorithm of the study. set: dotted keys over the base and the shared ones.

    rate_of: the arm whose tuned learning rate it takes; null tunes its own (or keeps the base's, without a tuning).
    """

    algorithm: str
    seeds: Positive
    rate_of: str | None = None
    set: dict[str, Any] = Field(default_factory=dict)
    what: str = ""


class Tuning(Section):
    """The search for learning rates: one run per arm and rate, judged by its last validation accuracy.

    set: dotted keys for these runs; the validation split here must not be that of the main runs.
    """

    learning_rates: Annotated[tuple[Rate, ...], Field(min_length=2)]
    steps: Positive
    seed: Annotated[int, Field(ge=0)]
    set: dict[str, Any]


class Study(Section):
    """A study file. base: a training configuration, relative to it. reference: the arm others are held to.

    also_against: further arms that the others are held to, in tables of their own.
    results: folder of the summaries. runs: folder of the run folders. main: the arms that are drawn.
    groups: names of problems that the tables tell apart, each with words of which their ids hold one.
    launch: the words before `train CONFIG ...`, for runs on several GPUs (`accelerate launch ... -m uec_vlm.cli`); null
    starts one process of this Python.
    """

    name: str
    base: str
    results: str
    runs: str
    reference: str
    main: tuple[str, ...]
    also_against: tuple[str, ...] = ()
    groups: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    launch: tuple[str, ...] | None = None
    shared: dict[str, Any] = Field(default_factory=dict)
    tuning: Tuning | None = None
    arms: dict[str, Arm]

    @model_validator(mode="after")
    def _names(self) -> Study:
        for key, names in (("reference", (self.reference,)), ("main", self.main), ("also_against", self.also_against)):
            unknown = sorted(set(names) - set(self.arms))
            if unknown:
                raise ValueError(f"{key} names {unknown}, but the arms are {sorted(self.arms)}")
        for name, arm in self.arms.items():
            if arm.rate_of is not None and (arm.rate_of not in self.arms or self.arms[arm.rate_of].rate_of is not None):
                raise ValueError(f"arms.{name}.rate_of = '{arm.rate_of}': it must be an arm that has its own rate")
        return self


@dataclass(frozen=True)
class Cell:
    """One run of a study. overrides: KEY=VALUE pairs over the base configuration, folders excepted."""

    kind: Literal["tuning", "main"]
    arm: str
    seed: int
    learning_rate: float | None
    overrides: tuple[str, ...]

    @property
    def name(self) -> str:
        """Unique in its study, and a file name."""
        rate = f"-lr{self.learning_rate:g}" if self.kind == "tuning" else ""
        return f"{self.kind}-{self.arm}{rate}-seed{self.seed}"


def load_study(path: str | Path) -> Study:
    """Reads a study file. ConfigError with key, value, reason and remedy.

    extends: another study file, relative to this one, that this one is laid over; an arm that is null here is left out.
    base is relative to the file that is read, never to one that it extends.
    """
    return parse_section(_read(Path(path), above=()), Study, place=str(path))


def tuning_cells(study: Study) -> list[Cell]:
    """One cell for each learning rate of each arm that is tuned; none without a tuning."""
    if study.tuning is None:
        return []
    tuning, cells = study.tuning, []
    for name, arm in study.arms.items():
        if arm.rate_of is not None:
            continue
        for rate in tuning.learning_rates:
            keys = {**study.shared, **arm.set, **tuning.set, "run.steps": tuning.steps}
            cells.append(_cell("tuning", name, arm, tuning.seed, rate, keys))
    return cells


def main_cells(study: Study, rates: Mapping[str, float]) -> list[Cell]:
    """The cells of the comparison: the main arms first, seed by seed, so that whatever is done is balanced over them.

    rates: tuned learning rate by arm; an arm without one keeps the base's.
    """
    cells = []
    for name, arm in study.arms.items():
        for seed in range(arm.seeds):
            rate = rates.get(arm.rate_of or name)
            cells.append(_cell("main", name, arm, seed, rate, {**study.shared, **arm.set}))
    return sorted(cells, key=lambda cell: (cell.arm not in study.main, cell.seed))


def cell_config(study: Study, folder: Path, cell: Cell) -> RunConfig:
    """The configuration of a cell. folder: of the study file. ConfigError where it cannot work."""
    try:
        return load_config(folder / study.base, cell.overrides)
    except ConfigError as error:
        raise ConfigError(f"cell {cell.name}: {error}") from None


def config_hash(config: RunConfig) -> str:
    """The sha256 of what determines the numbers of a run: what its configuration says beyond the defaults.

    Folders and saving do not count. A key that a later version adds changes no hash while it has its default; which
    version a summary comes from is its `commit`.
    """
    tree = config.model_dump(mode="json", exclude_defaults=True)
    for section, keys in _NO_MATTER.items():
        for key in keys:
            tree.get(section, {}).pop(key, None)
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


def _read(path: Path, *, above: tuple[Path, ...]) -> dict[str, Any]:
    """A study file laid over the one that it extends. above: the files that extend it."""
    if path.resolve() in above:
        raise ConfigError(
            f"{above[0]}: extends leads back to {path}; a study cannot extend itself. Remove one of them."
        )
    tree = read_yaml(path)
    if "extends" not in tree:
        return tree
    below = path.parent / str(tree.pop("extends"))
    tree = merge(_read(below, above=(*above, path.resolve())), tree)
    arms = tree.get("arms")
    if isinstance(arms, dict):
        tree["arms"] = {name: arm for name, arm in arms.items() if arm is not None}
    return tree


def _cell(
    kind: Literal["tuning", "main"], name: str, arm: Arm, seed: int, rate: float | None, keys: Mapping[str, Any]
) -> Cell:
    pairs = {"algorithm": arm.algorithm, **keys, "run.seed": seed}
    if rate is not None:
        pairs["update.learning_rate"] = rate
    return Cell(kind, name, seed, rate, tuple(f"{key}={json.dumps(value)}" for key, value in pairs.items()))
