"""Samples out of the Parquet files of data_prep, read row by row from a memory-mapped table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

from uec_vlm.errors import DataError
from uec_vlm.records import Sample

COLUMNS = ("id", "source", "images", "problem", "answer", "choices", "answer_value", "metadata")


class SampleStore(Sequence[Sample]):
    """A lazy sequence of samples: a row is read from the mapped table when it is asked for, and not kept."""

    def __init__(self, table: Any, path: Path, rows: Sequence[int] | None = None) -> None:
        """Take a `datasets.Dataset` with the columns of data_prep; `path` and `rows` (of the file) are named in errors.

        rows: the row of the file that each sample is, None where all are there in their order.
        """
        self._table = table
        self._path = path
        self._rows = rows if rows is not None else range(len(table))

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._table)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> SampleStore: ...
    def __getitem__(self, index: int | slice) -> Sample | SampleStore:
        """Return one sample, or a lazy part for a slice."""
        if isinstance(index, slice):
            return self.take(range(len(self))[index])
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return _sample(self._table[place], self.where(place))

    def __iter__(self) -> Iterator[Sample]:
        """Read the samples in order."""
        return (self[place] for place in range(len(self)))

    def take(self, places: Iterable[int]) -> SampleStore:
        """Return a lazy part: the samples at these places, in this order."""
        kept = list(places)
        return SampleStore(self._table.select(kept), self._path, [self._rows[place] for place in kept])

    def faults(self) -> dict[int, str]:
        """What is wrong with the samples whose gold is empty, or whose id an earlier one has. No picture is read."""
        table = self._table.select_columns(["id", "answer"]).to_dict()
        first: dict[str, int] = {}
        found = {}
        for place, (name, answer) in enumerate(zip(table["id"], table["answer"], strict=True)):
            if first.setdefault(str(name), place) != place:
                found[place] = (
                    f"{self.where(place)}: the id '{name}' is that of row {self._rows[first[str(name)]]} too."
                )
            elif not _gold(answer).strip():
                found[place] = f"{self.where(place)} (id '{name}'): its gold is empty, so no answer to it is right."
        return found

    def where(self, place: int) -> str:
        """File and row of the sample at this place, for a message."""
        return f"{self._path} row {self._rows[place]}"


def load_samples(path: str | Path) -> SampleStore:
    """Open a Parquet file of data_prep. Memory does not grow with its rows. Raises DataError by name."""
    from datasets import Dataset
    from datasets.exceptions import DatasetGenerationError
    from datasets.utils.logging import disable_progress_bar

    file = Path(path)
    _check_file(file)
    disable_progress_bar()
    try:
        table = Dataset.from_parquet(str(file), cache_dir=str(_mapped_folder(file)))
    except (OSError, ValueError, DatasetGenerationError) as error:
        reason = error.__cause__ or error
        raise DataError(f"{file}: cannot be read ({reason}). Make it again with `python -m data_prep`.") from error
    return SampleStore(table, file)


def _mapped_folder(file: Path) -> Path:
    """Where the mapped table of these very bytes is kept: `datasets` itself knows a file by path and time only."""
    from datasets import config

    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return Path(config.HF_DATASETS_CACHE) / "uec_vlm" / digest[:32]


def _check_file(file: Path) -> None:
    """Read the file's footer only, so that what is wrong is said in our words."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not file.is_file():
        inside = sorted(one.name for one in file.glob("*.parquet")) if file.is_dir() else []
        meant = f"It is a folder; name one of {inside} in it." if inside else "Make it with `python -m data_prep`."
        raise DataError(f"{file}: there is no such file. {meant}")
    try:
        footer = pq.read_metadata(file)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{file}: not a Parquet file ({error}). Make it again with `python -m data_prep`.") from error
    found = footer.schema.to_arrow_schema().names
    missing = [name for name in COLUMNS if name not in found]
    if missing:
        raise DataError(f"{file}: the columns {', '.join(missing)} are missing. Make it with `python -m data_prep`.")
    if footer.num_rows == 0:
        raise DataError(f"{file}: there are no rows in it. Look into the manifest.json beside it for what was refused.")


def _sample(row: dict[str, Any], place: str) -> Sample:
    try:
        return Sample(
            id=str(row["id"]),
            source=str(row["source"]),
            problem=str(row["problem"]),
            answer=_gold(row["answer"]),
            images=tuple(_image_bytes(image) for image in row["images"] or ()),
            choices=tuple(row["choices"] or ()),
            answer_value=None if row["answer_value"] is None else float(row["answer_value"]),
            metadata=_metadata(row["metadata"]),
        )
    except (TypeError, ValueError, KeyError) as error:
        raise DataError(
            f"{place} (id '{row.get('id')}'): not a sample ({error}). Make the file again with data_prep."
        ) from error


def _gold(answer: Any) -> str:
    return "" if answer is None else str(answer)


def _image_bytes(image: Any) -> bytes:
    data = image.get("bytes") if isinstance(image, dict) else image
    if not isinstance(data, bytes):
        raise TypeError(f"a picture is {type(data).__name__}, not bytes")
    return data


def _metadata(text: str | None) -> dict[str, Any]:
    found = json.loads(text) if text else {}
    if not isinstance(found, dict):
        raise TypeError(f"metadata is {type(found).__name__}, not an object")
    return found
