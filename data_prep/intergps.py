"""InterGPS problem folders: a record and a diagram each, read with bounds, refused by name."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from data_prep.common import Event, RawRow, RowRefused, shown
from uec_vlm.errors import DataError

MAX_RECORD_BYTES = 4 * 2**20
MAX_FILE_BYTES = 64 * 2**20
RECORD, DIAGRAM = "data.json", "img_diagram.png"

ReadFile = Callable[[str, str], bytes | None]
"""(problem folder, file name) -> the file's bytes, None if there is no such file; may raise `RowRefused`."""


def by_number(name: str) -> tuple[int, int, str]:
    """Sort key of problem names: numbers by value and first, then the others by spelling."""
    return (0, int(name), name) if name.isascii() and name.isdigit() and len(name) < 19 else (1, 0, name)


def folder_reader(folder: Path) -> ReadFile:
    """Reads files of problem folders on disk; a file that is too large is refused before it is read."""

    def read(problem: str, name: str) -> bytes | None:
        return read_bounded(folder / problem / name, "broken_record" if name == RECORD else "image_absurd_size")

    return read


def read_bounded(path: Path, reason: str) -> bytes | None:
    """The bytes of a regular file, None if there is none; one that is too large is refused under `reason`, unread.

    A name that is longer than the file system allows is that of no file.
    """
    try:
        if not path.is_file():
            return None
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise RowRefused(reason, f"{path.name} has {size} bytes; at most {MAX_FILE_BYTES} are read")
        return path.read_bytes()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return None
        raise DataError(f"{shown(str(path), 200)}: cannot be read ({error.strerror}); check its permissions") from error


def intergps_rows(split: str, problems: Iterable[str], read: ReadFile) -> Iterator[RawRow | Event]:
    """The rows of a split, one problem folder at a time, in the order of `problems`."""
    for problem in problems:
        place = f"{split}/{problem}"
        try:
            record = read(problem, RECORD)
            if record is None:
                raise RowRefused("missing_record", f"{place} has no {RECORD}")
            fields = parse_record(record)
            image = read(problem, DIAGRAM)
            if image is None:
                raise RowRefused("missing_image", f"{place} has no {DIAGRAM}")
        except RowRefused as refused:
            yield Event(place, refused.reason, refused.detail)
        else:
            yield RawRow(split, place, "intergps", fields, (image,))


def parse_record(data: bytes) -> dict[str, Any]:
    """A JSON object out of untrusted bytes; raises `RowRefused("broken_record")`."""
    if len(data) > MAX_RECORD_BYTES:
        raise RowRefused("broken_record", f"{len(data)} bytes; at most {MAX_RECORD_BYTES} are parsed")
    try:
        # strict=False lets raw control characters through: cleaning the text is `text.clean_text`'s work.
        # NaN and Infinity are no JSON, but Python writes them; they become null.
        record = json.loads(data.decode("utf-8-sig"), strict=False, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        raise RowRefused("broken_record", f"{type(error).__name__}: {str(error)[:120]}") from error
    if not isinstance(record, dict):
        raise RowRefused("broken_record", f"an object is needed, found {shown(record)}")
    return record
