"""Read a data set that is a table: Parquet, JSON, JSON lines or CSV files whose names tell the split.

A few rows are in memory at a time; a `.json` file is one value and is read whole, so its size is bounded.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_prep.common import SPLIT_SPELLINGS, SPLITS, Event, RawRow, RowRefused, Source
from data_prep.intergps import MAX_RECORD_BYTES, parse_record
from data_prep.parquet import parquet_rows
from data_prep.pictures import PictureShelf
from uec_vlm.errors import DataError

SUFFIXES = (".parquet", ".jsonl", ".json", ".csv", ".tsv")
"""In order of preference, where a split is there in several."""
MAX_JSON_BYTES = 512 * 2**20

Record = Mapping[str, Any]
Numbered = Iterator[tuple[int, Record | RowRefused]]
"""Rows with their number in the file (0 for the first), and lines that are no row."""


def spelled(splits: Mapping[str, str] = SPLIT_SPELLINGS) -> dict[str, tuple[str, ...]]:
    """File-name patterns of each split: `train.*` and `train-*` for every spelling."""
    patterns: dict[str, tuple[str, ...]] = {}
    for spelling, split in splits.items():
        patterns[split] = (*patterns.get(split, ()), f"{spelling}.*", f"{spelling}-*")
    return patterns


@dataclass(frozen=True)
class TableLayout:
    """Where the rows of a published table stand and what they need.

    columns: must be there. images: the columns that hold pictures; the first that is there is read; empty for text.
    files: split -> patterns of file names. folders: where to look, relative to the source.
    """

    columns: tuple[str, ...]
    images: tuple[str, ...] = ()
    files: Mapping[str, tuple[str, ...]] = field(default_factory=spelled)
    folders: tuple[str, ...] = (".", "data")

    def open(self, path: Path) -> Source | None:
        """The source at a folder, or at one file of it; None where no file of this layout is there."""
        files = {split: found for split in SPLITS if (found := self._files(path, split))}
        if not files:
            return None
        shelf = PictureShelf(path if path.is_dir() else path.parent)

        def read(split: str) -> Iterator[RawRow | Event]:
            number = 0
            for file in files[split]:
                for _, record in read_table(file, columns=self.columns, one_of=self.images):
                    yield _row(split, number, record, self.images, shelf)
                    number += 1

        layout = next(iter(files.values()))[0].suffix.removeprefix(".")
        return Source(layout=layout, name=path.name, splits=tuple(files), read=read)

    def _files(self, path: Path, split: str) -> list[Path]:
        if path.is_file():
            named = any(fnmatch(path.name, pattern) for pattern in self.files.get(split, ()))
            alone = len(self.files) == 1 and split in self.files
            return [path] if path.suffix in SUFFIXES and (named or alone) else []
        found = sorted(
            file
            for folder in self.folders
            for pattern in self.files.get(split, ())
            for file in (path / folder).glob(pattern)
            if file.suffix in SUFFIXES
        )
        best = min((SUFFIXES.index(file.suffix) for file in found), default=None)
        return [] if best is None else list(dict.fromkeys(file for file in found if file.suffix == SUFFIXES[best]))


def _row(
    split: str, number: int, record: Record | RowRefused, images: tuple[str, ...], shelf: PictureShelf
) -> RawRow | Event:
    place = f"{split}/{number:05d}"
    try:
        if isinstance(record, RowRefused):
            raise record
        column = next((name for name in images if record.get(name) is not None), None)
        pictures = shelf.pictures(record[column]) if column is not None else ()
    except RowRefused as refused:
        return Event(place, refused.reason, refused.detail)
    fields = {name: value for name, value in record.items() if name not in images}
    return RawRow(split, place, "table", fields, pictures)


def read_table(file: Path, *, columns: tuple[str, ...] = (), one_of: tuple[str, ...] = ()) -> Numbered:
    """The rows of a file. Raises `DataError` where it cannot be read or `columns` (or all of `one_of`) are missing."""
    readers: dict[str, Callable[[Path], Numbered]] = {
        ".parquet": _parquet,
        ".jsonl": read_lines,
        ".json": _json,
        ".csv": _csv,
        ".tsv": _csv,
    }
    kind = file.suffix.lower()
    if kind not in readers:
        raise DataError(f"{file}: files of kind '{file.suffix}' are not read; give one of {', '.join(readers)}")
    checked = False
    try:
        for number, record in readers[kind](file):
            if not checked and not isinstance(record, RowRefused):
                _check_columns(file, list(record), columns, one_of)
                checked = True
            yield number, record
    except (OSError, UnicodeDecodeError, ValueError, TypeError, csv.Error, pa.ArrowException) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{file}: its rows cannot be read ({type(error).__name__}: {str(error)[:200]}); get the file again"
        ) from error


def _check_columns(file: Path, names: list[str], columns: tuple[str, ...], one_of: tuple[str, ...]) -> None:
    missing = [column for column in columns if column not in names]
    if one_of and not set(one_of) & set(names):
        missing.append(" or ".join(one_of))
    if missing:
        raise DataError(
            f"{file}: the columns {missing} are missing; it has {names}{_separator(file, names)}. "
            f"This data set needs {[*columns, *([' or '.join(one_of)] if one_of else [])]}"
        )


def _tabs(file: Path) -> bool:
    return file.suffix.lower() == ".tsv"


def _separator(file: Path, names: list[str]) -> str:
    """A question for a table of which one column was read, whose name looks like several; else nothing."""
    needed, others = ("tab", ",;|") if _tabs(file) else ("comma", ";\t|")
    other = next((sign for sign in others if len(names) == 1 and sign in names[0]), None)
    if file.suffix.lower() not in (".csv", ".tsv") or other is None:
        return ""
    return f" (is the separator a {needed}? The one column {names[0]!r} looks like several separated by {other!r})"


def _parquet(file: Path) -> Numbered:
    yield from enumerate(parquet_rows(file))


def read_lines(file: Path) -> Numbered:
    """One JSON object a line; empty lines are passed over, a line that is too long ends it with `DataError`."""
    with file.open("rb") as lines:
        number = -1
        while line := lines.readline(MAX_RECORD_BYTES + 1):
            number += 1
            if len(line) > MAX_RECORD_BYTES:
                raise DataError(f"{file} line {number + 1}: longer than {MAX_RECORD_BYTES} bytes; this is no such file")
            if not line.strip():
                continue
            try:
                yield number, parse_record(line)
            except RowRefused as refused:
                yield number, refused


def _json(file: Path) -> Numbered:
    if (size := file.stat().st_size) > MAX_JSON_BYTES:
        raise DataError(f"{file}: {size} bytes are too many to read whole; write it as JSON lines (.jsonl)")
    value = json.loads(file.read_text(encoding="utf-8-sig"), strict=False, parse_constant=lambda _: None)
    records = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(records, list):
        raise DataError(f"{file}: a list of rows, or an object of rows, is needed")
    for number, record in enumerate(records):
        wrong = RowRefused("broken_record", f"row {number} is no object but {type(record).__name__}")
        yield number, record if isinstance(record, dict) else wrong


def _csv(file: Path) -> Numbered:
    csv.field_size_limit(MAX_RECORD_BYTES)
    with file.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, delimiter="\t" if _tabs(file) else ",", strict=True)
        for number, record in enumerate(reader):
            if None in record or None in record.values():
                width = len(reader.fieldnames or ())
                hint = _separator(file, list(reader.fieldnames or ()))
                yield number, RowRefused("broken_record", f"line {reader.line_num} has not the {width} columns{hint}")
            else:
                yield number, record
