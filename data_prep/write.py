"""Stream samples to Parquet in row groups, with settings that give the same bytes for the same rows."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from uec_vlm.records import Sample

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("images", pa.list_(pa.binary())),
        ("problem", pa.string()),
        ("answer", pa.string()),
        ("choices", pa.list_(pa.string())),
        ("answer_value", pa.float64()),
        ("metadata", pa.string()),
    ]
)
GROUP_ROWS = 256
GROUP_BYTES = 4 * 2**20

# Pictures are compressed already; dictionaries and statistics of them cost time and bring nothing.
_TEXT_COLUMNS = ("id", "source", "problem", "answer", "choices.list.element", "answer_value", "metadata")
_SETTINGS: dict[str, Any] = {
    "compression": {"images.list.element": "NONE", **dict.fromkeys(_TEXT_COLUMNS, "ZSTD")},
    "compression_level": dict.fromkeys(_TEXT_COLUMNS, 3),
    "use_dictionary": ["source"],
    "write_statistics": ["id", "answer_value"],
    "version": "2.6",
    "data_page_version": "1.0",
    "store_schema": True,
}


class SplitWriter:
    """Holds the rows of the current row group; a full group (by rows or picture bytes) is written at once."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        """Take an open Parquet writer; `split_writer` makes one."""
        self._writer = writer
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0
        self.rows = 0

    def write(self, sample: Sample) -> None:
        """Append a sample."""
        self._rows.append(as_row(sample))
        self._bytes += sum(len(image) for image in sample.images)
        self.rows += 1
        if len(self._rows) >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the rows held as a row group."""
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=SCHEMA))
        self._rows, self._bytes = [], 0


@contextmanager
def split_writer(path: Path) -> Iterator[SplitWriter]:
    """A writer to `path`; what an exception interrupts leaves no file behind."""
    try:
        with pq.ParquetWriter(path, SCHEMA, **_SETTINGS) as parquet:
            writer = SplitWriter(parquet)
            yield writer
            writer.flush()
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def as_row(sample: Sample) -> dict[str, Any]:
    """The columns of a sample; `metadata` is JSON with sorted keys."""
    return {
        "id": sample.id,
        "source": sample.source,
        "images": list(sample.images),
        "problem": sample.problem,
        "answer": sample.answer,
        "choices": list(sample.choices),
        "answer_value": sample.answer_value,
        "metadata": json.dumps(sample.metadata, sort_keys=True, allow_nan=False),
    }


def write_manifest(path: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest in one move, so that a half-written one is never seen."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(manifest, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


def file_sha256(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
