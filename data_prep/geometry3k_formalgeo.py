"""Geometry3K problems as FormalGeo7k (Zhang et al. 2023) re-annotated them: exact open answers, no choices.

Layout: a folder with `rows.jsonl` (`id`, `split`, `problem_text_en`, `problem_answer`, `goal_cdl`, `problem_level`,
`image`) and the pictures that `image` names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from data_prep import arithmetic
from data_prep.common import (
    SPLIT_SPELLINGS,
    SPLITS,
    TRAINING,
    Converted,
    DatasetSpec,
    Event,
    RawRow,
    RowRefused,
    Source,
    shown,
)
from data_prep.pictures import PictureShelf
from data_prep.tables import read_lines
from data_prep.text import clean_text, without_placeholder
from uec_vlm.records import IMAGE_PLACEHOLDER, Sample
from uec_vlm.verifier import normalise_answer

NAME = "geometry3k_formalgeo"
ROWS = "rows.jsonl"


def convert(raw: RawRow) -> Converted:
    r"""A raw row as a sample; raises `RowRefused`.

    `180*acos(5/13)/pi` becomes `\frac{180\arccos(\frac{5}{13})}{\pi}`, and `answer_value` its value; `metadata` keeps
    `answer_original`, `problem_id`, `split`, `goal` (the kind of quantity), `goal_cdl` and `level`.
    """
    fields = raw.fields
    for name in ("problem_text_en", "problem_answer"):
        if not isinstance(fields.get(name), str):
            raise RowRefused("missing_field", f"{name} is {shown(fields.get(name))}, a text is needed")
    text, made = clean_text(fields["problem_text_en"])
    text, had_placeholder = without_placeholder(text)
    if not text:
        raise RowRefused("empty_text", f"problem_text_en is {shown(fields['problem_text_en'])}")
    answer, value = exact_answer(fields["problem_answer"])
    problem_id = str(fields["id"])
    level = fields.get("problem_level")
    goal = str(fields.get("goal_cdl") or "")
    metadata = {
        "problem_id": problem_id,
        "split": raw.split,
        "answer_original": fields["problem_answer"],
        "goal": _goal_kinds(goal),
        "goal_cdl": goal,
        "level": level if isinstance(level, int | str) else None,
    }
    sample = Sample(
        id=f"{NAME}-{raw.split}-{problem_id}",
        source=NAME,
        problem=IMAGE_PLACEHOLDER + text,
        answer=answer,
        images=raw.images,
        answer_value=value,
        metadata=metadata,
    )
    repairs = [*made, *(["placeholder_in_text"] if had_placeholder else [])]
    return Converted(sample, tuple(Event(raw.place, repair, "") for repair in repairs))


def exact_answer(given: str) -> tuple[str, float]:
    """FormalGeo's exact answer as normalised LaTeX, and its value; raises `RowRefused`."""
    try:
        expression = arithmetic.parse(given)
        return normalise_answer(arithmetic.latex(expression)), arithmetic.evaluate(expression)
    except ValueError as error:
        raise RowRefused("answer_not_understood", f"{shown(given)}: {error}") from error


def _goal_kinds(goal: str) -> list[str]:
    """`Value(Sub(LengthOfLine(AB),LengthOfLine(CD)))` -> ["LengthOfLine"]; a bare variable, `Value(x)`, has none."""
    return sorted(set(re.findall(r"[A-Z][a-z]+Of[A-Z][A-Za-z]*", goal)))


def open_formalgeo(path: Path) -> Source | None:
    """The rows of `path/rows.jsonl`, in the order of the file; lines without a usable split are refused up front."""
    file = path / ROWS
    if not file.is_file():
        return None
    splits, refused = set[str](), []
    for number, item in read_lines(file):
        place = f"line {number + 1}"
        if isinstance(item, RowRefused):
            refused.append(Event(place, item.reason, item.detail))
        elif _split(item) is None:
            refused.append(Event(place, "missing_field", f"split is {shown(item.get('split'))}"))
        else:
            splits.add(str(_split(item)))

    def read(split: str) -> Iterator[RawRow | Event]:
        return _rows(path, split)

    found = tuple(split for split in SPLITS if split in splits)
    return Source(layout="formalgeo_rows", name=path.name, splits=found, read=read, refused=tuple(refused))


def _split(record: Mapping[str, Any]) -> str | None:
    given = record.get("split")
    return SPLIT_SPELLINGS.get(given) if isinstance(given, str) else None


def _rows(folder: Path, split: str) -> Iterator[RawRow | Event]:
    shelf = PictureShelf(folder)
    for number, record in read_lines(folder / ROWS):
        if isinstance(record, RowRefused) or _split(record) != split:
            continue
        place = f"line {number + 1}"
        try:
            if not isinstance(record.get("id"), int | str) or isinstance(record["id"], bool):
                raise RowRefused("missing_field", f"id is {shown(record.get('id'))}")
            place = f"{split}/{record['id']}"
            images = shelf.pictures([record.get("image")])
        except RowRefused as refused:
            yield Event(place, refused.reason, refused.detail)
        else:
            yield RawRow(split, place, "formalgeo", record, images)


SPEC = DatasetSpec(
    convert=convert,
    sources=(open_formalgeo,),
    layouts=("a folder with rows.jsonl (FormalGeo7k's annotation of Geometry3K) and its images/",),
    licence="MIT (FormalGeo)",
    citation="Xiaokai Zhang et al.: FormalGeo: An Extensible Formalized Framework for Olympiad Geometric Problem "
    "Solving. arXiv 2310.18021, 2023.",
    about="Geometry3K problems with exact open answers and no choices",
    purpose=TRAINING,
    rows="as many as rows.jsonl has",
    schema="FormalGeo7k (BitSecret/FormalGeo), problems/*.json as rows",
)
