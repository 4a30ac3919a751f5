"""What passes between the parts of data preparation: raw rows, what became of them, and the account of it all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from data_prep.reasons import NOTES, REFUSALS, REPAIRS
from uec_vlm.errors import DataError
from uec_vlm.records import Sample

Purpose = Literal["training", "evaluation only"]
TRAINING: Purpose = "training"
EVALUATION: Purpose = "evaluation only"

SPLITS = ("train", "validation", "test")
SPLIT_SPELLINGS = {
    "train": "train",
    "val": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
}


@dataclass(frozen=True)
class RawRow:
    """One row as the source has it.

    split: one of `SPLITS`. place: where it stands in the source, for reports (`train/11`).
    fields: the parsed record. images: encoded pictures, unchecked.
    """

    split: str
    place: str
    layout: str
    fields: Mapping[str, Any]
    images: tuple[bytes, ...]


@dataclass(frozen=True)
class Event:
    """A row (or a part of the source) that was refused, repaired or noted; `reason` is a name of `reasons`."""

    place: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Converted:
    """A sample, and the events that its raw row caused on the way (repairs and notes)."""

    sample: Sample
    events: tuple[Event, ...] = ()


class RowRefused(DataError):
    """A row that cannot be used. `reason` is a name of `reasons.REFUSALS`, `detail` shows the value."""

    def __init__(self, reason: str, detail: str) -> None:
        """Keep the reason's name and the detail beside the message."""
        super().__init__(f"{reason}: {detail} ({REFUSALS[reason]})")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Source:
    """An opened source: a layout that was recognised, and a way to read each split in a fixed order.

    name: the last part of the path or the Hub id, as the manifest keeps it (no folders of the user's machine).
    read: yields the rows of a split; what cannot even become a raw row comes as a refusal event.
    refused: refusals that belong to no row, such as an archive entry that points outside.
    path: the file or folder that is read; None where it is not the user's own.
    told: lines for the terminal about what was found.
    """

    layout: str
    name: str
    splits: tuple[str, ...]
    read: Callable[[str], Iterator[RawRow | Event]]
    refused: tuple[Event, ...] = ()
    revision: str | None = None
    path: Path | None = None
    told: tuple[str, ...] = ()


@dataclass(frozen=True)
class DatasetSpec:
    """A data set that can be prepared.

    convert: raw row in, sample out (pure); raises `RowRefused`.
    sources: tried in order on a local path; each returns None where the layout is not its own.
    layouts: the accepted sources in words, for help and errors.
    about: what kind of problems. purpose: `TRAINING` or `EVALUATION`; training on the latter is refused by the trainer.
    rows: the published size. schema: the public source, with revision, that the columns were taken from.
    hub_id: the Hub data set in one of the layouts, or None; hub_files: the files of it that are downloaded.
    """

    convert: Callable[[RawRow], Converted]
    sources: tuple[Callable[[Path], Source | None], ...]
    layouts: tuple[str, ...]
    licence: str
    citation: str
    about: str
    purpose: Purpose
    rows: str
    schema: str
    hub_id: str | None = None
    hub_files: tuple[str, ...] = ("*.parquet",)


LISTED = 10_000
"""How many rows an account names for one reason; all are counted."""


@dataclass
class Account:
    """The rows of one reason: how many, and the first `LISTED` of them."""

    count: int = 0
    events: list[Event] = field(default_factory=list)

    def enter(self, event: Event) -> None:
        """Count an event, and keep it while there is room."""
        self.count += 1
        if len(self.events) < LISTED:
            self.events.append(event)


@dataclass
class Ledger:
    """The account of a preparation: which rows were refused, repaired or noted, under which name.

    It holds places and short texts, never pictures, and a bounded number of them for each reason.
    """

    refused: dict[str, Account] = field(default_factory=dict)
    repaired: dict[str, Account] = field(default_factory=dict)
    noted: dict[str, Account] = field(default_factory=dict)

    def enter(self, event: Event) -> None:
        """File an event under its reason; an unknown reason is a fault of ours."""
        for names, accounts in ((REFUSALS, self.refused), (REPAIRS, self.repaired), (NOTES, self.noted)):
            if event.reason in names:
                accounts.setdefault(event.reason, Account()).enter(event)
                return
        raise KeyError(f"data_prep.reasons has no entry '{event.reason}'")


def shown(value: object, limit: int = 80) -> str:
    """A value as an error message shows it: its repr, cut at `limit` characters."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
