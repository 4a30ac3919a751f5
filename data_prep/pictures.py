"""The pictures of a row, however its source keeps them: encoded bytes, a path beside the table, an archive's entry."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from data_prep.common import RowRefused, shown
from data_prep.intergps import read_bounded
from data_prep.zips import entry_refusal
from uec_vlm.errors import DataError

ARCHIVES = ("images.zip", "image.zip")


class PictureShelf:
    """Reads pictures by the names that rows give them: under `folder`, or in its `images.zip`, which stays packed.

    A name that leads out of the folder is refused: a data file never makes us open a path of its choice.
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
    def _entries(self) -> dict[str, tuple[zipfile.ZipFile, zipfile.ZipInfo]]:
        """Entries of the archives by path, and by the path without its first folder."""
        found: dict[str, tuple[zipfile.ZipFile, zipfile.ZipInfo]] = {}
        for path in (self._folder / name for name in ARCHIVES if (self._folder / name).is_file()):
            try:
                archive = zipfile.ZipFile(path)
            except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
                raise DataError(f"{path}: not a readable zip archive ({error}); download it again") from error
            for info in archive.infolist():
                parts = PurePosixPath(info.filename.replace("\\", "/")).parts
                for key in ("/".join(parts), "/".join(parts[1:])):
                    found.setdefault(key, (archive, info))
        return found

    def _packed(self, name: str) -> bytes | None:
        known = self._entries.get(name) or self._entries.get(name.partition("/")[2])
        if known is None:
            return None
        archive, info = known
        refusal = entry_refusal(info)
        if refusal is not None:
            raise refusal
        try:
            return archive.read(info)
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError) as error:
            raise RowRefused("zip_unreadable", f"{info.filename!r}: {str(error)[:120]}") from error


def inside(name: str) -> tuple[str, ...]:
    """The parts of a relative path; raises `RowRefused` for one that leads out of its folder."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if ".." in parts or name.startswith(("/", "\\")) or ":" in name or "\0" in name:
        raise RowRefused("image_outside_source", f"image is {shown(name)}")
    return parts
