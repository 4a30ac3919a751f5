"""Recognise a source by its layout. Problem folders are read in `intergps`, archives in `zips`, the Hub in `hub`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from data_prep.common import SPLIT_SPELLINGS, SPLITS, DatasetSpec, Event, RawRow, Source
from data_prep.intergps import DIAGRAM, RECORD, by_number, folder_reader, intergps_rows
from data_prep.zips import open_zips
from uec_vlm.errors import DataError


def open_source(name: str, spec: DatasetSpec, source: str) -> Source:
    """The source behind a path or a Hub id; raises `DataError` that lists what would have been accepted."""
    accepted = "; ".join(spec.layouts)
    path = Path(source).expanduser()
    if path.exists():
        for opener in spec.sources:
            opened = opener(path)
            if opened is not None:
                return replace(opened, path=path)
        held = sorted(one.name for one in path.iterdir())[:6] if path.is_dir() else [path.name]
        raise DataError(
            f"--source {source}: no layout of {name} is found there (it holds {held}). Give one of: {accepted}"
        )
    hub_id, _, revision = source.partition("@")
    if spec.hub_id is not None and hub_id == spec.hub_id:
        from data_prep.hub import open_hub

        return open_hub(spec, hub_id, revision or None)
    raise DataError(f"--source {source}: there is no such file or folder. Give one of: {accepted}")


def open_intergps(path: Path) -> Source | None:
    """InterGPS folders and archives: `path` holds `train|val|test` or `train|val|test.zip`, or is one of them.

    Where a split is there both as a folder and as an archive, the folder is read.
    """
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
