"""What converters share: placing placeholders, reading choices and letters, building the sample, keeping account."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from data_prep.common import Converted, Event, RawRow, RowRefused, shown
from data_prep.text import clean_text
from uec_vlm.records import IMAGE_PLACEHOLDER, Sample
from uec_vlm.verifier import answer_value, normalise_answer

LETTERS = "ABCDEFGHIJ"
_PLAIN_KEY = re.compile(r"[A-Za-z0-9._-]{1,60}")
_ANSWER_TAG = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_LABEL = re.compile(r"(?:(?<=[\s;])|^)\(?([A-J])\s?(?:[.:．：、]|\))\s?")
_GOES_ON = re.compile(r"[?？]|[.!]\s+[A-Z]|[。！]\s*[A-Z\u3400-\u9fff]|\n")
_HEADER = re.compile(r"\s*\b(?:Choices|Options)\s*:\s*$", re.IGNORECASE)


class Repairs:
    """Collects the repairs and notes of one row."""

    def __init__(self, place: str) -> None:
        """Start empty; `place` is where the row stands in its source."""
        self._place = place
        self._events: list[Event] = []

    def add(self, *reasons: str, detail: str = "") -> None:
        """Enter reasons (names of `data_prep.reasons`) that share a detail."""
        self._events += [Event(self._place, reason, detail) for reason in reasons]

    def events(self) -> tuple[Event, ...]:
        """What was entered, in order."""
        return tuple(self._events)


def place_images(text: str, count: int, repairs: Repairs) -> str:
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


def choice_texts(given: object, repairs: Repairs) -> list[str]:
    """The cleaned texts of the choices; raises `RowRefused` where it is no list of 2 to 10 texts."""
    if not isinstance(given, list) or any(isinstance(one, bool | list | dict | None) for one in given):
        raise RowRefused("missing_field", f"choices is {shown(given)}, a list of texts is needed")
    if not 2 <= len(given) <= len(LETTERS):
        raise RowRefused("too_few_choices", f"{len(given)} choices; between 2 and {len(LETTERS)} are expected")
    if any(not isinstance(one, str) for one in given):
        repairs.add("choice_not_text", detail=shown(given))
    cleaned = [clean_text(str(one)) for one in given]
    repairs.add(*dict.fromkeys(reason for _, made in cleaned for reason in made), detail=shown(given))
    return [text for text, _ in cleaned]


def choice_letter(given: object, count: int, repairs: Repairs) -> str:
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


def different_choices(
    original: Sequence[str], gold: int, repairs: Repairs
) -> tuple[list[str], list[float | None], int]:
    """The normalised choices without empty and repeated ones, their values, and the place of the right one.

    Repeated is what is spelt alike after normalisation: choices that are merely equal as numbers (`1-2-3` and `1-3-2`,
    `4:6` and `2:3`) may be different answers, and are told apart or refused by the grade check.
    """
    if not normalise_answer(original[gold]):
        raise RowRefused("empty_answer", f"choice {LETTERS[gold]} is {shown(original[gold])}")
    spelled = [normalise_answer(one) for one in original]
    kept = list(dict.fromkeys(filter(None, spelled)))
    repairs.add(*["empty_choice"] * spelled.count(""), detail=shown(original))
    repairs.add(*["duplicated_choices"] * (len(spelled) - spelled.count("") - len(kept)), detail=shown(original))
    if len(kept) < 2:
        raise RowRefused("too_few_choices", f"choices are {shown(original)}")
    return kept, [answer_value(one) for one in kept], kept.index(spelled[gold])


def text_of(fields: Mapping[str, Any], name: str) -> str:
    """A field that must be a text; raises `RowRefused("missing_field")`."""
    given = fields.get(name)
    if not isinstance(given, str):
        raise RowRefused("missing_field", f"{name} is {shown(given)}, a text is needed")
    return given


def facts(fields: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Those of the named fields that are plain values or lists of texts, for `metadata`; others are left out."""
    return {name: fields[name] for name in names if name in fields and _plain(fields[name])}


def _plain(value: object) -> bool:
    if isinstance(value, list):
        return all(isinstance(one, str) for one in value)
    return isinstance(value, str | bool | int | None) or (isinstance(value, float) and math.isfinite(value))


def row_key(raw: RawRow) -> str:
    """The number of the row in its split, as a part of an id: `row-00012`."""
    return "row-" + raw.place.rsplit("/", 1)[-1]


def plain_key(given: object, otherwise: RawRow | str, repairs: Repairs) -> str:
    """The source's own id of a row where it is a short plain name, else the number of the row (or a key given)."""
    if isinstance(given, int | str) and not isinstance(given, bool) and _PLAIN_KEY.fullmatch(str(given)):
        return str(given)
    repairs.add("id_not_plain", detail=f"id is {shown(given)}")
    return otherwise if isinstance(otherwise, str) else row_key(otherwise)


