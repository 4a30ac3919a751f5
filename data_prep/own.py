"""Your own data: any table of problems, with a YAML file that says which column is what.

    problem: question            # the column with the question (required)
    answer: gold                 # the column with the gold, or with the letter of the right choice (required)
    images: [picture, detail]    # columns with pictures: a path, several in a list, bytes, or the Hub's Image
    choices: options             # a column with a list of choices, or one column for each: [A, B, C, D]
    id: name                     # a column with short plain names; without it rows are numbered
    split: part                  # a column with train, validation or test; without it the file's name tells
    metadata: [level, topic]     # columns to keep
    name: my_set                 # what the set is called (default: own)
    purpose: training            # or "evaluation only"
    licence: CC BY 4.0           # kept in the manifest
    citation: Me, 2026

Only `problem` and `answer` must be there; a key that does not exist is refused.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from data_prep.common import (
    SPLIT_SPELLINGS,
    SPLITS,
    TRAINING,
    Converted,
    DatasetSpec,
    Event,
    Purpose,
    RawRow,
    RowRefused,
    Source,
    shown,
)
from data_prep.pictures import PictureShelf
from data_prep.shaping import LETTERS, Repairs, choice_sample, open_sample, plain_key
from data_prep.tables import SUFFIXES, Record, read_table, spelled
from uec_vlm.errors import ConfigError, DataError
from uec_vlm.sections import read_yaml
from uec_vlm.verifier import normalise_answer

_HUB_SUFFIXES = (*SUFFIXES, ".zip", ".png", ".jpg", ".jpeg")
HUB_FILES = tuple(f"*{suffix}" for suffix in (*_HUB_SUFFIXES, *map(str.upper, _HUB_SUFFIXES)))
_ROW = "number of the row in its split"
_HELD_OUT = {
    "test": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
}
"""Words of a file's name that say that its rows are held out, and for which split."""
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


class Mapped(BaseModel):
    """The mapping of columns; see the top of this file for each key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    problem: str
    answer: str
    images: tuple[str, ...] = ()
    choices: str | tuple[str, ...] | None = None
    id: str | None = None
    split: str | None = None
    metadata: tuple[str, ...] = ()
    name: str = "own"
    purpose: Literal["training", "evaluation only"] = TRAINING
    licence: str = "not stated"
    citation: str = "not stated"

    @field_validator("images", mode="before")
    @classmethod
    def _one_or_many(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str) else given

    @field_validator("name")
    @classmethod
    def _plain(cls, given: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", given):
            raise ValueError("a name of letters, digits, _ and - is needed")
        return given

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that must be there."""
        choices = (self.choices,) if isinstance(self.choices, str) else self.choices or ()
        named = (self.problem, self.answer, *self.images, *choices, self.id, self.split, *self.metadata)
        return tuple(dict.fromkeys(name for name in named if name is not None))


@dataclass(frozen=True)
class _File:
    path: Path
    split: str


def load_mapping(path: Path) -> Mapped:
    """The mapping in a YAML file; raises `ConfigError` with key, value, reason and remedy."""
    if not path.is_file():
        raise ConfigError(f"--mapping {path}: there is no such file; docs/your_own_data.md shows one")
    try:
        return Mapped.model_validate(read_yaml(path))
    except ValidationError as error:
        lines = [_explained(dict(fault)) for fault in error.errors()]
        raise ConfigError(f"--mapping {path} is refused:\n" + "\n".join(f"  {line}" for line in lines)) from None


def _explained(fault: dict[str, Any]) -> str:
    key, known = str(fault["loc"][0]), sorted(Mapped.model_fields)
    if fault["type"] == "extra_forbidden":
        close = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        return f"{key} = {fault['input']!r}: there is no such key; {hint}accepted: {known}."
    if fault["type"] == "missing":
        return f"{key}: is missing; name the column that holds it."
    return f"{key} = {fault['input']!r}: {str(fault['msg']).removeprefix('Value error, ')}."


def own_spec(mapping: Mapped) -> DatasetSpec:
    """A data set by a mapping, as the registry has them."""
    purpose: Purpose = mapping.purpose
    return DatasetSpec(
        convert=partial(convert, mapping=mapping),
        sources=(partial(open_own, mapping=mapping),),
        layouts=(
            "a Parquet, JSON, JSON lines or CSV file, a folder of them, or a Hub id (user/name, user/name@COMMIT)",
        ),
        licence=mapping.licence,
        citation=mapping.citation,
        about="own data",
        purpose=purpose,
        rows="as the source has",
        schema="the mapping file",
        hub_files=HUB_FILES,
    )


