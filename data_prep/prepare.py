"""Turn an opened source into Parquet files and a manifest; a row at a time."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data_prep.common import (
    SPLITS,
    Account,
    Converted,
    DatasetSpec,
    Event,
    Ledger,
    RawRow,
    RowRefused,
    Source,
    shown,
)
from data_prep.images import check_image
from data_prep.leakage import LeakageIndex
from data_prep.reasons import NOTES, REFUSALS, REPAIRS
from data_prep.write import file_sha256, split_writer, write_manifest
from uec_vlm.errors import DataError
from uec_vlm.records import IMAGE_PLACEHOLDER, Sample

MANIFEST = "manifest.json"
MANIFEST_FORMAT = 1
_PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,120}")

GradeCheck = Callable[[Sample], None]
"""Raises `RowRefused` where the verifier disagrees with the gold or with a wrong choice."""


@dataclass(frozen=True)
class SplitCount:
    """Rows of a split that were read, written and refused."""

    read: int
    written: int
    refused: int


def prepare(
    name: str, spec: DatasetSpec, source: Source, out: Path, *, grade_check: GradeCheck | None
) -> dict[str, Any]:
    """Write the Parquet files and the manifest, and return the manifest.

    Files are written beside their final names and moved there when all are complete, so a run that fails leaves an
    earlier preparation as it was. Raises `DataError` if `out` cannot be used or if no row at all is accepted.
    """
    _check_out(out, source)
    ledger, leakage, seen = Ledger(), LeakageIndex(), set[str]()
    for event in source.refused:
        ledger.enter(event)
    partials = {split: out / f"{split}.parquet.partial" for split in source.splits}
    try:
        counts = {}
        for split, partial in partials.items():
            counts[split] = _write_split(spec, source, split, partial, ledger, leakage, seen, grade_check)
        if not seen:
            raise DataError(f"{source.name}: {_nothing_accepted(ledger)}")
        for split, partial in partials.items():
            os.replace(partial, out / f"{split}.parquet")
    finally:
        for partial in partials.values():
            partial.unlink(missing_ok=True)
    manifest = _manifest(name, spec, source, out, counts, ledger, leakage, graded=grade_check is not None)
    write_manifest(out / MANIFEST, manifest)
    return manifest


def _check_out(out: Path, source: Source) -> None:
    if source.path is not None:
        _refuse_source(out, source.path)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"--out {out}: the folder cannot be made ({error}); choose another") from error
    stale = sorted(one.name for one in out.glob("*.parquet") if one.stem not in source.splits)
    if stale:
        raise DataError(
            f"--out {out}: it holds {stale}, which this source ({', '.join(source.splits)}) would leave there to be "
            "taken for a part of it; choose an empty folder or remove them"
        )


def _refuse_source(out: Path, path: Path) -> None:
    """Raise `DataError` where what is written would replace what is read, or be read as a part of it the next time."""
    read = path.resolve()
    written = [out.resolve() / name for name in (*(f"{split}.parquet" for split in SPLITS), MANIFEST)]
    tables = (read, read / "data") if read.is_dir() else ()
    if out.resolve() in tables or read in written:
        raise DataError(
            f"--out {out}: --source {path} is read from there, so its files would be replaced or mixed with the "
            "prepared ones; choose another folder"
        )


def _nothing_accepted(ledger: Ledger, shown_rows: int = 3) -> str:
    """Why no row was accepted: the counts by reason, and some rows, those of different reasons first."""
    if not ledger.refused:
        return "the table has no rows, nothing is written. Look whether it is the right one, and whole"
    counts = {reason: account.count for reason, account in ledger.refused.items()}
    ranked = [(rank, event) for account in ledger.refused.values() for rank, event in enumerate(account.events)]
    first = [event for _, event in sorted(ranked, key=lambda one: one[0])][:shown_rows]
    lines = [f"\n  {event.place}: {event.detail} ({REFUSALS[event.reason]})" for event in first]
    return f"no row was accepted, nothing is written. Refused, by reason: {counts}; the first:{''.join(lines)}"


def _write_split(
    spec: DatasetSpec,
    source: Source,
    split: str,
    path: Path,
    ledger: Ledger,
    leakage: LeakageIndex,
    seen: set[str],
    grade_check: GradeCheck | None,
) -> SplitCount:
    read = written = 0
    with split_writer(path) as writer:
        for raw in source.read(split):
            read += 1
            try:
                converted = accept(spec, raw, seen, grade_check)
            except RowRefused as refused:
                ledger.enter(Event(raw.place, refused.reason, refused.detail))
                continue
            for event in converted.events:
                ledger.enter(event)
            seen.add(converted.sample.id)
            leakage.add(split, converted.sample)
            writer.write(converted.sample)
            written += 1
    return SplitCount(read, written, read - written)


def accept(spec: DatasetSpec, raw: RawRow | Event, seen: set[str], grade_check: GradeCheck | None) -> Converted:
    """Convert a raw row and check what every data set must keep; raises `RowRefused`.

    `seen` holds the ids accepted so far. `metadata["image_sizes"]` is added: [width, height] of each picture.
    """
    if isinstance(raw, Event):
        raise RowRefused(raw.reason, raw.detail)
    converted = spec.convert(raw)
    sample = converted.sample
    if not _PLAIN_ID.fullmatch(sample.id):
        raise RowRefused("bad_id", f"id {shown(sample.id)}")
    if sample.id in seen:
        raise RowRefused("duplicate_id", f"id {sample.id!r} is taken by an earlier row")
    placeholders = sample.problem.count(IMAGE_PLACEHOLDER)
    if placeholders != len(sample.images):
        raise RowRefused("placeholder_mismatch", f"{placeholders} placeholders, {len(sample.images)} images")
    infos = [check_image(image) for image in sample.images]
    if grade_check is not None:
        grade_check(sample)
    sizes = [[info.width, info.height] for info in infos]
    return replace(converted, sample=replace(sample, metadata={**sample.metadata, "image_sizes": sizes}))


def _manifest(
    name: str,
    spec: DatasetSpec,
    source: Source,
    out: Path,
    counts: dict[str, SplitCount],
    ledger: Ledger,
    leakage: LeakageIndex,
    *,
    graded: bool,
) -> dict[str, Any]:
    return {
        "format": MANIFEST_FORMAT,
        "dataset": name,
        "source": {"layout": source.layout, "name": source.name, "revision": source.revision},
        "licence": spec.licence,
        "citation": spec.citation,
        "purpose": spec.purpose,
        "about": spec.about,
        "grade_check": graded,
        "splits": {
            split: {"rows_read": count.read, "rows_written": count.written, "rows_refused": count.refused}
            for split, count in counts.items()
        },
        "files": {
            f"{split}.parquet": {
                "sha256": file_sha256(out / f"{split}.parquet"),
                "bytes": (out / f"{split}.parquet").stat().st_size,
            }
            for split in counts
        },
        "refused": _account(ledger.refused, REFUSALS),
        "repaired": _account(ledger.repaired, REPAIRS),
        "noted": _account(ledger.noted, NOTES),
        "leakage": leakage.report(),
    }


def _account(accounts: dict[str, Account], meanings: dict[str, str]) -> dict[str, Any]:
    return {
        reason: {
            "count": accounts[reason].count,
            "meaning": meanings[reason],
            "rows": [{"row": event.place, "detail": event.detail} for event in accounts[reason].events],
        }
        for reason in sorted(accounts)
    }
