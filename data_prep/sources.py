"""Recognise a source by its layout, and read problem folders. Archives are in `zips`, Parquet and the Hub in `hub`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from data_prep.common import SPLIT_SPELLINGS, SPLITS, DatasetSpec, Event, RawRow, RowRefused, Source, shown
from uec_vlm.errors import DataError

MAX_RECORD_BYTES = 4 * 2**20
MAX_FILE_BYTES = 64 * 2**20
RECORD, DIAGRAM = "data.json", "img_diagram.png"

ReadFile = Callable[[str, str], bytes | None]
"""(problem folder, file name) -> the file's bytes, None if there is no such file; may raise `RowRefused`."""


def open_source(name: str, spec: DatasetSpec, source: str) -> Source:
    """The source behind a path or a Hub id; raises `DataError` that lists what would have been accepted."""
    accepted = "; ".join(spec.layouts)
    path = Path(source).expanduser()
    if path.exists():
        for opener in spec.sources:
            opened = opener(path)
            if opened is not None:
                return opened
        held = sorted(one.name for one in path.iterdir())[:6] if path.is_dir() else [path.name]
        raise DataError(
            f"--source {source}: no layout of {name} is found there (it holds {held}). Give one of: {accepted}"
        )
    hub_id, _, revision = source.partition("@")
    if spec.hub_id is not None and hub_id == spec.hub_id:
        from data_prep.hub import open_hub

        return open_hub(spec, hub_id, revision or None)
    raise DataError(f"--source {source}: there is no such file or folder. Give one of: {accepted}")


def by_number(name: str) -> tuple[int, int, str]:
    """Sort key of problem names: numbers by value and first, then the others by spelling."""
    return (0, int(name), name) if name.isascii() and name.isdigit() and len(name) < 19 else (1, 0, name)


def open_intergps(path: Path) -> Source | None:
    """InterGPS folders and archives: `path` holds `train|val|test` or `train|val|test.zip`, or is one of them.

    Where a split is there both as a folder and as an archive, the folder is read.
    """
    from data_prep.zips import open_zips

    folders = {one.name: one for one in ([path, *path.iterdir()] if path.is_dir() else [])}
    splits = {
        split: folders[spelling]
        for spelling, split in SPLIT_SPELLINGS.items()
        if spelling in folders and _holds_problems(folders[spelling])
    }
    zips = (
        [path] if path.suffix == ".zip" else [folders[s] for s in (f"{x}.zip" for x in SPLIT_SPELLINGS) if s in folders]
    )
    archives, refused = open_zips(zips) if zips else ({}, ())
    readers = {split: problems for split, problems in archives.items() if split not in splits}
    if not splits and not readers:
        return None
    layout = "intergps_folders" if not readers else "intergps_zips" if not splits else "intergps_folders_and_zips"

    def read(split: str) -> Iterator[RawRow | Event]:
        if split in splits:
            return intergps_rows(split, _problem_names(splits[split]), folder_reader(splits[split]))
        return readers[split]()

    found = tuple(split for split in SPLITS if split in splits or split in readers)
    return Source(layout=layout, name=path.name, splits=found, read=read, refused=refused)


def _holds_problems(folder: Path) -> bool:
    return folder.is_dir() and any((one / RECORD).is_file() or (one / DIAGRAM).is_file() for one in folder.iterdir())


def _problem_names(folder: Path) -> list[str]:
    return sorted(
        (one.name for one in folder.iterdir() if one.is_dir() and not one.name.startswith(".")), key=by_number
    )


def folder_reader(folder: Path) -> ReadFile:
    """Reads files of problem folders on disk; a file that is too large is refused before it is read."""

    def read(problem: str, name: str) -> bytes | None:
        return read_bounded(folder / problem / name, "broken_record" if name == RECORD else "image_absurd_size")

    return read


def read_bounded(path: Path, reason: str) -> bytes | None:
    """The bytes of a regular file, None if there is none; one that is too large is refused under `reason`, unread."""
    try:
        if not path.is_file():
            return None
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise RowRefused(reason, f"{path.name} has {size} bytes; at most {MAX_FILE_BYTES} are read")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error}); check its permissions") from error


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