def open_own_source(mapping: Mapped, source: str) -> Source:
    """The table behind a path, or behind a Hub id where there is no such path."""
    spec, path = own_spec(mapping), Path(source).expanduser()
    if not path.exists() and _HUB_ID.fullmatch(source):
        from data_prep.hub import open_hub

        hub_id, _, revision = source.partition("@")
        return open_hub(spec, hub_id, revision or None)
    opened = open_own(path, mapping=mapping) if path.exists() else None
    if opened is None:
        raise DataError(f"--source {source}: there is no such table. Give {spec.layouts[0]}")
    return replace(opened, path=path)


def open_own(path: Path, *, mapping: Mapped) -> Source | None:
    """The tables at a path; a file whose name tells no split is `train`, unless a column tells it.

    Raises `DataError` for a name that may be meant for a held-out split and is none of its spellings.
    """
    files = _files(path, named=mapping.split is None)
    if not files:
        return None
    shelf = PictureShelf(path if path.is_dir() else path.parent)
    splits, refused = _splits(files, mapping)

    def read(split: str) -> Iterator[RawRow | Event]:
        running = 0
        for file in files:
            if mapping.split is None and file.split != split:
                continue
            for number, record in read_table(file.path, columns=mapping.columns):
                if mapping.split is None or _row_split(record, mapping.split) == split:
                    yield _raw(split, _place(file.path, number), running, record, mapping, shelf)
                    running += 1

    found = tuple(split for split in SPLITS if split in splits)
    told = _told(files, found, mapping)
    return Source(layout="own", name=path.name, splits=found, read=read, refused=refused, told=told)


def _told(files: list[_File], splits: tuple[str, ...], mapping: Mapped) -> tuple[str, ...]:
    """Which files go into which split."""
    if mapping.split is not None:
        return (f"split by the column '{mapping.split}': {_names(files)}",)
    return tuple(f"{split}: from {_names([one for one in files if one.split == split])}" for split in splits)


def _names(files: list[_File], limit: int = 6) -> str:
    more = f" and {len(files) - limit} more" if len(files) > limit else ""
    return ", ".join(file.path.name for file in files[:limit]) + more


def _splits(files: list[_File], mapping: Mapped) -> tuple[set[str], tuple[Event, ...]]:
    """The splits that the files or their `split` column tell, and the rows whose column tells none."""
    if mapping.split is None:
        return {file.split for file in files}, ()
    splits, refused = set[str](), []
    for file in files:
        for number, record in read_table(file.path, columns=mapping.columns):
            split = _row_split(record, mapping.split)
            if split is not None:
                splits.add(split)
                continue
            detail = "the line is no row" if isinstance(record, RowRefused) else shown(record.get(mapping.split))
            refused.append(Event(_place(file.path, number), "missing_field", f"column '{mapping.split}': {detail}"))
    return splits, tuple(refused)


def _files(path: Path, *, named: bool) -> list[_File]:
    """The tables at a path. named: their names tell the split."""
    found = [path] if path.is_file() else sorted([*path.glob("*"), *path.glob("data/*")])
    tables = [file for file in found if file.suffix.lower() in SUFFIXES]
    return [_File(file, _file_split(file) if named else "train") for file in tables]


def _file_split(file: Path) -> str:
    """The split that a name tells, `train` where it tells none."""
    name = file.name.lower()
    matched = (split for split, patterns in spelled().items() if any(fnmatch(name, pattern) for pattern in patterns))
    split = next(matched, "train")
    for word in re.split(r"[\W\d_]+", name.removesuffix(file.suffix.lower())):
        if _HELD_OUT.get(word, split) != split:
            raise DataError(
                f"--source {file}: '{word}' in its name says that its rows are held out, but they would go into "
                f"{split}. Names begin with {', '.join(SPLIT_SPELLINGS)} and a dot or a dash ({_HELD_OUT[word]}-1"
                f"{file.suffix}): rename the file, or name the column with the split (`split: COLUMN` in the mapping)"
            )
    return split


def _row_split(record: Record | RowRefused, column: str) -> str | None:
    given = None if isinstance(record, RowRefused) else record.get(column)
    return SPLIT_SPELLINGS.get(given.strip().lower()) if isinstance(given, str) else None


def _place(file: Path, number: int) -> str:
    """File and row, counted from 1 as a reader of the file counts rows (a header is none)."""
    return f"{file.name} row {number + 1}"