def tagged_answer(text: str) -> str:
    """What stands in the last `<answer>...</answer>` of a text, as R1-V's data sets spell golds; else the text."""
    found = _ANSWER_TAG.findall(text)
    return str(found[-1]) if found else text


def unboxed(text: str) -> str:
    r"""The inside of a text that is one `\boxed{...}` and nothing else; else the text."""
    inner = text.strip().removeprefix("\\boxed{")
    if inner == text.strip() or not inner.endswith("}"):
        return text
    depth = 0
    for place, sign in enumerate(inner):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if depth < 0:
            return inner[:place] if place == len(inner) - 1 else text
    return text


def split_choices(text: str) -> tuple[str, list[str]]:
    """A text with its choices in it (`... Choices: A. 4 B. 5`) as the question and the choices.

    The labels must be A, B, C ... in order, at least two of them, each at the beginning or after a space or semicolon,
    and nothing but choices may follow: labels of a sentence with the question behind it are the question's own. Where
    it is not so, the text stays whole and there are no choices.
    """
    labels = list(_LABEL.finditer(text))
    for first in (place for place, label in enumerate(labels) if label[1] == "A"):
        run = labels[first:]
        if [label[1] for label in run] == list(LETTERS[: len(run)]) and len(run) > 1:
            ends = [label.start() for label in run[1:]] + [len(text)]
            choices = [text[label.end() : end].strip(" ;\n") for label, end in zip(run, ends, strict=True)]
            question = _HEADER.sub("", text[: run[0].start()]).strip()
            return (question, choices) if not question or _at_the_end(choices) else (text, [])
    return text, []


def _at_the_end(choices: list[str]) -> bool:
    """Whether the last choice is no longer than a choice: it goes on to another sentence only where others do too."""
    return not _GOES_ON.search(choices[-1]) or any(map(_GOES_ON.search, choices[:-1]))


def open_sample(
    raw: RawRow, *, name: str, key: str, text: str, answer: str, repairs: Repairs, metadata: Mapping[str, Any]
) -> Converted:
    """A problem with an open answer. `metadata` is joined with `split` and `answer_original`."""
    (text, in_text), (spelled, in_answer) = clean_text(text), clean_text(answer)
    repairs.add(*dict.fromkeys(in_text + in_answer))
    gold = normalise_answer(spelled)
    if not gold:
        raise RowRefused("empty_answer", f"answer is {shown(answer)}")
    sample = Sample(
        id=f"{name}-{raw.split}-{key}",
        source=name,
        problem=place_images(text, len(raw.images), repairs),
        answer=gold,
        images=raw.images,
        answer_value=answer_value(gold),
        metadata={"split": raw.split, "answer_original": answer, **metadata},
    )
    return Converted(sample, repairs.events())


def answered_sample(
    raw: RawRow, *, name: str, key: str, text: str, answer: str, repairs: Repairs, metadata: Mapping[str, Any]
) -> Converted:
    """A problem whose text may hold its choices: with a letter as the answer they are taken out, else all is kept."""
    question, choices = split_choices(text)
    letter = answer.strip().strip("().").upper()
    if choices and question and letter and letter in LETTERS[: len(choices)]:
        return choice_sample(
            raw, name=name, key=key, text=question, choices=choices, letter=letter, repairs=repairs, metadata=metadata
        )
    return open_sample(raw, name=name, key=key, text=text, answer=answer, repairs=repairs, metadata=metadata)


def choice_sample(
    raw: RawRow,
    *,
    name: str,
    key: str,
    text: str,
    choices: object,
    letter: object,
    repairs: Repairs,
    metadata: Mapping[str, Any],
) -> Converted:
    """A multiple-choice problem; `letter` names the right choice, A the first.

    `metadata` is joined with `split`, `letter`, `letter_original`, `answer_original` and `choices_original`.
    """
    spelled = choice_texts(choices, repairs)
    given = choice_letter(letter, len(spelled), repairs)
    place = LETTERS.index(given)
    kept, values, gold = different_choices(spelled, place, repairs)
    text, in_text = clean_text(text)
    repairs.add(*in_text)
    known = {
        "split": raw.split,
        "letter": LETTERS[gold],
        "letter_original": given,
        "answer_original": spelled[place],
        "choices_original": spelled,
    }
    sample = Sample(
        id=f"{name}-{raw.split}-{key}",
        source=name,
        problem=place_images(text, len(raw.images), repairs),
        answer=kept[gold],
        images=raw.images,
        choices=tuple(kept),
        answer_value=values[gold],
        metadata={**known, **metadata},
    )
    return Converted(sample, repairs.events())
