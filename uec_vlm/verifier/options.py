"""Multiple choice: option letters against values, and back."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from uec_vlm.verifier.spelling import plain

LETTERS = "ABCDEFGHIJ"

_DRESS_NAMES = (
    "text textbf textrm textit mathrm mathbf mathit mbox rm bf boldsymbol bm left right boxed fbox underline "
    "displaystyle large Large"
)
_DRESS = re.compile(rf"\\(?:{'|'.join(_DRESS_NAMES.split())})\b|[{{}}$*~]|\\[()\[\],;:! ]")
_LEAD = re.compile(r"^\s*(?:(?:the|correct|final|option|choice|answer|letter|is|:)\s*)*", re.IGNORECASE)
_LETTER = re.compile(
    r"[(\[]?\s*([A-Ja-j])\s*"
    r"(\)\s*[.:]?|[.:)\]]|(?=$)|(?:=|\\approx\b)(?=\s*\S)|,(?=\s)|(?<=\s)-(?=\s)|(?<=\s)(?=[\d\\(]))\s*(.*)$",
    re.DOTALL,
)
_OTHER_LETTER = re.compile(r"(?<![^\s,;(\[])(?:[A-J]\s*[.):]|[(\[]\s*[A-J]\s*[)\]]|(?:or|and|,|/)?\s*[A-J]\W*$)")
_DOUBT = re.compile(
    r"\b(?:wrong|incorrect|maybe|perhaps|possibly|not\s+(?:sure|certain|correct|right))\b", re.IGNORECASE
)
_LABEL = re.compile(r"\s*\(?([A-J])\s*[.):]\s*(?=\S)")
_VALUE_AND_LETTER = re.compile(
    r"(.*[^\s({\\])\s*(?:\\(?:text|mathrm|textbf)\s*\{\s*)?\(\s*([A-J])\s*\)\s*\}?\s*", re.DOTALL
)
_LETTER_AND_TEXT = re.compile(r"\(?[A-J]\s*[.)]\s*\S")


@dataclass(frozen=True)
class Picked:
    """A letter that an answer names, and the text behind it ("B. 10"). equated: with an equals sign before the text."""

    letter: str
    rest: str
    equated: bool = False


@dataclass(frozen=True)
class Target:
    """What a gold means among its options: the letter (None: none given), the text of the value, the wrong texts."""

    letter: str | None
    value: str | None
    others: tuple[str, ...] = ()


def picked_letter(answer: str, *, lowercase: bool) -> Picked | None:
    """The option letter that an answer consists of, or starts with."""
    if len(answer) > 400:
        return None
    text = plain(answer)
    bare, places = _undressed(text)
    lead = _LEAD.match(bare).end() if len(bare.strip()) > 2 else len(bare) - len(bare.lstrip())  # type: ignore[union-attr]
    found = _LETTER.match(bare, lead)
    if found is None or (found.group(1).islower() and not lowercase):
        return None
    letter = found.group(1).upper()
    if not found.group(3).strip():
        return Picked(letter, "")
    last = (found.end(2) if found.group(2) else found.end(1)) - 1
    rest = text[places[last] + 1 :].removeprefix("\\right").lstrip(" .:)]}=~*")
    return Picked(letter, _balanced(rest), found.group(2).strip() in ("=", r"\approx"))


def _undressed(text: str) -> tuple[str, Sequence[int]]:
    """The text without its dress, and where each character that is left stands in it."""
    found = list(_DRESS.finditer(text))
    if not found:
        return text, range(len(text))
    places: list[int] = []
    at = 0
    for dress in found:
        places += range(at, dress.start())
        at = dress.end()
    places += range(at, len(text))
    return "".join(text[place] for place in places), places


def other_letters(rest: str) -> bool:
    """Whether the text behind an option letter names another option, or takes the first one back."""
    return bool(_OTHER_LETTER.search(rest) or _DOUBT.search(rest))


def unlabelled(choices: Sequence[str]) -> Sequence[str]:
    """The choices without letters of their own, where each carries its own: "A. 9", "B. 10"."""
    labels = [_LABEL.match(choice) for choice in choices]
    if len(choices) < 2 or not all(found and found.group(1) == LETTERS[i : i + 1] for i, found in enumerate(labels)):
        return choices
    return [choice[found.end() :] for choice, found in zip(choices, labels, strict=True) if found]


def value_and_letter(answer: str) -> tuple[str, str] | None:
    """The text and the letter of an answer like "10 (B)"."""
    found = _VALUE_AND_LETTER.fullmatch(answer) if len(answer) <= 400 else None
    return (found.group(1), found.group(2)) if found else None


def _balanced(text: str) -> str:
    """The text without closing braces that nothing opened."""
    out: list[str] = []
    depth = 0
    for char in text:
        if char == "}":
            if depth == 0:
                continue
            depth -= 1
        elif char == "{":
            depth += 1
        out.append(char)
    return "".join(out).strip()


def same_option(picked: Picked, choices: Sequence[str], same: Callable[[str, str], bool]) -> bool:
    """Whether the text behind a letter is the text of that option."""
    place = LETTERS.index(picked.letter)
    return place < len(choices) and same(choices[place], picked.rest)


def target(gold: str, choices: Sequence[str] | None, same: Callable[[str, str], bool]) -> Target:
    """What the gold means: a letter among the options, an option's text, or a value of its own.

    same: a function (a, b) -> bool that tells whether two texts are the same answer exactly.
    """
    bare = _DRESS.sub("", plain(gold)).strip().strip("().")
    letter = bare if len(bare) == 1 and bare in LETTERS else None
    both = picked_letter(gold, lowercase=False) if _LETTER_AND_TEXT.match(bare) else None
    if both is not None and both.rest and (not choices or same_option(both, choices, same)):
        letter = both.letter
        if not choices:
            return Target(letter, both.rest)
    if not choices:
        return Target(letter, None if letter else gold)
    known = LETTERS[: len(choices)]
    if (
        letter is not None
        and letter in known
        and not (letter in choices and all(len(choice.strip()) == 1 and choice.strip().isalpha() for choice in choices))
    ):
        index = known.index(letter)
    else:
        index = next((i for i, choice in enumerate(choices) if choice.strip() == gold.strip()), -1)
        if index < 0:
            index = next((i for i, choice in enumerate(choices) if same(gold, choice)), -1)
    if index < 0:
        return Target(None, gold, tuple(choices))
    value = choices[index]
    wrong = tuple(c for i, c in enumerate(choices) if i != index and c.strip() != value.strip())
    return Target(known[index] if index < len(known) else None, value, wrong)