def _raw(
    split: str, place: str, running: int, record: Record | RowRefused, mapping: Mapped, shelf: PictureShelf
) -> RawRow | Event:
    try:
        if isinstance(record, RowRefused):
            raise record
        pictures = tuple(one for column in mapping.images for one in _column(record, column, shelf))
    except RowRefused as refused:
        return Event(place, refused.reason, refused.detail)
    fields = {name: record.get(name) for name in mapping.columns}
    return RawRow(split, place, "own", {**fields, _ROW: f"row-{running:05d}"}, pictures)


def _column(record: Record, column: str, shelf: PictureShelf) -> tuple[bytes, ...]:
    try:
        return shelf.pictures(_listed(record.get(column)))
    except RowRefused as refused:
        raise RowRefused(refused.reason, f"column '{column}': {refused.detail}") from refused


def _listed(given: Any) -> Any:
    """A text that is a JSON list becomes the list, as CSV files must spell it; anything else stays."""
    if isinstance(given, str) and given.lstrip().startswith("["):
        try:
            found = json.loads(given)
        except ValueError:
            return given
        return found if isinstance(found, list) else given
    return given


def convert(raw: RawRow, *, mapping: Mapped) -> Converted:
    """A row as a sample by the mapping; raises `RowRefused` that names the column and the value."""
    made = _sample(raw, mapping)
    if not mapping.images or raw.images:
        return made
    columns = " and ".join(f"'{name}'" for name in mapping.images)
    return replace(made, events=(*made.events, Event(raw.place, "no_picture", f"column {columns}")))


def _sample(raw: RawRow, mapping: Mapped) -> Converted:
    repairs, fields = Repairs(raw.place), raw.fields
    text, answer = _text(fields, mapping.problem), _text(fields, mapping.answer)
    key = fields[_ROW] if mapping.id is None else plain_key(fields[mapping.id], fields[_ROW], repairs)
    metadata = {name: _kept(fields[name]) for name in mapping.metadata}
    choices = _choices(fields, mapping)
    if not choices:
        return open_sample(
            raw, name=mapping.name, key=key, text=text, answer=answer, repairs=repairs, metadata=metadata
        )
    return choice_sample(
        raw,
        name=mapping.name,
        key=key,
        text=text,
        choices=choices,
        letter=_letter(answer, choices, mapping.answer),
        repairs=repairs,
        metadata=metadata,
    )


def _text(fields: Mapping[str, Any], column: str) -> str:
    given = fields[column]
    if isinstance(given, int | float) and not isinstance(given, bool):
        return str(given)
    if not isinstance(given, str) or not given.strip():
        raise RowRefused("missing_field", f"column '{column}' is {shown(given)}; a text or a number is needed")
    return given


def _choices(fields: Mapping[str, Any], mapping: Mapped) -> list[Any]:
    if mapping.choices is None:
        return []
    if isinstance(mapping.choices, str):
        given = _listed(fields[mapping.choices])
        if given in (None, "", []):
            return []
        if not isinstance(given, list):
            raise RowRefused("missing_field", f"column '{mapping.choices}' is {shown(given)}; a list is needed")
        return given
    given = ["" if fields[name] is None else fields[name] for name in mapping.choices]
    while given and given[-1] == "":  # a row with fewer choices; an empty place before others keeps its letter
        given.pop()
    return given


def _letter(answer: str, choices: list[Any], column: str) -> str:
    """The letter of the right choice: the answer itself, or the letter of the choice whose text is the answer.

    An answer that is the letter of one choice and the text of another is refused.
    """
    spelled_choices = [normalise_answer(str(one)) for one in choices][: len(LETTERS)]
    letter, gold = answer.strip().strip("().").upper(), normalise_answer(answer)
    named = {letter} & set(LETTERS[: len(choices)])
    if gold in spelled_choices:
        named.add(LETTERS[spelled_choices.index(gold)])
    said = f"column '{column}' is {shown(answer)}, the choices are {shown(choices)}"
    if len(named) > 1:
        raise RowRefused(
            "two_answers", f"{said}: it is the letter of one and the text of another; order them by letter"
        )
    if not named:
        raise RowRefused("answer_not_a_choice", said)
    return named.pop()


def _kept(given: Any) -> Any:
    """A value for `metadata`: as it is where JSON can hold it, else its text."""
    try:
        json.dumps(given, allow_nan=False)
    except (TypeError, ValueError):
        return str(given)
    return given
