"""The rollout dumps of a run folder: one row per trajectory, written within a budget of bytes, read by pandas as it is.

Every file has all columns of `COLUMNS` with their types, so that `datasets` and pandas read a folder of them in a line.
Pictures lie once each beside the files, named after their hash.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uec_vlm.durable import write_bytes
from uec_vlm.errors import LeftOut

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A column of a dump. type: as pyarrow prints it."""

    name: str
    type: str
    meaning: str


COLUMNS: tuple[Column, ...] = (
    Column("step", "int32", "The step in whose dump the row is."),
    Column("id", "string", "The problem's id."),
    Column("source", "string", "regular, extra (targeted exploration) or replay (trained on again in this step)."),
    Column(
        "group",
        "int32",
        "Which prompt of the step it belongs to; extra rollouts share the number of their prompt.",
    ),
    Column("place", "int32", "Its place among the completions of its group and source."),
    Column("temperature", "float", "Of the sampling."),
    Column("policy_version", "int32", "Optimizer steps that the sampling weights had seen."),
    Column("born", "int32", "The step in which it was sampled; earlier than `step` for replays."),
    Column("uses", "int32", "Updates that it had been part of before this step's."),
    Column("problem", "string", "The question, with `<image>` where a picture stands."),
    Column("gold", "string", "The right answer."),
    Column("images", "list<element: string>", "Its pictures, as paths inside `rollouts/`."),
    Column("text", "string", "The completion without special tokens: what was judged."),
    Column("finish", "string", "stop, or length where the limit cut it."),
    Column("correct", "bool", "The verifier's word."),
    Column("reason", "string", "The verifier's reason; the set is in docs/verifier.md."),
    Column("extracted", "string", "The answer as found in the text; null if there is none."),
    Column("accuracy", "float", "Part of the reward: 1 or 0 by the verdict."),
    Column("format", "float", "Part of the reward: 1 where the asked format is kept."),
    Column("reward", "float", "By the configured weights, functions of the user's included."),
    Column(
        "shaped_reward",
        "float",
        "After the objective's shaping (length, KL): what advantages are made of; null for replays.",
    ),
    Column("advantage", "float", "In its group."),
    Column("kept", "bool", "Whether it goes into training."),
    Column("why", "string", "kept, replayed, or why not: no_advantage, below_threshold, truncated, dynamic_sampling."),
    Column(
        "prompt_accuracy",
        "float",
        "Share of right ones among the prompt's regular rollouts of that step; null for replays.",
    ),
    Column("token_ids", "list<element: int32>", "The sampled tokens, end token included."),
    Column(
        "pieces",
        "list<element: string>",
        "The text of each token, special ones too; bytes of a split character are with its first token.",
    ),
    Column(
        "behaviour_logprobs",
        "list<element: float>",
        "Log-probability of each token when it was sampled, at its temperature.",
    ),
    Column(
        "logprobs",
        "list<element: float>",
        "The same by the trainer's policy before this step's update, at the training temperature; empty if not scored.",
    ),
    Column(
        "entropies",
        "list<element: float>",
        "Exact entropy of the whole vocabulary at each token in nats, as `logprobs`; empty if not scored.",
    ),
    Column("mean_entropy", "float", "Mean of `entropies`; null if not scored."),
)


def sample_rows(rows: Sequence[Row], count: int) -> list[Row]:
    """At most `count` rows in their order: of every source, right and wrong, in proportion, and at least one of each.

    Nothing is drawn: the same rows always give the same sample.
    """
    if len(rows) <= count:
        return list(rows)
    strata: dict[tuple[Any, Any], list[int]] = {}
    for place, row in enumerate(rows):
        strata.setdefault((row.get("source"), row.get("correct")), []).append(place)
    # Small strata first, so that each gets its one row; the last takes what the roundings left.
    chosen: list[int] = []
    left, open_rows = count, len(rows)
    for places in sorted(strata.values(), key=len):
        take = min(len(places), left, max(1, round(left * len(places) / open_rows))) if left else 0
        chosen += [places[index * len(places) // take] for index in range(take)]
        left, open_rows = left - take, open_rows - len(places)
    return [rows[place] for place in sorted(chosen)]


def write_dump(folder: Path, step: int, rows: Sequence[Row], *, budget: int | None = None, dumps_left: int = 0) -> int:
    """Writes `step_<step>.parquet` and the new pictures into a folder; returns how many rows that were.

    A row's `images` are bytes; the file has their paths. budget: bytes of the whole folder, at most (None: no limit);
    this dump takes no more than its share with the `dumps_left` that are to come, by keeping fewer rows.
    """
    share = None if budget is None else max(0, budget - _size(folder)) // (dumps_left + 1)
    chosen = list(rows)
    while True:
        table = _encoded([{**row, "images": [_name(image) for image in row["images"]]} for row in chosen])
        images = {image for row in chosen for image in row["images"] if not (folder / _name(image)).exists()}
        size = len(table) + sum(len(image) for image in images)
        if share is None or size <= share or not chosen:
            break
        chosen = sample_rows(chosen, min(len(chosen) - 1, len(chosen) * share // size))
    if rows and not chosen:
        return 0
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for image in images:
        write_bytes(folder / _name(image), image)
    write_bytes(folder / f"step_{step:06d}.parquet", table)
    return len(chosen)


def read_dumps(
    folder: Path, *, steps: Sequence[int] | None = None, columns: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """The rows of all dumps, oldest step first. steps, columns: only these (None: all).

    A dump that cannot be read is left out, with a warning that names it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = []
    for file in dump_files(folder):
        if steps is not None and step_of_dump(file) not in steps:
            continue
        try:
            rows += pq.read_table(file, columns=list(columns) if columns is not None else None).to_pylist()
        except (pa.ArrowException, OSError) as error:
            warnings.warn(f"{file} is left out: it is no whole dump ({error}). Copy it again.", LeftOut, stacklevel=1)
    return rows


def dump_files(folder: Path) -> list[Path]:
    """The dumps of a folder, oldest step first."""
    return sorted(folder.glob("step_*.parquet"), key=step_of_dump)


def step_of_dump(file: Path) -> int:
    """The step in the name `step_000010.parquet`."""
    return int(file.stem.removeprefix("step_"))


def markdown_table() -> str:
    """The columns as the table that the documentation shows."""
    lines = ["| column | type | meaning |", "|---|---|---|"]
    lines += [f"| `{c.name}` | {c.type.replace('element: ', '')} | {c.meaning} |" for c in COLUMNS]
    return "\n".join(lines)


def _encoded(rows: Sequence[Row]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {
        "int32": pa.int32(), "string": pa.string(), "float": pa.float32(), "bool": pa.bool_(),
        "list<element: string>": pa.list_(pa.string()), "list<element: int32>": pa.list_(pa.int32()),
        "list<element: float>": pa.list_(pa.float32()),
    }  # fmt: skip
    schema = pa.schema([pa.field(c.name, types[c.type], metadata={"meaning": c.meaning}) for c in COLUMNS])
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), buffer, compression="zstd")
    return buffer.getvalue()


def _name(image: bytes) -> str:
    return f"images/{hashlib.sha256(image).hexdigest()[:20]}"


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
