"""Read `images, problem, answer` rows from a Hub data set or from a local copy of its Parquet files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.common import SPLIT_SPELLINGS, SPLITS, Event, RawRow, RowRefused, Source, shown
from uec_vlm.errors import DataError

COLUMNS = ["images", "problem", "answer"]
BATCH_ROWS = 16
READ_BUFFER_BYTES = 2**20

Load = Callable[[str], Iterator[Mapping[str, Any]]]
"""Split -> its rows, with the pictures as encoded bytes; each call reads them anew."""


def open_hub(hub_id: str, revision: str | None) -> Source:
    """The data set `hub_id` through `datasets.load_dataset`, which downloads it once and keeps it in its cache.

    `revision`: a branch, tag or commit; give a commit for bytes that never change. Raises `DataError` where it cannot
    be loaded.
    """
    import datasets

    try:
        loaded = datasets.load_dataset(hub_id, revision=revision)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"--source {hub_id}: the Hub data set cannot be loaded ({type(error).__name__}: {str(error)[:200]}). "
            "Without a network, give a folder with a copy of its Parquet files, or the Inter-GPS folders or archives"
        ) from error
    spelled = {SPLIT_SPELLINGS[name]: name for name in loaded if name in SPLIT_SPELLINGS}

    def load(split: str) -> Iterator[Mapping[str, Any]]:
        data = loaded[spelled[split]]
        _check_columns(f"{hub_id}, split '{split}'", list(data.column_names))
        encoded = data.select_columns(COLUMNS).cast_column("images", datasets.List(datasets.Image(decode=False)))
        yield from encoded

    return _source(hub_id, "hub", spelled, load, revision)


def open_parquet(path: Path) -> Source | None:
    """A folder with `train-*.parquet`, `validation-*.parquet`, `test-*.parquet` (also in `data/`), or one such file.

    A few rows are read at a time; the memory that takes is bounded by the largest row group of the files.
    """
    files: dict[str, list[Path]] = {}
    candidates = [path] if path.is_file() else [*path.glob("*.parquet"), *path.glob("data/*.parquet")]
    for file in sorted(candidates):
        spelling = file.name.removesuffix(".parquet").split("-")[0]
        if file.suffix == ".parquet" and spelling in SPLIT_SPELLINGS:
            files.setdefault(SPLIT_SPELLINGS[spelling], []).append(file)
    if not files:
        return None

    def load(split: str) -> Iterator[Mapping[str, Any]]:
        for file in files[split]:
            with pq.ParquetFile(file, pre_buffer=False, buffer_size=READ_BUFFER_BYTES) as parquet:
                _check_columns(str(file), parquet.schema_arrow.names)
                for batch in parquet.iter_batches(batch_size=BATCH_ROWS, columns=COLUMNS):
                    yield from batch.to_pylist()

    return _source(path.name, "hub_parquet", files, load, None)


def _check_columns(place: str, names: list[str]) -> None:
    if missing := [column for column in COLUMNS if column not in names]:
        raise DataError(f"{place}: the columns {missing} are missing; it has {names}. This data set needs {COLUMNS}")


def _source(name: str, layout: str, splits: Mapping[str, object], load: Load, revision: str | None) -> Source:
    if not splits:
        raise DataError(f"{name}: none of the splits {', '.join(SPLITS)} is in it")

    def read(split: str) -> Iterator[RawRow | Event]:
        try:
            for number, fields in enumerate(load(split)):
                yield _row(split, number, fields)
        except (OSError, ValueError, TypeError, pa.ArrowException) as error:
            raise DataError(
                f"{name}, split '{split}': its rows cannot be read ({type(error).__name__}: {str(error)[:200]}); "
                "download the files again"
            ) from error

    found = tuple(split for split in SPLITS if split in splits)
    return Source(layout=layout, name=name, splits=found, read=read, revision=revision)


def _row(split: str, number: int, fields: Mapping[str, Any]) -> RawRow | Event:
    place = f"{split}/{number:05d}"
    given = fields["images"]
    try:
        images = tuple(_bytes(one) for one in (given if isinstance(given, list) else [given]))
    except RowRefused as refused:
        return Event(place, refused.reason, refused.detail)
    return RawRow(split, place, "hub", {name: fields[name] for name in ("problem", "answer")}, images)


def _bytes(image: Any) -> bytes:
    """The encoded picture. A path instead of bytes is refused: a data file never makes us open a path of its choice."""
    data = image.get("bytes") if isinstance(image, Mapping) else image
    if not isinstance(data, bytes) or not data:
        raise RowRefused("missing_image", f"the row holds no image bytes but {shown(image)}")
    return data
