"""The text of one answer in, its syntax tree out: lists, relations, ratios, unions, units, then expressions.

An answer can often be read in more than one way (`1,234` is a number or two; `2m` is two metres or twice m), so
`readings` gives the trees one after another, the likeliest first. Sentences are a separate, last reading.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from uec_vlm.verifier.grammar import expression, number
from uec_vlm.verifier.lexer import Token, has_digit_groups, tokens
from uec_vlm.verifier.limits import MAX_ANSWER_CHARS, MAX_ITEMS, LimitError, ParseError
from uec_vlm.verifier.nodes import Add, Fn, Mul, Name, Node, Num, Quantity, Rel, Seq, Sym
from uec_vlm.verifier.spelling import plain
from uec_vlm.verifier.units import conversion, unit_of
from uec_vlm.verifier.vocabulary import HEADS, SMALL_WORDS, is_label

_OPEN = frozenset({"(", "[", "{", "\\{", "langle", "lfloor", "lceil"})
_CLOSE = frozenset({")", "]", "}", "\\}", "rangle", "rfloor", "rceil"})
_RELATIONS = frozenset(
    {"=", "<", ">", "le", "ge", "ne", "approx", "cong", "sim", "parallel", "perp", "in", "equiv", "to"}
)
_COPULAS = frozenset({"is", "are", "equals", "equal", "measures", "be", "was"})
_IGNORED_ENDS = frozenset({".", ",", ";", ":", "**", "\\\\", '"', "`", "'", "therefore", "to", "&", "equiv"})
_HEDGES = frozenset(
    {"about", "approximately", "roughly", "exactly", "approx", "only", "just", "around", "both", "either", "simply"}
)
_NEGATIONS = frozenset({"not", "isn't", "never", "no", "neither", "nor", "cannot", "except", "unknown", "without"})
_ANNOUNCING = frozenset(
    {"answer", "final", "the", "ans", "therefore", "so", "thus", "hence", "result", "solution", "value"}
)


def readings(text: str, *, is_gold: bool = False) -> Iterator[Node]:
    """The trees that a text can be read as, likeliest first. Raises ParseError or LimitError when there is none."""
    if len(text) > MAX_ANSWER_CHARS:
        raise LimitError("too long")
    text = plain(text)
    problem: ValueError | None = None
    found = False
    for group_digits in (True, False):
        if not group_digits and not has_digit_groups(text):
            break
        row = _strip(tokens(text, group_digits=group_digits))
        for single_letters in (False,) if is_gold else (True, False):
            if single_letters and not _has_single_letter(row):
                continue
            try:
                node = _several(row, single_letters)
            except (ParseError, LimitError) as error:
                problem = error
                continue
            found = True
            yield node
    comma = _decimal_comma(text)
    if comma is not None:
        found = True
        yield comma
    if not found:
        raise problem or ParseError("nothing to read")


def sentence(text: str) -> Node:
    """The answer at the end of a sentence: "The measure of angle ABC is 45 degrees". Raises ParseError if there is none."""
    row = _strip(tokens(plain(text)))
    words = [token.text.casefold() for token in row]
    if any(word in _NEGATIONS for word in words):
        raise ParseError("a negation")
    place = max((i for i, word in enumerate(words) if word in _COPULAS or word in ("=", ":")), default=-1)
    if place < 0:
        return _several(_drop_announcement(row), True)
    if any(token.kind == "num" and not _named_number(row, i) for i, token in enumerate(row[:place])):
        raise ParseError("numbers before the verb")
    rest = row[place + 1 :]
    if rest and rest[0].text == "to":  # "is equal to"
        rest = rest[1:]
    if words[place] in (":",) and not set(words[:place]) & _ANNOUNCING:
        raise ParseError("a label that announces nothing")
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


def _has_single_letter(row: list[Token]) -> bool:
    return any(token.kind == "word" and len(token.text) == 1 and token.text in "msghLluNJWt" for token in row)


def _strip(row: list[Token]) -> list[Token]:
    """Drop punctuation and empty signs at both ends."""
    start, end = 0, len(row)
    while (
        start < end
        and row[start].kind != "num"
        and (row[start].text in _IGNORED_ENDS or row[start].text in ("=", "approx"))
    ):
        start += 1
    while (
        end > start and row[end - 1].kind != "num" and row[end - 1].text in _IGNORED_ENDS and row[end - 1].text != "'"
    ):
        end -= 1
    return row[start:end]


# ------------------------------------------------------------------------------------------------------------- lists


def _several(row: list[Token], single_letters: bool) -> Node:
    """Split at the separators outside all brackets: `;` separates more strongly than `,`, "and", "or"."""
    groups = _split(row, (";", "\\\\"))
    if len(groups) > 1:
        return Seq("list", tuple(_several(group, single_letters) for group in groups))
    parts = _split(row, (",", "and", "or", "lor", "land", "&"))
    if not parts:
        raise ParseError("empty")
    if len(parts) == 1:
        return _statement(parts[0], single_letters)
    return Seq("list", tuple(_statement(part, single_letters) for part in parts))


def _split(row: list[Token], signs: tuple[str, ...]) -> list[list[Token]]:
    """Cut a row at signs of depth 0; empty parts are dropped."""
    if not any(token.text in signs for token in row):
        return [row] if row else []
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in row:
        text = token.text
        if token.kind != "word":
            if text in _OPEN or (token.kind == "env" and text == "begin"):
                depth += 1
            elif text in _CLOSE or (token.kind == "env" and text == "end"):
                depth -= 1
        if depth == 0 and text in signs and not (token.kind == "op" and text == "&" and token.roman):
            parts.append([])
        else:
            parts[-1].append(token)
    parts = [part for part in (_strip(part) for part in parts) if part]
    if len(parts) > MAX_ITEMS:
        raise LimitError("too many items")
    return parts


# --------------------------------------------------------------------------------------------------------- relations


def _statement(row: list[Token], single_letters: bool) -> Node:
    """A chain of relations, or a single value."""
    ops: list[str] = []
    members: list[list[Token]] = [[]]
    depth = 0
    for token in row:
        text = token.text
        if token.kind != "word":
            if text in _OPEN or (token.kind == "env" and text == "begin"):
                depth += 1
            elif text in _CLOSE or (token.kind == "env" and text == "end"):
                depth -= 1
            if depth == 0 and text in _RELATIONS and (token.kind == "cmd" or text in "=<>"):
                ops.append(text)
                members.append([])
                continue
        elif depth == 0 and text in _COPULAS:
            if not (text == "equal" or (ops and not members[-1])):
                ops.append("=")
                members.append([])
            continue
        members[-1].append(token)
    if not ops:
        return _member(row, single_letters)
    if any(not member for member in members):
        raise ParseError("a relation without a side")
    sides = [_side(member, single_letters, last=i == len(members) - 1) for i, member in enumerate(members)]
    return Rel(tuple(ops), tuple(sides))


def _side(row: list[Token], single_letters: bool, *, last: bool) -> Node:
    """One side of a relation; a side other than the last may be a plain description ("Area of ABC")."""
    try:
        return _member(row, single_letters)
    except ParseError:
        if last or any(token.kind == "num" and not _named_number(row, i) for i, token in enumerate(row)):
            raise
        if not all(token.kind in ("word", "num") or token.text in HEADS or token.text in "()[]{}_'" for token in row):
            function = row[0].kind == "word" and len(row) == 4 and row[1].text == "("
            if not function:
                raise
        return Name("text", " ".join(token.text for token in row))


def _member(row: list[Token], single_letters: bool) -> Node:
    """A ratio, a union, or a quantity."""
    row = _unhedged(row)
    ratio = _split(row, (":", "to"))
    if len(ratio) > 1:
        return Seq("ratio", tuple(_quantity(part, single_letters) for part in ratio))
    union = _split(row, ("cup",))
    if len(union) > 1:
        return Seq("union", tuple(_quantity(part, single_letters) for part in union))
    return _quantity(row, single_letters)


def _unhedged(row: list[Token]) -> list[Token]:
    start = 0
    while start < len(row) and row[start].kind == "word" and row[start].text.casefold() in _HEDGES:
        start += 1
    return row[start:]


# ------------------------------------------------------------------------------------------------------------- units


def _quantity(row: list[Token], single_letters: bool) -> Node:
    """An expression with the unit behind it, if there is one."""
    if not row:
        raise ParseError("empty")
    if row[0].text in ("usd", "eur", "gbp", "€", "£", "¥", "₹") and row[0].kind != "word" and len(row) > 1:
        unit = unit_of(row[:1], single_letters=False) or ""
        return Quantity(expression(row[1:]), unit)
    if len(row) == 1:
        if row[0].kind == "num":
            return number(row[0].text)
    elif row[-1].kind != "num" or row[-1].text in "23":
        feet = _feet_and_inches(row) or _compound(row, single_letters)
        if feet is not None:
            return feet
        for start in range(max(1, len(row) - 14), len(row)):
            if not _may_start_unit(row, start):
                continue
            unit = unit_of(row[start:], single_letters=single_letters)
            if unit is not None and _ends_value(row[start - 1]):
                return Quantity(expression(row[:start]), unit)
        words = _trailing_words(row)
        if words:
            return Quantity(expression(row[:-words]), "thing")
    node = expression(row)
    if isinstance(node, Fn) and node.name == "deg":
        return Quantity(node.args[0], "deg")
    return node


def _may_start_unit(row: list[Token], start: int) -> bool:
    token = row[start]
    return token.kind == "word" or token.text in ("usd", "eur", "gbp", "€", "£", "¥", "₹", "/")


def _ends_value(token: Token) -> bool:
    """Whether a unit may follow: a number, a closed group, pi, a root sign's argument, a factorial."""
    return (
        token.kind == "num"
        or token.text in _CLOSE
        or token.text in ("pi", "!", "|", "%")
        or (token.kind == "word" and len(token.text) == 1)
    )


