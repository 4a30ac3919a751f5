"""The text of one answer in, its syntax tree out: lists, relations, ratios, unions, then quantities.

An answer can often be read in more than one way (`1,234` is a number or two; `2m` is two metres or twice m), so
`readings` gives the trees one after another, the likeliest first. Sentences are a separate, last reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from uec_vlm.verifier.lexer import Token, has_digit_groups, tokens
from uec_vlm.verifier.limits import MAX_ANSWER_CHARS, MAX_ITEMS, LimitError, ParseError, words
from uec_vlm.verifier.nodes import Name, Node, Num, Rel, Seq
from uec_vlm.verifier.quantities import quantity
from uec_vlm.verifier.spelling import plain
from uec_vlm.verifier.vocabulary import HEADS

_OPEN = words("( [ { \\{ langle lfloor lceil")
_CLOSE = words(") ] } \\} rangle rfloor rceil")
_RELATIONS = words("= < > le ge ne approx cong sim parallel perp in equiv to")
_RELATION_WORDS = {"parallel": "parallel", "perpendicular": "perp", "congruent": "cong", "similar": "sim"}
_COPULAS = words("is are equals equal measures be was")
_IGNORED_ENDS = words(". , ; : ** \\\\ ` therefore to & equiv")
_IGNORED_STARTS = _IGNORED_ENDS | {"=", "approx", '"', "'"}
_APPROXIMATION = re.compile(  # 2\sqrt{3} (\approx 3.46)
    r"(.*\S)\s*(?:\\text\s*\{\s*)?\(\s*(?:\\text\s*\{\s*)?(?:\\approx|≈|about|approx(?:imately|\.)?)\s*\}?\s*([^()]{1,60})"
    r"\)\s*\}?\s*",
    re.DOTALL,
)
_REMARK = re.compile(  # 29.73 \text{ (rounded to two decimal places)}
    r"\s*(?:\\text\s*\{\s*)?\(\s*(?:\\text\s*\{\s*)?(?:approx(?:imately|\.)?|exact(?:ly)?|acute|obtuse|simplified"
    r"|(?:rounded|correct)\s+to\s+[\w\s]{1,40})\s*\}?\s*\)\s*\}?\s*$"
)
_RESTATED = re.compile(  # \frac{25}{2} (12.5)
    r"([^()=]{1,60}?)\s*(?:\\left\s*)?\(([^()=]{1,60}?)(?:\\right\s*)?\)\s*", re.DOTALL
)
_DECIMAL = re.compile(r"\.\d")
_EXACT_FORM = re.compile(r"frac|sqrt|\\pi|\d\s*/\s*\d|π|√")
_HEDGES = words("about approximately roughly exactly approx only just around both either simply")
_NEGATIONS = words("not isn't never no neither nor cannot except unknown without")
_CONDITIONS = words("if when suppose assume assuming let unless either maybe perhaps possibly whether")
_ANNOUNCING = words("answer final the ans therefore so thus hence result solution value")
_MEASURES = words("area perimeter circumference volume length width height radius diameter angle")
_SINGLE_LETTER_UNITS = frozenset("msghLluNJWt")
_DRESSED_DECIMAL = re.compile(  # x = 12,5; 12,5 \text{ cm}
    r"((?:[A-Za-z]\s*=\s*)?)(-?\d{1,9}),(\d{1,9})(\s*(?:\^?\{?\\circ\}?|[a-z]{1,2}|\\(?:text|mathrm)\s*\{[^{}]{1,20}\})?)"
)
_POINT_GROUPS = re.compile(r"-?\d{1,3}(?:\.\d{3})+")
_FUNCTION_NAMES = frozenset("fghFGHPQpVST")


def readings(text: str, *, is_gold: bool = False, decimal_comma: bool = True) -> Iterator[Node]:
    """The trees that a text can be read as, likeliest first. Raises ParseError or LimitError when there is none."""
    if len(text) > MAX_ANSWER_CHARS:
        raise LimitError("too long")
    text = plain(text)
    text = text if is_gold or "(" not in text else _REMARK.sub("", text) or text
    beside = None if is_gold else _APPROXIMATION.fullmatch(text)
    text = rf"{beside.group(1)} \approx {beside.group(2)}" if beside else text
    problem: ValueError | None = None
    found = False
    for group_digits in (True, False):
        if not group_digits and not has_digit_groups(text):
            break
        row = _relation_words(_strip(tokens(text, group_digits=group_digits)))
        for single_letters in (True, False) if _may_end_with_letter_unit(row, is_gold) else (False,):
            try:
                node = _several(row, single_letters)
            except (ParseError, LimitError) as error:
                problem = error
                continue
            found = True
            yield node
    others = (_decimal_comma(text) if decimal_comma else None, None if is_gold else _restated(text))
    for other in others:
        if other is not None:
            found = True
            yield other
    if not found:
        raise problem or ParseError("nothing to read")


def sentence(text: str) -> Node:
    """What a sentence states at its end: "The measure of angle ABC is 45 degrees". Raises ParseError if nothing."""
    row = _strip(tokens(plain(text)))
    folded = [token.text.casefold() for token in row]
    if any(word in _NEGATIONS or word in _CONDITIONS for word in folded):
        raise ParseError("a negation or a condition")
    place = max((i for i, word in enumerate(folded) if word in _COPULAS or word in ("=", ":")), default=-1)
    if place < 0:
        return _several(_drop_announcement(row), True)
    if any(token.kind == "num" and not _named_number(row, i) for i, token in enumerate(row[:place])):
        raise ParseError("numbers before the verb")
    if folded[place] == ":" and not set(folded[:place]) & (_ANNOUNCING | _MEASURES):
        raise ParseError("a label that announces nothing")
    rest = row[place + 1 :]
    if rest and rest[0].text == "to":  # "is equal to"
        rest = rest[1:]
    return _several(_strip(rest), True)


def _drop_announcement(row: list[Token]) -> list[Token]:
    at = 0
    while at < len(row) and row[at].kind == "word" and row[at].text.casefold() in _ANNOUNCING | _HEDGES:
        at += 1
    if at == 0:
        raise ParseError("no sentence")
    return _strip(row[at:])


def _named_number(row: list[Token], at: int) -> bool:
    """Whether the number at this place is part of a name: `angle 3`."""
    return at > 0 and (row[at - 1].text.casefold() in HEADS or row[at - 1].text in ("_", "{"))


def _may_end_with_letter_unit(row: list[Token], is_gold: bool) -> bool:
    """Whether a single letter may be a unit. A gold must be a number with a plain `m`: `2s` is twice s there."""
    letters = {token.text for token in row if token.kind == "word"}
    if is_gold:
        return letters == {"m"} and row[0].kind != "word"
    return bool(letters & _SINGLE_LETTER_UNITS)


def _strip(row: list[Token]) -> list[Token]:
    """Drop punctuation and empty signs at both ends; dots that say "and so on" stay."""
    start, end = 0, len(row)
    while start < end and row[start].kind != "num" and row[start].text in _IGNORED_STARTS:
        start += 1
    quoted = any(token.text == '"' for token in row[:start])
    if [token.text for token in row[max(start, end - 3) : end]] == ["."] * 3:
        return row[start:end]
    while end > start and row[end - 1].kind != "num":
        text = row[end - 1].text
        if text not in _IGNORED_ENDS and not (quoted and text == '"'):
            break
        end -= 1
    return row[start:end]


def _relation_words(row: list[Token]) -> list[Token]:
    """`AB is parallel to CD` with the sign in place of the words."""
    if not any(token.kind == "word" and token.text in _RELATION_WORDS for token in row):
        return row
    out: list[Token] = []
    for token in row:
        if token.kind == "word" and token.text in _RELATION_WORDS:
            while out and out[-1].text in ("is", "are"):
                out.pop()
            out.append(token._replace(kind="cmd", text=_RELATION_WORDS[token.text]))
        elif not (token.text == "to" and out and out[-1].text in _RELATION_WORDS.values()):
            out.append(token)
    return out


# ------------------------------------------------------------------------------------------------------------- lists


def _several(row: list[Token], single_letters: bool) -> Node:
    """Split at the separators outside all brackets: `;` separates more strongly than `,`, "and", "or"."""
    groups = _split(_joined_rows(row), (";", "\\\\"))
    if len(groups) > 1:
        return Seq("list", tuple(_several(group, single_letters) for group in groups))
    parts = _split(groups[0] if groups else row, (",", "and", "or", "lor", "land", "&"))
    if not parts:
        raise ParseError("empty")
    if len(parts) == 1:
        return _statement(parts[0], single_letters)
    return Seq("list", tuple(_statement(part, single_letters) for part in parts))


def _joined_rows(row: list[Token]) -> list[Token]:
    """Without the row breaks before a relation sign: `x = 2 + 3 \\\\ = 5` is one chain."""
    if not any(token.text == "\\\\" for token in row):
        return row
    following = [*row[1:], row[-1]]
    return [token for token, after in zip(row, following, strict=True) if token.text != "\\\\" or not _relates(after)]


def _split(row: list[Token], signs: tuple[str, ...]) -> list[list[Token]]:
    """Cut a row at signs of depth 0; empty parts are dropped."""
    if not any(token.text in signs for token in row):
        return [row] if row else []
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in row:
        depth += _step(token)
        if depth == 0 and token.text in signs:
            parts.append([])
        else:
            parts[-1].append(token)
    parts = [part for part in (_strip(part) for part in parts) if part]
    if len(parts) > MAX_ITEMS:
        raise LimitError("too many items")
    return parts


def _step(token: Token) -> int:
    """How a token changes the depth of brackets."""
    if token.kind == "word" or token.kind == "num":
        return 0
    if token.kind == "env":
        return 1 if token.text == "begin" else -1
    return 1 if token.text in _OPEN else -1 if token.text in _CLOSE else 0


# --------------------------------------------------------------------------------------------------------- relations


def _statement(row: list[Token], single_letters: bool) -> Node:
    """A chain of relations, or a single value."""
    row = _condition(row) or row
    ops: list[str] = []
    members: list[list[Token]] = [[]]
    depth = 0
    for token in row:
        depth += _step(token)
        if depth or not _relates(token):
            members[-1].append(token)
        elif token.kind != "word":
            ops.append(token.text)
            members.append([])
        elif not (token.text == "equal" and ops and not members[-1]):  # "is equal"
            ops.append("=")
            members.append([])
    if not ops:
        return _member(row, single_letters)
    if any(not member for member in members):
        raise ParseError("a relation without a side")
    last = len(members) - 1
    sides = [_side(member, single_letters, last=index == last) for index, member in enumerate(members)]
    return Rel(tuple(ops), tuple(sides))


def _relates(token: Token) -> bool:
    if token.kind == "word":
        return token.text in _COPULAS
    return token.text in _RELATIONS and (token.kind == "cmd" or token.text in "=<>")


def _side(row: list[Token], single_letters: bool, *, last: bool) -> Node:
    """One side of a relation; a side other than the last may be a plain description ("Area of ABC", "f(3)")."""
    if not last and len(row) > 3 and row[0].text in _FUNCTION_NAMES and row[1].text == "(" and row[-1].text == ")":
        return Name("text", " ".join(token.text for token in row))
    try:
        return _member(row, single_letters)
    except ParseError:
        if last or any(token.kind == "num" and not _named_number(row, i) for i, token in enumerate(row)):
            raise
        if any(token.text.casefold() in _CONDITIONS or token.text.casefold() in _NEGATIONS for token in row):
            raise
        if not all(token.kind in ("word", "num") or token.text in HEADS or token.text in "()[]{}_'" for token in row):
            raise
        return Name("text", " ".join(token.text for token in row))


def _member(row: list[Token], single_letters: bool) -> Node:
    """A ratio, a union, or a quantity."""
    start = 0
    while start < len(row) and row[start].kind == "word" and row[start].text.casefold() in _HEDGES:
        start += 1
    row = row[start:]
    ratio = _split(row, (":", "to"))
    if len(ratio) > 1:
        return Seq("ratio", tuple(quantity(part, single_letters) for part in ratio))
    for sign, kind in (("cup", "union"), ("setminus", "difference")):
        parts = _split(row, (sign,))
        if len(parts) > 1:
            return Seq(kind, tuple(quantity(part, single_letters) for part in parts))
    return quantity(row, single_letters)


def _condition(row: list[Token]) -> list[Token] | None:
    """What stands behind the bar in `\\{x | x > 3\\}`, None where the row is not of that form."""
    if len(row) < 6 or row[0].text != "\\{" or row[-1].text != "\\}":
        return None
    bars = [place for place, token in enumerate(row[:9]) if token.text in ("|", ":")]
    inside = row[bars[0] + 1 : -1] if bars else []
    return inside if any(_relates(token) for token in inside) else None


def _restated(text: str) -> Node | None:
    """`12.5 (\\frac{25}{2})` as one value written twice, exactly and as a decimal: `\\frac{25}{2} \\approx 12.5`.

    The two must agree (`compare` refuses a chain that contradicts itself), so `0.5(\\frac{3}{2})` stays a product.
    One decimal is too few to say that it was rounded (`\\sqrt{2}(1.5)` is a product): then they must be equal.
    """
    match = _RESTATED.fullmatch(text)
    if match is None:
        return None
    exact, rounded = sorted(match.groups(), key=lambda part: _DECIMAL.search(part) is not None)
    if _DECIMAL.search(exact) or not (_EXACT_FORM.search(exact) and _DECIMAL.search(rounded)):
        return None
    sign = r"\approx" if re.search(r"\.\d\d", rounded) else "="
    return _read_anew(f"{exact} {sign} {rounded}", single_letters=False)


def _read_anew(text: str, *, single_letters: bool) -> Node | None:
    """What a rewritten text says; None where it cannot be read."""
    try:
        return _several(_strip(tokens(text)), single_letters)
    except (ParseError, LimitError):
        return None


def _decimal_comma(text: str) -> Node | None:
    """`1,22` and `0,111` as decimal numbers, when the comma cannot group digits."""
    text = text.strip().strip("$").strip()
    head, comma, tail = text.partition(",")
    if _POINT_GROUPS.fullmatch(head):  # 12.345,67
        head = head.replace(".", "")
    whole = head.removeprefix("-")
    if not comma:
        return None
    dressed = _DRESSED_DECIMAL.fullmatch(text)
    if dressed and (dressed.group(1) or dressed.group(4)):
        left, integer, decimals, unit = dressed.groups()
        is_one = _decimal_comma(f"{integer},{decimals}") is not None
        return _read_anew(f"{left}{integer}.{decimals}{unit}", single_letters=True) if is_one else None
    if len(text) > 20 or not (tail.isdigit() and whole.isdigit() and text.isascii()):
        return None
    if len(tail) == 3 and whole != "0" and "." not in text:
        return None
    return Num(Fraction(f"{head}.{tail}"), len(tail))
