"""Starts a module in one process or, by torchrun, in several, waits for its end, and compares what runs left."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 270  # seconds; a launch takes ten on an idle machine


# engine -> distributed type, class of the prepared root, class of a parameter, whether a rank holds a part of it
REALLY = {
    "ddp": ("MULTI_CPU", "DistributedDataParallel", "Parameter"),
    "zero2": ("DEEPSPEED", "DeepSpeedEngine", "Parameter"),
    "zero3": ("DEEPSPEED", "DeepSpeedEngine", "Parameter"),
    "fsdp2": ("FSDP", "FSDPRoot", "DTensor"),
}
# Every step trains on what it kept: optimizer steps of 8 sequences, the last ones of fewer than there are ranks.
ABOVE: dict[str, Any] = {
    "model": {"device": "cpu"},
    "update": {"learning_rate": 1e-4},
    "objective": {"accumulate": False},
}


@dataclass(frozen=True)
class Outcome:
    """What a run left: the engine, metrics, remarks and rollouts of every step, the weights at the end.

    preflight: the largest gap of each measurement, and whether `halved` halves every weight; empty if it was not asked.
    """

    engine: dict[str, Any]
    metrics: list[dict[str, float]]
    notes: list[list[str]]
    rows: list[Any]
    weights: dict[str, torch.Tensor]
    preflight: dict[str, Any] = field(default_factory=dict)


def launched(command: list[str], world: int) -> list[str]:
    if world == 1:
        return [sys.executable, "-m", *command]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    here = ["--nnodes", "1", "--nproc-per-node", str(world), "--master-addr", "127.0.0.1", "--master-port", str(port)]
    return [sys.executable, "-m", "torch.distributed.run", *here, "-m", *command]


def end_in_time(command: list[str], limit: float = LIMIT, code: int = 0) -> str:
    """Runs it and returns what it printed; a hang or another exit status than `code` fails the test."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1"}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        shown, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.terminate()  # torchrun ends its processes, which are in sessions of their own
        shown, _ = process.communicate()
        raise AssertionError(f"no end after {limit} s:\n{shown[-3000:]}") from None
    assert process.returncode == code, shown[-5000:]
    return shown


def run(folder: Path, model: Path, engine: str, world: int, **more: Any) -> Outcome:
    """What a run of `tests.support.distributed_run` left; `more` is as of `run_to_its_end`."""
    out = run_to_its_end(folder, model, engine, world, **more)
    return Outcome(**json.loads(out.read_text()), weights=load_file(out.with_suffix(".safetensors")))


def run_to_its_end(
    folder: Path, model: Path, engine: str, world: int, *, steps: int = 3, above: dict[str, Any] | None = None,
    **more: Any,
) -> Path:  # fmt: skip
    """Writes the specification and runs it; returns where the outcome is."""
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / "outcome.json"
    tree = {"model": str(model), "engine": engine, "steps": steps, "out": str(out), "above": above or ABOVE, **more}
    specification = folder / "specification.json"
    specification.write_text(json.dumps(tree))
    end_in_time(launched(["tests.support.distributed_run", str(specification)], world))
    return out


def assert_same(one: Outcome, other: Outcome, *, weights_within: float = 1e-5) -> None:
    assert one.rows == other.rows, "other rollouts, verdicts or selections"
    assert one.notes == other.notes
    for mine, theirs in zip(one.metrics, other.metrics, strict=True):
        assert mine.keys() == theirs.keys()
        for name, value in mine.items():
            assert theirs[name] == pytest.approx(value, rel=0, abs=1e-5 * max(1.0, abs(value))), name
    assert one.weights.keys() == other.weights.keys()
    for name, weight in one.weights.items():
        torch.testing.assert_close(other.weights[name], weight, rtol=0, atol=weights_within)


def assert_really(outcome: Outcome, engine: str, world: int) -> None:
    got = outcome.engine
    assert (got["distributed_type"], got["root"], got["parameter"]) == REALLY[engine.split("_")[0]]
    assert got["world"] == world
    assert (got["shape"] == [0]) == engine.startswith("zero3")
