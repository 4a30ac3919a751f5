"""The evaluation of the untouched model, kept in a folder for every run that begins with the same one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from filelock import FileLock

from uec_vlm.config import RunConfig
from uec_vlm.durable import write_text
from uec_vlm.runlog import environment
from uec_vlm.trainer.evaluate import Counts, Evaluation, HeldOut
from uec_vlm.trainer.inputs import input_hashes
from uec_vlm.trainer.ranks import ALONE, Ranks

# What of a configuration has no part in the answers of the untouched model. The sampler's own settings stay in.
_NO_PART = {"rollout": ("prompts_per_step", "completions_per_prompt", "temperature", "top_p")}
_NO_SETTING = ("controls", "controls_every", "last_step")
_PARTS = ("model", "data", "rollout", "reward")


def evaluated_once(
    folder: str | None, config: RunConfig, held_out: HeldOut, measure: Callable[[], Evaluation], ranks: Ranks = ALONE
) -> Evaluation:
    """What `measure` gives, or what it gave an earlier run in `folder` under the same key; without a folder it runs.

    The ranks measure together; the first one reads and writes the folder. Of runs that begin at once one measures, and
    the others wait for it.
    """
    if folder is None:
        return measure()
    file = ranks.from_first(lambda: Path(folder) / f"{key_of(config, held_out)}.json")
    with _waiting(file.with_suffix(".lock"), ranks):
        known = ranks.from_first(lambda: _known(file, held_out))
        if known is not None:
            return known
        evaluation = measure()
        ranks.from_first(lambda: write_text(file, json.dumps(evaluation.row()) + "\n"))
    return evaluation


@contextmanager
def _waiting(file: Path, ranks: Ranks) -> Iterator[None]:
    """Holds the lock of a file for all ranks; that of a process which has died is free."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file)
    ranks.from_first(lambda: lock.acquire() and None)
    try:
        yield
    finally:
        lock.release()


def _known(file: Path, held_out: HeldOut) -> Evaluation | None:
    """The evaluation in the file, if it has all that is counted now and every control that is asked for."""
    if not file.is_file():
        return None
    row = json.loads(file.read_text(encoding="utf-8"))
    asked = held_out.settings.controls_at(0)
    counted = {one.name for one in fields(Evaluation)}
    if not counted <= set(row) or not set(asked) <= set(row["controls"]):
        return None
    return _evaluation({**row, "controls": {name: row["controls"][name] for name in asked}})


def key_of(config: RunConfig, held_out: HeldOut) -> str:
    """SHA-256 of all that determines the answers: model, problems, grader, sampler, seed, packages, GPUs and commit."""
    tree = config.model_dump(mode="json")
    for section, keys in _NO_PART.items():
        for name in keys:
            tree[section].pop(name, None)
    found = environment()
    key = {
        "config": {name: tree[name] for name in _PARTS},
        "settings": {name: value for name, value in asdict(held_out.settings).items() if name not in _NO_SETTING},
        "ids": [sample.id for sample in held_out.samples],
        "inputs": input_hashes(config, reads_model=True),
        "packages": found["packages"],
        "gpus": found["gpus"],
        "commit": found["commit"],
    }
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()


def _evaluation(row: Mapping[str, Any]) -> Evaluation:
    controls = {name: Counts(**_tuples(counts)) for name, counts in row["controls"].items()}
    return Evaluation(**{**_tuples(row), "controls": controls})


def _tuples(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