def _trailing_words(row: list[Token]) -> int:
    """How many words in `\\text{}` end the row behind a value: they name what is counted (`12 \\text{ yachts}`)."""
    count = 0
    for token in reversed(row):
        if (
            token.kind != "word"
            or not token.roman
            or len(token.text) < 3
            or token.text.casefold() in SMALL_WORDS | _NEGATIONS
        ):
            break
        if is_label(token):
            break
        count += 1
    if not 0 < count <= 3 or count >= len(row) or not _ends_value(row[-count - 1]):
        return 0
    return count


def _compound(row: list[Token], single_letters: bool) -> Node | None:
    """`5 ft 6 in`, `1 hour 30 minutes`: numbers with units of one dimension add."""
    if row[0].kind != "num" or sum(token.kind == "num" for token in row) < 2:
        return None
    parts: list[list[Token]] = []
    for token in row:
        if token.kind == "num":
            parts.append([token])
        else:
            parts[-1].append(token)
    total: list[Node] = []
    last_unit = ""
    for part in parts:
        unit = unit_of(part[1:], single_letters=True) if len(part) > 1 else None
        if unit is None or unit == "thing":
            return None
        factor = conversion(unit, last_unit) if last_unit else Fraction(1)
        if factor is None:
            return None
        last_unit = last_unit or unit
        total.append(Num(number(part[0].text).value * factor))
    return Quantity(Add(tuple(total)), last_unit)


