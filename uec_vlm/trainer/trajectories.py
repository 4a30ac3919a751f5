"""Trajectories of queue and replay buffer as Parquet, each sample stored once; the prompts are rendered again."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from uec_vlm.records import Judged, Prompt, Rollout, Sample, Trajectory, Verdict

Placed = tuple[str, Trajectory]
_SAMPLE = pa.schema(
    [
        ("id", pa.string()), ("source", pa.string()), ("problem", pa.string()), ("answer", pa.string()),
        ("images", pa.list_(pa.binary())), ("choices", pa.list_(pa.string())), ("answer_value", pa.float64()),
        ("metadata", pa.string()),
    ]
)  # fmt: skip
_PLAIN = (
    ("place", pa.string()), ("sample", pa.int64()), ("text", pa.string()), ("finish", pa.string()),
    ("source", pa.string()), ("temperature", pa.float64()), ("policy_version", pa.int64()),
    ("completion_ids", pa.list_(pa.int64())), ("correct", pa.bool_()), ("reason", pa.string()),
    ("extracted", pa.string()), ("accuracy", pa.float64()), ("format", pa.float64()), ("reward", pa.float64()),
    ("advantage", pa.float64()), ("born", pa.int64()), ("uses", pa.int64()),
)  # fmt: skip
_NUMBERS = ("behaviour_logprobs", "old_logprobs", "importance_weights")


def write_trajectories(folder: Path, placed: Sequence[Placed]) -> None:
    """Writes `trajectories.parquet` and `samples.parquet`. placed: where a trajectory waits, and the trajectory."""
    samples: list[Sample] = []
    known: dict[str, list[int]] = {}
    rows = []
    for place, trajectory in placed:
        sample = trajectory.judged.rollout.prompt.sample
        same = [n for n in known.setdefault(sample.id, []) if samples[n] == sample]
        if not same:
            same = [len(samples)]
            samples.append(sample)
            known[sample.id] += same
        rows.append(_row(place, same[0], trajectory))
    stored = [{**asdict(sample), "metadata": json.dumps(dict(sample.metadata))} for sample in samples]
    pq.write_table(pa.Table.from_pylist(stored, schema=_SAMPLE), folder / "samples.parquet")
    pq.write_table(pa.Table.from_pylist(rows, schema=_schema(placed)), folder / "trajectories.parquet")


def read_trajectories(folder: Path, render: Callable[[Sample], Prompt]) -> list[Placed]:
    """What `write_trajectories` wrote, in its order. Trajectories of one sample share its prompt."""
    prompts = [render(_sample(row)) for row in pq.read_table(folder / "samples.parquet").to_pylist()]
    table = pq.read_table(folder / "trajectories.parquet")
    double = {name for name in _NUMBERS if table.schema.field(name).type.value_type == pa.float64()}
    return [(row["place"], _trajectory(row, prompts[row["sample"]], double)) for row in table.to_pylist()]


def _schema(placed: Sequence[Placed]) -> pa.Schema:
    """The columns; numbers of tokens keep their precision, so that they come back bit by bit."""
    tensors = {
        "behaviour_logprobs": [t.judged.rollout.behaviour_logprobs for _, t in placed],
        "old_logprobs": [t.old_logprobs for _, t in placed],
        "importance_weights": [t.importance_weights for _, t in placed],
    }
    double = {name for name, values in tensors.items() if any(value.dtype == torch.float64 for value in values)}
    numbers = [(name, pa.list_(pa.float64() if name in double else pa.float32())) for name in _NUMBERS]
    return pa.schema([*_PLAIN, *numbers])


def _sample(row: dict[str, Any]) -> Sample:
    sequences = {"images": tuple(row["images"]), "choices": tuple(row["choices"])}
    return Sample(**{**row, **sequences, "metadata": json.loads(row["metadata"])})


def _row(place: str, sample: int, trajectory: Trajectory) -> dict[str, Any]:
    judged = trajectory.judged
    rollout = judged.rollout
    return {
        "place": place,
        "sample": sample,
        "text": rollout.text,
        "finish": rollout.finish,
        "source": rollout.source,
        "temperature": rollout.temperature,
        "policy_version": rollout.policy_version,
        "completion_ids": rollout.completion_ids.tolist(),
        "behaviour_logprobs": rollout.behaviour_logprobs.tolist(),
        **asdict(judged.verdict),
        "accuracy": judged.accuracy,
        "format": judged.format,
        "reward": judged.reward,
        "advantage": trajectory.advantage,
        "old_logprobs": trajectory.old_logprobs.tolist(),
        "importance_weights": trajectory.importance_weights.tolist(),
        "born": trajectory.born,
        "uses": trajectory.uses,
    }


def _trajectory(row: dict[str, Any], prompt: Prompt, double: set[str]) -> Trajectory:
    numbers = {n: torch.tensor(row[n], dtype=torch.float64 if n in double else torch.float32) for n in _NUMBERS}
    rollout = Rollout(
        prompt=prompt,
        text=row["text"],
        completion_ids=torch.tensor(row["completion_ids"], dtype=torch.long),
        behaviour_logprobs=numbers["behaviour_logprobs"],
        finish=row["finish"],
        source=row["source"],
        temperature=row["temperature"],
        policy_version=row["policy_version"],
    )
    verdict = Verdict(row["correct"], row["reason"], row["extracted"])
    return Trajectory(
        judged=Judged(rollout, verdict, row["accuracy"], row["format"], row["reward"]),
        advantage=row["advantage"],
        old_logprobs=numbers["old_logprobs"],
        importance_weights=numbers["importance_weights"],
        born=row["born"],
        uses=row["uses"],
    )
