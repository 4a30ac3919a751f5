"""The training state beside weights: counters, queue, replay buffer, controller, history, optimizer moments.

A checkpoint is written whole or not at all (`uec_vlm.durable`), and is known by the hash of each of its files. What is
ours is JSON, Parquet and safetensors; nothing is unpickled. Random generators need no place in it: every random number
is a function of the run's seed and of counters that are (`trainer/seeds.py`), and so is the learning rate.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from uec_vlm.durable import fault_of, whole_folder
from uec_vlm.errors import CheckpointError
from uec_vlm.objective import ControllerState, PromptHistory, ReplayBuffer
from uec_vlm.records import Prompt, Sample, Trajectory
from uec_vlm.trainer.trajectories import read_trajectories, write_trajectories

FORMAT = 3
"""Of the folder `state/`. 1 (moments by number, no hashes) and 2 (without `replay_owed`) are no longer read."""


@dataclass(frozen=True)
class TrainState:
    """Everything but weights and optimizer moments.

    step: steps done. drawn: samples drawn so far. optimizer_steps: calls of the optimizer so far.
    queue: kept trajectories that wait for a full batch, oldest first. replay_owed: the part of the next replay that
    is owed, in [0, 1).
    """

    step: int
    drawn: int
    optimizer_steps: int
    queue: tuple[Trajectory, ...]
    replay: ReplayBuffer
    replay_owed: float
    controller: ControllerState
    history: PromptHistory


def save_checkpoint(
    folder: Path,
    state: TrainState,
    moments: Mapping[str, Tensor],
    *,
    save_weights: Callable[[Path], object],
    trainable: Mapping[str, Tensor] | None = None,
    inputs: Mapping[str, str] | None = None,
) -> None:
    """Writes `folder` atomically: the weights as transformers loads them, beside `state/`.

    moments: by parameter, as `named_moments` gives them (gathered, where the optimizer is sharded).
    trainable: trainable parameters by name, stored apart when the weights alone do not restore them (adapters).
    inputs: hashes of what the run reads beside the checkpoint (`input_hashes`).
    """
    with whole_folder(folder) as temporary:
        inner = temporary / "state"
        inner.mkdir()
        save_weights(temporary)
        if trainable is not None:
            save_file(_plain(trainable), inner / "trainable.safetensors")
        save_file(_plain(moments), inner / "optimizer.safetensors")
        waiting = [("queue", t) for t in state.queue] + [("replay", t) for t in state.replay.trajectories]
        write_trajectories(inner, waiting)
        counters = {"step": state.step, "drawn": state.drawn, "optimizer_steps": state.optimizer_steps}
        kept = {
            **counters,
            "replay_owed": state.replay_owed,
            "inputs": dict(inputs or {}),
            "controller": state.controller.to_json(),
            "history": dict(state.history.in_vain),
        }
        (inner / "state.json").write_text(json.dumps({"format": FORMAT, **kept}, indent=2))


def load_checkpoint(folder: Path, *, render: Callable[[Sample], Prompt]) -> tuple[TrainState, dict[str, Tensor]]:
    """The state that `save_checkpoint` wrote, with prompts rendered again, and the optimizer moments by parameter.

    CheckpointError if a part is missing or altered, or another version wrote it.
    """
    stored = _counters(folder)
    fault = fault_of(folder)
    if fault is not None:
        raise CheckpointError(f"{folder} is not a whole checkpoint: {fault}. Resume from an earlier one.")
    inner = folder / "state"
    places = read_trajectories(inner, render)
    state = TrainState(
        step=stored["step"],
        drawn=stored["drawn"],
        optimizer_steps=stored["optimizer_steps"],
        queue=tuple(t for place, t in places if place == "queue"),
        replay=ReplayBuffer(tuple(t for place, t in places if place == "replay")),
        replay_owed=stored["replay_owed"],
        controller=ControllerState.from_json(stored["controller"]),
        history=PromptHistory({name: (vain, last) for name, (vain, last) in stored["history"].items()}),
    )
    return state, load_file(inner / "optimizer.safetensors")


def inputs_of(folder: Path) -> dict[str, str]:
    """The hashes of the inputs that a checkpoint was written with."""
    inputs: dict[str, str] = _counters(folder)["inputs"]
    return inputs


def checkpoints_in(folder: Path) -> list[Path]:
    """The checkpoints of a run, by step. CheckpointError if another version of uec-vlm wrote one."""
    found = sorted(folder.glob("step_*"), key=step_of)
    for checkpoint in found:
        _counters(checkpoint)
    return found


def step_of(checkpoint: Path) -> int:
    """The step in the name `step_N`."""
    return int(checkpoint.name.removeprefix("step_"))


def _counters(folder: Path) -> dict[str, Any]:
    """`state.json`, as far as it can be read; CheckpointError where another version wrote it."""
    try:
        stored: dict[str, Any] = json.loads((folder / "state" / "state.json").read_text(encoding="utf-8"))
        found = stored.get("format", 1)
    except (OSError, ValueError, AttributeError):
        return {}
    if found != FORMAT:
        raise CheckpointError(
            f"{folder} was written in format {found}, this version reads format {FORMAT}: resume with the version of "
            f"uec-vlm that wrote it, or begin a new run from its weights with model.path={folder}."
        )
    return stored


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
