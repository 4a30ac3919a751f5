"""Geometry3K (Lu et al. 2021, Inter-GPS): from the authors' problem folders or archives, or from its Hub form.

InterGPS layout: `train|val|test/<id>/data.json` beside `img_diagram.png`; four choices and a letter.
Hub layout: columns `images`, `problem` ("<image>" and the annotated text), `answer` (the right choice's text).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from data_prep.common import Converted, Event, RawRow, RowRefused, shown
from data_prep.text import clean_text, without_placeholder
from uec_vlm.records import IMAGE_PLACEHOLDER, Sample
from uec_vlm.verifier import answer_value, normalise_answer

NAME = "geometry3k"
LETTERS = "ABCDEFGHIJ"


def convert(raw: RawRow) -> Converted:
    """A raw row of either layout as a sample; raises `RowRefused`.

    The normalised gold is `answer`; `metadata` keeps `answer_original`, `choices_original`, `letter_original`, and of
    the source `problem_id`, `split`, `letter`, `goal`, `graph`, `level` (this source states none: null).
    """
    return _from_hub(raw) if raw.layout == "hub" else _from_intergps(raw)


def _from_intergps(raw: RawRow) -> Converted:
    fields, repairs = raw.fields, _Repairs(raw.place)
    problem_id = _problem_id(fields, raw.place, repairs)
    text = _problem_text(fields, repairs)
    spelled = _choice_texts(fields.get("choices"), repairs)
    letter = _letter(fields.get("answer"), len(spelled), repairs)
    place = LETTERS.index(letter)
    choices, values, gold = _different_choices(spelled, place, repairs)
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
    fields, repairs = raw.fields, _Repairs(raw.place)
    for name in ("problem", "answer"):
        if not isinstance(fields.get(name), str):
            raise RowRefused("missing_field", f"{name} is {shown(fields.get(name))}, a text is needed")
    (text, in_text), (spelled, in_answer) = clean_text(fields["problem"]), clean_text(fields["answer"])
    repairs.add(*dict.fromkeys(in_text + in_answer))
    text = place_images(text, len(raw.images), repairs)
    answer = normalise_answer(spelled)
    if not answer:
        raise RowRefused("empty_answer", f"answer is {shown(fields['answer'])}")
    row = raw.place.rsplit("/", 1)[-1]
    sample = Sample(
        id=f"{NAME}-{raw.split}-row-{row}",
        source=NAME,
        problem=text,
        answer=answer,
        images=raw.images,
        answer_value=answer_value(answer),
        metadata={"split": raw.split, "row": int(row), "answer_original": fields["answer"], "level": None},
    )
    return Converted(sample, repairs.events())


class _Repairs:
    """Collects the repairs and notes of one row."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._events: list[Event] = []

    def add(self, *reasons: str, detail: str = "") -> None:
        self._events += [Event(self._place, reason, detail) for reason in reasons]

    def events(self) -> tuple[Event, ...]:
        return tuple(self._events)


def place_images(text: str, count: int, repairs: _Repairs) -> str:
    """The text with one placeholder per image: put in front if it has none, refused if the numbers differ."""
    found = text.count(IMAGE_PLACEHOLDER)
    if not text.replace(IMAGE_PLACEHOLDER, "").strip():
        raise RowRefused("empty_text", f"the problem is {shown(text)}")
    if found == 0 and count > 0:
        repairs.add("placeholder_added")
        return IMAGE_PLACEHOLDER * count + text
    if found != count:
        raise RowRefused("placeholder_mismatch", f"{found} placeholders, {count} images")
    return text


def _problem_id(fields: Mapping[str, Any], place: str, repairs: _Repairs) -> str:
    folder = place.rsplit("/", 1)[-1]
    given = fields.get("id")
    if isinstance(given, bool) or not isinstance(given, int | str) or not str(given).strip():
        repairs.add("missing_id", detail=f"id is {shown(given)}")
        return folder
    if str(given).strip() != folder:
        repairs.add("id_differs_from_folder", detail=f"id {shown(given)} in folder {shown(folder)}")
    return str(given).strip()


