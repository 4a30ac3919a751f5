"""Answers that are words: compared letter by letter after folding case, dress and filling words."""

from __future__ import annotations

import re

from uec_vlm.verifier.lexer import Token, tokens
from uec_vlm.verifier.limits import LimitError, ParseError, words
from uec_vlm.verifier.spelling import plain

_FILLING = words("the a an is are it its it's they be this that of answer final so therefore thus")
_NOUNS = words("figure shape by postulate theorem criterion rule")
_KINDS = {
    "triangle": "triangle", "triangles": "triangle", "quadrilateral": "quadrilateral", "polygon": "polygon",
    "congruence": "congruence", "similarity": "similarity",
}  # fmt: skip
_OPPOSITES = {"yes": "no", "no": "yes", "true": "false", "false": "true"}
_EXPLAINS = words(", ; : - because since as it they this these that the")  # what may follow a yes or a no
_TAKES_BACK = words("or but wrong incorrect maybe perhaps sometimes")
_LIMITS = words("not if unless only")  # ... where it follows at once: "yes, if"
_SPACING = re.compile(r"(?:[\s$~]|\\[ ,;:!]|\\(?:left|right|quad|qquad)(?![A-Za-z]))+")
_NEEDLESS = re.compile(r" (?!\w)|(?<!\w) ")


def squeeze(text: str) -> str:
    """The text without white space, dollar signs and spacing commands: equal spellings become equal strings."""
    text = _NEEDLESS.sub("", _SPACING.sub(" ", plain(text)))
    return text[:-1] if text.endswith(".") and not text.endswith("..") else text


def fold(text: str) -> list[str]:
    """The words and signs of a text, in lower case, without dress; [] where it cannot even be cut into tokens."""
    try:
        row = tokens(plain(text), group_digits=False)
    except (ParseError, LimitError):
        return []
    out: list[str] = []
    single = False
    for token in row:
        if token.kind != "num" and token.text in ".{}\"`'*":
            continue
        letter = token.kind == "word" and len(token.text) == 1 and token.text.isupper()
        if letter and single:
            out[-1] += token.text
        else:
            out.append(_fold(token))
        single = letter
    return out


def _fold(token: Token) -> str:
    """Lower case, except for labels of points."""
    return token.text if token.text.isupper() and len(token.text) < 4 else token.text.casefold()


def same_words(gold: str, answer: str) -> bool:
    """Whether two texts say the same in the same words."""
    g, a = fold(gold), fold(answer)
    if not g or not a:
        return False
    if g == a or [w.casefold() for w in g] == [w.casefold() for w in a]:
        return True
    g, a = [w for w in g if w not in _FILLING] or g, [w for w in a if w not in _FILLING] or a
    if g == a:
        return True
    if len(g) == 1 and g[0] in _OPPOSITES:
        return a[0] == g[0] and _says_so(g[0], fold(answer))
    g_kinds, a_kinds = {_KINDS[w] for w in g if w in _KINDS}, {_KINDS[w] for w in a if w in _KINDS}
    if not (g_kinds <= a_kinds or a_kinds <= g_kinds):
        return False
    needless = _NOUNS | _KINDS.keys()
    g_bare, a_bare = [w for w in g if w not in needless], [w for w in a if w not in needless]
    return bool(g_bare) and g_bare == a_bare


def _says_so(verdict: str, parts: list[str]) -> bool:
    """Whether the words behind a yes, no, true or false only explain it: "No, they differ", not "No solution"."""
    behind = parts[parts.index(verdict) + 1 :]
    if not behind:
        return True
    if behind[0] not in _EXPLAINS or set(behind) & (_TAKES_BACK | {_OPPOSITES[verdict]}):
        return False
    return not any(word in _LIMITS for word in behind[1:2])


def is_text(text: str) -> bool:
    """Whether a gold that is no mathematics is words (and not broken mathematics)."""
    parts = fold(text)
    return any(len(part) > 1 and part.isalpha() for part in parts) and "\\frac" not in text and len(text) <= 400