def _feet_and_inches(row: list[Token]) -> Node | None:
    """`5'`, `6''`, `5' 6''` are feet and inches; `45^\\circ 30' 15''` are degrees, minutes and seconds of arc."""
    values: list[tuple[Fraction, str]] = []
    at = 0
    degrees = False
    while at < len(row):
        if row[at].kind != "num":
            return None
        value = number(row[at].text).value
        at += 1
        signs = ""
        while at < len(row) and row[at].kind != "num":
            signs += row[at].text
            at += 1
        signs = signs.replace("{", "").replace("}", "").replace("^", "").replace("prime", "'").replace('"', "''")
        if signs in ("circ", "degree") and not values:
            degrees = True
            values.append((value, "deg"))
        elif signs in ("'", "''"):
            minutes, seconds = ("arcmin", "arcsec") if degrees else ("ft", "in")
            values.append((value, minutes if signs == "'" else seconds))
        else:
            return None
    unit = values[0][1] if values else ""
    if not values or (degrees and len(values) == 1):
        return None
    total = sum((value * (conversion(name, unit) or 0) for value, name in values), Fraction(0))
    return Quantity(Num(total), unit)


def _decimal_comma(text: str) -> Node | None:
    """`1,22` and `0,111` as decimal numbers, when the comma cannot group digits."""
    text = text.strip().strip("$").strip()
    head, comma, tail = text.partition(",")
    if not comma or not tail.isdigit() or not head.lstrip("-").isdigit() or not tail.isascii() or not head.isascii():
        return None
    if (len(tail) == 3 and head.lstrip("-") != "0") or len(text) > 20:
        return None
    value = Num(Fraction(f"{head}.{tail}"), len(tail))
    return Mul((Num(Fraction(1)), value)) if False else value


def names_in(node: Node) -> bool:
    """Whether a tree is made of names only: what may stand on the left of `= 5` without being part of the answer."""
    if isinstance(node, Name):
        return True
    if isinstance(node, Sym):
        return node.name not in ("pi", "e", "oo") and not node.name[0].isdigit()
    if isinstance(node, Add):
        return all(names_in(term) for term in node.terms)
    if isinstance(node, Mul):
        return all(names_in(factor) or factor == Num(Fraction(-1)) for factor in node.factors)
    if isinstance(node, Fn):
        return all(names_in(arg) for arg in node.args)
    if isinstance(node, Seq):
        return bool(node.items) and all(names_in(item) for item in node.items)
    return hasattr(node, "base") and names_in(node.base) and getattr(node, "exponent", None) == Num(Fraction(-1))
