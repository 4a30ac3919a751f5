"""The pictures of a row, however its source keeps them: encoded bytes, a path beside the table, an archive's entry."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from data_prep.common import RowRefused, shown
from data_prep.intergps import read_bounded
from data_prep.zips import entry_refusal
from uec_vlm.errors import DataError

ARCHIVES = ("images.zip", "image.zip")

_Entry = tuple[zipfile.ZipFile, zipfile.ZipInfo]


class PictureShelf:
    """Reads pictures by the names that rows give them: under `folder`, or in its `images.zip`, which stays packed.

    A name that leads out of the folder is refused: a data file never makes us open a path of its choice. In an archive
    a path counts before any shorter name, and a name that several entries could have is refused.
    """

    def __init__(self, folder: Path) -> None:
        """Nothing is opened before a picture is asked for."""
        self._folder = folder

    def pictures(self, given: Any) -> tuple[bytes, ...]:
        """The encoded pictures of a cell: nothing, one, or a list of bytes, names or `{"bytes", "path"}`."""
        if given is None or given == "":
            return ()
        return tuple(self._picture(one) for one in (given if isinstance(given, list | tuple) else [given]))

    def _picture(self, given: Any) -> bytes:
        if isinstance(given, Mapping):  # how the `datasets` library writes an Image
            given = given.get("bytes") or given.get("path")
        if isinstance(given, bytes) and given:
            return given
        if not isinstance(given, str) or not given:
            raise RowRefused("missing_image", f"the row holds no image bytes and no file name but {shown(given)}")
        return self.read(given)

    def read(self, name: str) -> bytes:
        """The bytes of the file `name`; raises `RowRefused` where it is missing, too large or outside."""
        parts = inside(name)
        data = read_bounded(self._folder.joinpath(*parts), "image_absurd_size")
        if data is None:
            data = self._packed("/".join(parts))
        if data is None:
            raise RowRefused("missing_image", f"{shown(name)} is not there")
        return data

    @cached_property
    def _entries(self) -> tuple[dict[str, _Entry], dict[str, list[_Entry]]]:
        """Entries of the archives by their paths, and by the other names that a row may give them."""
        paths: dict[str, _Entry] = {}
        others: dict[str, list[_Entry]] = {}
        for file in (self._folder / name for name in ARCHIVES if (self._folder / name).is_file()):
            try:
                archive = zipfile.ZipFile(file)
            except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
                raise DataError(f"{file}: not a readable zip archive ({error}); download it again") from error
            inner = {_parts(info.filename): info for info in archive.infolist() if not info.is_dir()}
            tops = {parts[:-1][:1] for parts in inner if parts[:1] != ("__MACOSX",)}
            wrapped = len(tops) == 1 and () not in tops
            for parts, info in inner.items():
                paths.setdefault("/".join(parts), (archive, info))
                for name in _other_names(parts, file.stem, wrapped=wrapped):
                    others.setdefault(name, []).append((archive, info))
        return paths, others

    def _packed(self, name: str) -> bytes | None:
        paths, others = self._entries
        found = [paths[name]] if name in paths else others.get(name, [])
        if len(found) > 1:
            inner = ", ".join(repr(info.filename) for _, info in found[:3])
            raise RowRefused("missing_image", f"{shown(name)} may be {inner}; give the path inside the archive")
        if not found:
            return None
        archive, info = found[0]
        refusal = entry_refusal(info)
        if refusal is not None:
            raise refusal
        try:
            return archive.read(info)
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError) as error:
            raise RowRefused("zip_unreadable", f"{info.filename!r}: {str(error)[:120]}") from error


def _parts(name: str) -> tuple[str, ...]:
    return PurePosixPath(name.replace("\\", "/")).parts


def _other_names(parts: tuple[str, ...], archive: str, *, wrapped: bool) -> Iterator[str]:
    """What an entry may be called beside its path.

    Without its first folder (the archive was packed with the folder around it); behind the archive's own name (it is
    to be unpacked into `images/`); and behind that instead of the first folder where all entries have the same one.
    """
    shorter = "/".join(parts[1:])
    yield from {shorter, "/".join((archive, *parts)), *((f"{archive}/{shorter}",) if wrapped else ())} - {""}


def inside(name: str) -> tuple[str, ...]:
    """The parts of a relative path; raises `RowRefused` for one that leads out of its folder."""
    parts = _parts(name)
    if ".." in parts or name.startswith(("/", "\\")) or ":" in name or "\0" in name:
        raise RowRefused("image_outside_source", f"image is {shown(name)}")
    return parts
