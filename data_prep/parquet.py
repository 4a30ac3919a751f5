"""Rows of a Parquet file, one after another, in memory that does not grow with the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

BATCH_ROWS = 16
READ_BUFFER_BYTES = 1 << 20


def parquet_rows(file: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Every row as a dict. columns: None for all.

    Arrow's default reads ahead and keeps what it has read until the file is closed: all pictures of a set.
    """
    with pq.ParquetFile(file, pre_buffer=False, buffer_size=READ_BUFFER_BYTES) as parquet:
        for batch in parquet.iter_batches(batch_size=BATCH_ROWS, columns=columns and list(columns)):
            yield from batch.to_pylist()
