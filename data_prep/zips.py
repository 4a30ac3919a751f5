"""Read InterGPS archives in place: nothing is ever extracted, and every hostile entry is refused by name."""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from data_prep.common import SPLIT_SPELLINGS, Event, RawRow, RowRefused
from data_prep.intergps import DIAGRAM, MAX_FILE_BYTES, RECORD, ReadFile, by_number, intergps_rows
from uec_vlm.errors import DataError

MAX_RATIO = 100
RATIO_FROM_BYTES = 2**20  # a small file may well be all zeros
MAX_TOTAL_BYTES = 64 * 2**30

Rows = Iterator[RawRow | Event]


@dataclass
class _Problem:
    """The entries of one problem folder, and why it is refused, if it is."""

    entries: dict[str, zipfile.ZipInfo] = field(default_factory=dict)
    refusal: RowRefused | None = None


@dataclass
class _Contents:
    splits: dict[str, dict[str, _Problem]] = field(default_factory=dict)
    refused: list[Event] = field(default_factory=list)


def open_zips(paths: Sequence[Path]) -> tuple[dict[str, Callable[[], Rows]], tuple[Event, ...]]:
    """Readers of the splits in the archives, and the entries that were refused without belonging to a problem.

    The split is the name of a folder in the entry's path (`train/11/data.json`) or else the archive's own name.
    Raises `DataError` for a file that is no archive, one that claims more than `MAX_TOTAL_BYTES`, and two archives
    that hold the same split.
    """
    readers: dict[str, Callable[[], Rows]] = {}
    refused: list[Event] = []
    for path in paths:
        contents = _contents(path)
        refused += contents.refused
        for split, problems in contents.splits.items():
            if split in readers:
                raise DataError(
                    f"{path}: the split '{split}' is already in another archive beside it; keep one of them"
                )
            readers[split] = partial(_rows, path, split, problems)
    return readers, tuple(refused)


def _rows(path: Path, split: str, problems: dict[str, _Problem]) -> Rows:
    with zipfile.ZipFile(path) as archive:
        yield from intergps_rows(split, sorted(problems, key=by_number), _reader(archive, problems))


def _contents(path: Path) -> _Contents:
    """Sort the entries of an archive by split and problem; only the directory is read."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise DataError(f"{path}: not a readable zip archive ({error}); download it again") from error
    total = sum(info.file_size for info in infos)
    if total > MAX_TOTAL_BYTES:
        raise DataError(
            f"{path}: its entries claim {total} bytes, at most {MAX_TOTAL_BYTES} are read; it is refused whole"
        )
    contents = _Contents()
    for info in infos:
        if not info.is_dir():
            _file_entry(path, info, contents)
    return contents


def _file_entry(path: Path, info: zipfile.ZipInfo, contents: _Contents) -> None:
    """Put an entry with its problem; a refused one refuses its problem, or stands alone if it belongs to none."""
    refusal = entry_refusal(info)
    if refusal is not None and refusal.reason in ("zip_outside_path", "zip_absolute_path"):
        contents.refused.append(Event(f"{path.name}:{info.filename}", refusal.reason, refusal.detail))
        return
    parts = PurePosixPath(info.filename.replace("\\", "/")).parts
    if len(parts) < 2 or parts[-1] not in (RECORD, DIAGRAM) or "__MACOSX" in parts:
        if refusal is not None:
            contents.refused.append(Event(f"{path.name}:{info.filename}", refusal.reason, refusal.detail))
        return
    spelling = parts[-3] if len(parts) > 2 and parts[-3] in SPLIT_SPELLINGS else path.stem
    if spelling not in SPLIT_SPELLINGS:
        raise DataError(
            f"{path}: entry {info.filename!r} does not tell its split; name the archive train.zip, val.zip or test.zip"
        )
    problem = contents.splits.setdefault(SPLIT_SPELLINGS[spelling], {}).setdefault(parts[-2], _Problem())
    if parts[-1] in problem.entries:
        refusal = RowRefused("zip_duplicate_entry", f"{info.filename!r} stands twice in {path.name}")
    problem.entries[parts[-1]] = info
    problem.refusal = problem.refusal or refusal


def entry_refusal(info: zipfile.ZipInfo) -> RowRefused | None:
    """Why an entry must not be read, by its header alone; None if it may."""
    name = info.orig_filename.replace("\\", "/")
    parts = PurePosixPath(name).parts
    kind = stat.S_IFMT(info.external_attr >> 16)
    shown = f"{info.orig_filename[:120]!r}"
    if name.startswith("/") or (len(name) > 1 and name[1] == ":"):
        return RowRefused("zip_absolute_path", shown)
    if ".." in parts:
        return RowRefused("zip_outside_path", shown)
    if kind not in (0, stat.S_IFREG):
        return RowRefused("zip_symlink", f"{shown} has file type {kind:#o}")
    if info.file_size > MAX_FILE_BYTES:
        return RowRefused(
            "zip_absurd_size", f"{shown} claims {info.file_size} bytes; at most {MAX_FILE_BYTES} are read"
        )
    if info.file_size > RATIO_FROM_BYTES and info.file_size > MAX_RATIO * max(1, info.compress_size):
        return RowRefused("zip_absurd_ratio", f"{shown} claims {info.file_size} bytes out of {info.compress_size}")
    if info.flag_bits & 0x1:
        return RowRefused("zip_encrypted", shown)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return RowRefused("zip_unsupported_method", f"{shown} uses method {info.compress_type}")
    return None


def _reader(archive: zipfile.ZipFile, problems: dict[str, _Problem]) -> ReadFile:
    def read(problem: str, name: str) -> bytes | None:
        held = problems[problem]
        if held.refusal is not None:
            raise held.refusal
        if name not in held.entries:
            return None
        info = held.entries[name]
        try:
            with archive.open(info) as file:
                data = file.read(info.file_size + 1)
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError) as error:
            raise RowRefused("zip_unreadable", f"{info.filename!r}: {str(error)[:120]}") from error
        if len(data) != info.file_size:
            raise RowRefused("zip_unreadable", f"{info.filename!r} has not the {info.file_size} bytes that it claims")
        return data

    return read
