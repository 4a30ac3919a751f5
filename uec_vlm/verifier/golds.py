"""Golds by themselves: their canonical spelling and their numerical value."""

from __future__ import annotations

import re

from uec_vlm.verifier.chains import stated_values
from uec_vlm.verifier.extract import gold_text
from uec_vlm.verifier.grading import read
from uec_vlm.verifier.limits import LimitError
from uec_vlm.verifier.numeric import real_value
from uec_vlm.verifier.spelling import plain
from uec_vlm.verifier.values import Context, split_unit

_SPACE = re.compile(r"\s+")
_INNER_SPACE = re.compile(r"\s*([{}^_])\s*")
_TYPED_ROOT = re.compile(r"(?<![\\A-Za-z])sqrt(?=\s?\{)")
_BARE_ROOT = re.compile(r"\\sqrt ?(\d+)")
_DOLLARS = re.compile(r"^\s*\$+([^$]*)\$+\s*$")


def normalise_answer(text: str) -> str:
    """The canonical spelling of a gold: LaTeX in ASCII, no needless spaces or dollar signs, roots with braces.

    `2 \\sqrt { 221 }` becomes `2\\sqrt{221}`, `48°` becomes `48^\\circ`, `sqrt { 80 }` becomes `\\sqrt{80}`. The value
    and the kind never change: a spelling that would be read differently from the original is given up for the
    original, stripped. Text that is no mathematics comes back with single spaces, an empty text as "".
    """
    stripped = _SPACE.sub(" ", plain(text)).strip()
    undressed = _DOLLARS.sub(r"\1", stripped).strip()
    candidate = _TYPED_ROOT.sub(r"\\sqrt", undressed)
    candidate = _INNER_SPACE.sub(r"\1", candidate)
    candidate = _BARE_ROOT.sub(r"\\sqrt{\1}", candidate)
    candidate = re.sub(r"(?<=[\d}]) (?=\\(?:sqrt|pi|frac)(?![A-Za-z]))", "", candidate)
    candidate = re.sub(r"(?<=\d) / (?=\d)", "/", candidate)
    try:
        trees = read(stripped)[0]
        same = bool(trees) and read(candidate)[0] == trees
    except LimitError:
        same = False
    return candidate if same else stripped


def answer_value(text: str) -> float | None:
    """The value of a gold that is one real number (without its unit; 48° is 48, 50% is 50), else None."""
    try:
        trees = read(gold_text(text))[0]
        for tree in trees[:1]:
            for value in stated_values(tree, Context())[:1]:
                return real_value(split_unit(value)[0])
    except LimitError:
        pass
    return None
