"""Files and folders that are whole or not there: written aside, flushed to the disk, renamed, known by their hashes.

A folder made by `whole_folder` has `state/manifest.json` with the SHA-256 of each of its files; `fault_of` compares.
Standard library only.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MANIFEST = Path("state") / "manifest.json"


def write_text(file: Path, text: str) -> None:
    """`write_bytes` for text, in UTF-8."""
    write_bytes(file, text.encode())


def write_bytes(file: Path, data: bytes) -> None:
    """Replaces a file as a whole: a kill at any moment leaves the old one or the new one."""
    temporary = file.with_name(f".{file.name}.tmp")
    with temporary.open("wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(file)
    sync_folder(file.parent)


def append_line(file: Path, row: Mapping[str, Any]) -> None:
    """Appends a row as a line of JSON and asks the disk to keep it; a kill can tear the last line only."""
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(row) + "\n")
        out.flush()
        os.fsync(out.fileno())


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yields an empty folder beside `target` that takes its name when the block has ended, hashed and flushed.

    An older folder of that name is moved aside first and removed last, so that a kill loses neither: see `tidy`.
    A block that fails leaves `target` as it was.
    """
    temporary, old = target.with_name(f".{target.name}.tmp"), target.with_name(f".{target.name}.old")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        share_weights(temporary)
        _write_manifest(temporary)
        _sync_all(temporary)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
    temporary.rename(target)
    sync_folder(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def read_lines(file: Path) -> Iterator[dict[str, Any]]:
    """The rows that `append_line` wrote, in order; a last line that a kill tore is left out.

    ValueError, naming file and line, where a line before the last is no JSON.
    """
    lines = file.read_bytes().split(b"\n") if file.is_file() else []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line) if line else None
        except ValueError as error:
            if number == len(lines):
                return
            raise ValueError(f"{file} line {number}: {error}") from error
        if row is not None:
            yield row


def tidy(parent: Path) -> None:
    """Clears what a kill left in a folder of whole folders: half-written ones go, one that was moved aside returns."""
    for old in parent.glob(".*.old"):
        target = old.with_name(old.name.removeprefix(".").removesuffix(".old"))
        if target.exists():
            shutil.rmtree(old)
        else:
            old.rename(target)
    for temporary in parent.glob(".*.tmp"):
        shutil.rmtree(temporary, ignore_errors=True)


def fault_of(folder: Path) -> str | None:
    """What is wrong with a folder that `whole_folder` wrote: a file missing, altered, or not its own; None if whole."""
    try:
        listed = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        found = {str(path.relative_to(folder)) for path in _files(folder)} - {str(MANIFEST)}
        strange = sorted(found ^ set(listed))
        if strange:
            return f"{strange[0]} is {'missing' if strange[0] in listed else 'not one of its files'}"
        for name, entry in sorted(listed.items()):
            if (folder / name).stat().st_size != entry["bytes"]:
                return f"{name} has {(folder / name).stat().st_size} bytes, not {entry['bytes']}"
            if sha256_of(folder / name) != entry["sha256"]:
                return f"{name} is not what was written (SHA-256 differs)"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{MANIFEST} cannot be read ({type(error).__name__}: {error})"
    return None


def sha256_of(file: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def sha256_of_all(files: Iterable[Path]) -> str:
    """SHA-256 of a list of files: of their names and bytes, in the order given."""
    listed = "".join(f"{file.name} {sha256_of(file)}\n" for file in files)
    return hashlib.sha256(listed.encode()).hexdigest()


def share_weights(folder: Path) -> None:
    """Lets whoever may read a folder read its weights, which safetensors 0.8 writes for their owner alone (0600)."""
    allowed = folder.stat().st_mode & 0o666
    for path in folder.rglob("*.safetensors"):
        path.chmod(allowed)


def sync_folder(folder: Path) -> None:
    """Asks the disk to keep a folder's entries: without it a rename may be lost with the power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _write_manifest(folder: Path) -> None:
    files = {
        str(path.relative_to(folder)): {"sha256": sha256_of(path), "bytes": path.stat().st_size}
        for path in _files(folder)
    }
    manifest = folder / MANIFEST
    manifest.parent.mkdir(exist_ok=True)
    manifest.write_text(json.dumps({"files": files}, indent=1), encoding="utf-8")


def _sync_all(folder: Path) -> None:
    for path in _files(folder):
        with path.open("rb") as file:
            os.fsync(file.fileno())
    for inner in (*(path for path in folder.rglob("*") if path.is_dir()), folder):
        sync_folder(inner)