def _problem_text(fields: Mapping[str, Any], repairs: _Repairs) -> str:
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


def _choice_texts(given: object, repairs: _Repairs) -> list[str]:
    if not isinstance(given, list) or any(isinstance(one, bool | list | dict | None) for one in given):
        raise RowRefused("missing_field", f"choices is {shown(given)}, a list of texts is needed")
    if not 2 <= len(given) <= len(LETTERS):
        raise RowRefused("too_few_choices", f"{len(given)} choices; between 2 and {len(LETTERS)} are expected")
    if any(not isinstance(one, str) for one in given):
        repairs.add("choice_not_text", detail=shown(given))
    cleaned = [clean_text(str(one)) for one in given]
    repairs.add(*dict.fromkeys(reason for _, made in cleaned for reason in made), detail=shown(given))
    return [text for text, _ in cleaned]


def _letter(given: object, count: int, repairs: _Repairs) -> str:
    """The letter of the right choice, A for the first."""
    if isinstance(given, list):
        if len(given) > 1:
            raise RowRefused("two_answers", f"answer is {shown(given)}")
        given = given[0] if given else None
    if not isinstance(given, str) or not given.strip():
        raise RowRefused("missing_field", f"answer is {shown(given)}, a letter is needed")
    letters: list[str] = re.findall(r"[A-Z]", given.upper())
    plain = re.sub(r"[\s().,;:/&|]|\band\b|\bor\b", "", given, flags=re.IGNORECASE)
    if len(plain) > 1 and set(plain.upper()) <= set(LETTERS[:count]):
        raise RowRefused("two_answers", f"answer is {shown(given)}")
    if len(plain) != 1 or len(letters) != 1 or letters[0] not in LETTERS[:count]:
        raise RowRefused("letter_without_choice", f"answer is {shown(given)}, there are {count} choices")
    if given != letters[0]:
        repairs.add("letter_spelling", detail=shown(given))
    return letters[0]


def _different_choices(
    original: Sequence[str], gold: int, repairs: _Repairs
) -> tuple[list[str], list[float | None], int]:
    """The normalised choices without empty and repeated ones, their values, and the place of the right one."""
    if not normalise_answer(original[gold]):
        raise RowRefused("empty_answer", f"choice {LETTERS[gold]} is {shown(original[gold])}")
    kept: list[str] = []
    values: list[float | None] = []
    right = 0
    for place, choice in enumerate(map(normalise_answer, original)):
        if not choice:
            repairs.add("empty_choice", detail=shown(original))
            continue
        value = answer_value(choice)
        twin = next((n for n in range(len(kept)) if _same(choice, value, kept[n], values[n])), None)
        if twin is None:
            kept.append(choice)
            values.append(value)
        else:
            repairs.add("duplicated_choices", detail=shown(original))
        if place == gold:
            right = len(kept) - 1 if twin is None else twin
    if len(kept) < 2:
        raise RowRefused("too_few_choices", f"choices are {shown(original)}")
    return kept, values, right


def _same(one: str, value: float | None, other: str, other_value: float | None) -> bool:
    """Equal as spelled after normalisation, or as numbers to the last digits of a float."""
    if one == other:
        return True
    if value is None or other_value is None:
        return False
    return math.isclose(value, other_value, rel_tol=1e-12, abs_tol=1e-12)


def _precise_values(given: object, count: int, repairs: _Repairs) -> list[float | None] | None:
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


def _compare_values(value: float | None, precise: float | None, repairs: _Repairs) -> None:
    if value is None or precise is None:
        return
    if not math.isclose(value, precise, rel_tol=5e-3, abs_tol=1e-9):
        repairs.add("precise_value_differs", detail=f"text {value:g}, precise_value {precise:g}")


def _labels(given: object) -> list[str]:
    """Goal or graph types: a list of texts; one text counts as a list of one."""
    if isinstance(given, str):
        given = [given]
    return [clean_text(str(one))[0] for one in given] if isinstance(given, list) else []
