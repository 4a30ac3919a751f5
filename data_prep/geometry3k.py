"""Geometry3K (Lu et al. 2021, Inter-GPS): from the authors' problem folders or archives, or from its Hub form.

InterGPS layout: `train|val|test/<id>/data.json` beside `img_diagram.png`; four choices and a letter.
Hub layout: columns `images`, `problem` ("<image>" and the annotated text), `answer` (the right choice's text).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from data_prep.common import TRAINING, Converted, DatasetSpec, RawRow, RowRefused, shown
from data_prep.shaping import (
    LETTERS,
    Repairs,
    choice_letter,
    choice_texts,
    different_choices,
    open_sample,
    row_key,
    text_of,
)
from data_prep.sources import open_intergps
from data_prep.tables import TableLayout
from data_prep.text import clean_text, without_placeholder
from uec_vlm.records import IMAGE_PLACEHOLDER, Sample

NAME = "geometry3k"


def convert(raw: RawRow) -> Converted:
    """A raw row of either layout as a sample; raises `RowRefused`.

    The normalised gold is `answer`; `metadata` keeps `answer_original`, `choices_original`, `letter_original`, and of
    the source `problem_id`, `split`, `letter`, `goal`, `graph`, `level` (this source states none: null).
    """
    return _from_intergps(raw) if raw.layout == "intergps" else _from_hub(raw)


def _from_intergps(raw: RawRow) -> Converted:
    fields, repairs = raw.fields, Repairs(raw.place)
    problem_id = _problem_id(fields, raw.place, repairs)
    text = _problem_text(fields, repairs)
    spelled = choice_texts(fields.get("choices"), repairs)
    letter = choice_letter(fields.get("answer"), len(spelled), repairs)
    place = LETTERS.index(letter)
    choices, values, gold = different_choices(spelled, place, repairs)
    precise = _precise_values(fields.get("precise_value"), len(spelled), repairs)
    _compare_values(values[gold], precise[place] if precise else None, repairs)
    metadata = {
        "problem_id": problem_id,
        "split": raw.split,
        "letter": LETTERS[gold],
        "letter_original": letter,
        "answer_original": str(fields["choices"][place]),
        "choices_original": [str(choice) for choice in fields["choices"]],
        "precise_value": precise,
        "goal": _labels(fields.get("problem_type_goal")),
        "graph": _labels(fields.get("problem_type_graph")),
        "unit": str(fields.get("unit") or ""),
        "level": None,
    }
    sample = Sample(
        id=f"{NAME}-{raw.split}-{problem_id}",
        source=NAME,
        problem=IMAGE_PLACEHOLDER + text,
        answer=choices[gold],
        images=raw.images,
        choices=tuple(choices),
        answer_value=values[gold],
        metadata=metadata,
    )
    return Converted(sample, repairs.events())


def _from_hub(raw: RawRow) -> Converted:
    row = row_key(raw)
    return open_sample(
        raw,
        name=NAME,
        key=row,
        text=text_of(raw.fields, "problem"),
        answer=text_of(raw.fields, "answer"),
        repairs=Repairs(raw.place),
        metadata={"row": int(row.removeprefix("row-")), "level": None},
    )


def _problem_id(fields: Mapping[str, Any], place: str, repairs: Repairs) -> str:
    folder = place.rsplit("/", 1)[-1]
    given = fields.get("id")
    if isinstance(given, bool) or not isinstance(given, int | str) or not str(given).strip():
        repairs.add("missing_id", detail=f"id is {shown(given)}")
        return folder
    if str(given).strip() != folder:
        repairs.add("id_differs_from_folder", detail=f"id {shown(given)} in folder {shown(folder)}")
    return str(given).strip()


def _problem_text(fields: Mapping[str, Any], repairs: Repairs) -> str:
    for name in ("annotat_text", "problem_text"):
        given = fields.get(name)
        if not isinstance(given, str):
            continue
        text, made = clean_text(given)
        text, had_placeholder = without_placeholder(text)
        if text:
            repairs.add(*made)
            if had_placeholder:
                repairs.add("placeholder_in_text")
            if name != "annotat_text":
                repairs.add("text_from_problem_text")
            return text
    raise RowRefused("empty_text", f"annotat_text is {shown(fields.get('annotat_text'))}")


def _precise_values(given: object, count: int, repairs: Repairs) -> list[float | None] | None:
    """The source's own values of the choices; texts are read as numbers where they are some."""
    if given is None:
        return None
    if not isinstance(given, list) or len(given) != count:
        repairs.add("precise_value_unusable", detail=shown(given))
        return None
    if any(not isinstance(one, int | float) or isinstance(one, bool) for one in given):
        repairs.add("precise_value_text", detail=shown(given))
    return [_number(one) for one in given]


def _number(given: object) -> float | None:
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        return None
    try:
        value = float(given)
    except (ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def _compare_values(value: float | None, precise: float | None, repairs: Repairs) -> None:
    if value is None or precise is None:
        return
    if not math.isclose(value, precise, rel_tol=5e-3, abs_tol=1e-9):
        repairs.add("precise_value_differs", detail=f"text {value:g}, precise_value {precise:g}")


def _labels(given: object) -> list[str]:
    """Goal or graph types: a list of texts; one text counts as a list of one."""
    if isinstance(given, str):
        given = [given]
    return [clean_text(str(one))[0] for one in given] if isinstance(given, list) else []


SPEC = DatasetSpec(
    convert=convert,
    sources=(open_intergps, TableLayout(columns=("problem", "answer"), images=("images",)).open),
    layouts=(
        "a folder with train/, val/, test/ of <id>/data.json and <id>/img_diagram.png (Inter-GPS), or one of these",
        "train.zip, val.zip, test.zip as published, a folder with them or one of them",
        "the Hub id hiyouga/geometry3k (hiyouga/geometry3k@COMMIT pins a revision), or a folder with a copy of its "
        "Parquet files train-*.parquet, validation-*.parquet, test-*.parquet",
    ),
    licence="MIT (lupantech/InterGPS)",
    citation="Pan Lu, Ran Gong, Shibiao Jiang, Liang Qiu, Siyuan Huang, Xiaodan Liang, Song-Chun Zhu: Inter-GPS: "
    "Interpretable Geometry Problem Solving with Formal Language and Symbolic Reasoning. ACL 2021.",
    about="plane geometry with a diagram; open answers or four choices",
    purpose=TRAINING,
    rows="2 101 train, 300 validation, 601 test",
    schema="lupantech/InterGPS (problem folders); Hub card of hiyouga/geometry3k",
    hub_id="hiyouga/geometry3k",
)
