"""The training state beside weights: counters, queue, replay buffer, controller, optimizer moments.

A checkpoint is written whole or not at all: into a temporary folder, then renamed. What is ours is JSON, Parquet and
safetensors; nothing is unpickled.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file

from uec_vlm.errors import CheckpointError
from uec_vlm.objective import ControllerState, PromptHistory, ReplayBuffer
from uec_vlm.records import Judged, Prompt, Rollout, Sample, Trajectory, Verdict


@dataclass(frozen=True)
class TrainState:
    """Everything but weights and optimizer moments.

    step: steps done. drawn: samples drawn so far. optimizer_steps: calls of the optimizer so far.
    queue: kept trajectories that wait for a full batch, oldest first.
    """

    step: int
    drawn: int
    optimizer_steps: int
    queue: tuple[Trajectory, ...]
    replay: ReplayBuffer
    controller: ControllerState
    history: PromptHistory


def save_checkpoint(
    folder: Path,
    state: TrainState,
    optimizer: torch.optim.Optimizer,
    *,
    save_weights: Callable[[Path], object],
    trainable: Iterable[tuple[str, torch.Tensor]] | None,
) -> None:
    """Writes `folder` atomically: the weights as transformers loads them, beside `state/`.

    trainable: named trainable parameters, stored apart when the weights alone do not restore them (adapters).
    """
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    inner = temporary / "state"
    inner.mkdir(parents=True)
    save_weights(temporary)
    if trainable is not None:
        save_file({name: tensor.detach().contiguous() for name, tensor in trainable}, inner / "trainable.safetensors")
    save_file(_moments(optimizer), inner / "optimizer.safetensors")
    _write_trajectories(inner, [("queue", t) for t in state.queue] + [("replay", t) for t in state.replay.trajectories])
    counters = {"step": state.step, "drawn": state.drawn, "optimizer_steps": state.optimizer_steps}
    kept = {**counters, "controller": state.controller.to_json(), "history": dict(state.history.in_vain)}
    (inner / "state.json").write_text(json.dumps(kept, indent=2))
    _flush(temporary)
    if folder.exists():
        shutil.rmtree(folder)
    temporary.replace(folder)


def load_checkpoint(
    folder: Path, optimizer: torch.optim.Optimizer, *, render: Callable[[Sample], Prompt]
) -> TrainState:
    """Restores what `save_checkpoint` wrote, optimizer moments included; the prompts are rendered again.

    CheckpointError if a part is missing.
    """
    inner = folder / "state"
    try:
        stored = json.loads((inner / "state.json").read_text())
        _restore_moments(optimizer, load_file(inner / "optimizer.safetensors"))
        places = _read_trajectories(inner, render)
    except (OSError, json.JSONDecodeError, KeyError) as error:
        raise CheckpointError(f"{folder} is not a whole checkpoint: {error}. Resume from an earlier one.") from error
    return TrainState(
        step=stored["step"],
        drawn=stored["drawn"],
        optimizer_steps=stored["optimizer_steps"],
        queue=tuple(t for place, t in places if place == "queue"),
        replay=ReplayBuffer(tuple(t for place, t in places if place == "replay")),
        controller=ControllerState.from_json(stored["controller"]),
        history=PromptHistory({name: (vain, last) for name, (vain, last) in stored["history"].items()}),
    )


def newest_checkpoint(checkpoints: Path) -> Path:
    """The whole checkpoint with the highest step; CheckpointError if there is none."""
    whole = [path for path in checkpoints.glob("step_*") if (path / "state" / "state.json").is_file()]
    if not whole:
        raise CheckpointError(
            f"{checkpoints} holds no checkpoint; set checkpoint.every, or start anew without --resume."
        )
    return max(whole, key=step_of)


def step_of(checkpoint: Path) -> int:
    """The step in the name `step_N`."""
    return int(checkpoint.name.removeprefix("step_"))


def _moments(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    stored = optimizer.state_dict()["state"]
    return {f"{i}.{key}": value.contiguous() for i, entry in stored.items() for key, value in entry.items()}


def _restore_moments(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        index, key = name.split(".")
        state.setdefault(int(index), {})[key] = tensor.clone()
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _write_trajectories(inner: Path, placed: Sequence[tuple[str, Trajectory]]) -> None:
    samples = {t.judged.rollout.prompt.sample.id: t.judged.rollout.prompt.sample for _, t in placed}
    rows = [{**asdict(sample), "metadata": json.dumps(dict(sample.metadata))} for sample in samples.values()]
    if rows:
        pq.write_table(pa.Table.from_pylist(rows), inner / "samples.parquet")
    (inner / "trajectories.json").write_text(json.dumps([_trajectory_row(place, t) for place, t in placed]))


def _read_trajectories(inner: Path, render: Callable[[Sample], Prompt]) -> list[tuple[str, Trajectory]]:
    rows = json.loads((inner / "trajectories.json").read_text())
    if not rows:
        return []
    prompts: dict[str, Prompt] = {}
    for row in pq.read_table(inner / "samples.parquet").to_pylist():
        restored = {**row, "images": tuple(row["images"]), "choices": tuple(row["choices"])}
        prompts[row["id"]] = render(Sample(**{**restored, "metadata": json.loads(row["metadata"])}))
    return [(row["place"], _trajectory(row, prompts[row["sample"]])) for row in rows]


def _trajectory_row(place: str, t: Trajectory) -> dict[str, Any]:
    rollout = t.judged.rollout
    return {
        "place": place,
        "sample": rollout.prompt.sample.id,
        "rollout": {
            "text": rollout.text,
            "finish": rollout.finish,
            "source": rollout.source,
            "temperature": rollout.temperature,
            "policy_version": rollout.policy_version,
        },
        "completion_ids": rollout.completion_ids.tolist(),
        "behaviour_logprobs": rollout.behaviour_logprobs.tolist(),
        "verdict": asdict(t.judged.verdict),
        "rewards": {"accuracy": t.judged.accuracy, "format": t.judged.format, "reward": t.judged.reward},
        "advantage": t.advantage,
        "old_logprobs": t.old_logprobs.tolist(),
        "importance_weights": t.importance_weights.tolist(),
        "born": t.born,
        "uses": t.uses,
    }


def _trajectory(row: dict[str, Any], prompt: Prompt) -> Trajectory:
    rollout = Rollout(
        prompt=prompt,
        completion_ids=torch.tensor(row["completion_ids"]),
        behaviour_logprobs=torch.tensor(row["behaviour_logprobs"]),
        **row["rollout"],
    )
    return Trajectory(
        judged=Judged(rollout=rollout, verdict=Verdict(**row["verdict"]), **row["rewards"]),
        advantage=row["advantage"],
        old_logprobs=torch.tensor(row["old_logprobs"]),
        importance_weights=torch.tensor(row["importance_weights"]),
        born=row["born"],
        uses=row["uses"],
    )


def _flush(folder: Path) -> None:
    """Asks the disk to keep every file before the rename makes the checkpoint visible."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
