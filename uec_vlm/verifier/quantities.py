"""A value with its unit: which tokens at the end of an answer are a unit, and which are part of the expression."""

from __future__ import annotations

from fractions import Fraction

from uec_vlm.verifier.grammar import expression, number
from uec_vlm.verifier.lexer import Token
from uec_vlm.verifier.limits import ParseError, words
from uec_vlm.verifier.nodes import Add, Fn, Node, Num, Quantity
from uec_vlm.verifier.units import conversion, unit_of
from uec_vlm.verifier.vocabulary import SMALL_WORDS, is_label

_CURRENCIES = words("usd eur gbp € £ ¥ ₹")
_CLOSING = words(") ] } \\} rangle rfloor rceil pi ! | % degree circ")
_NOT_COUNTED = words(
    "more less over above below plus minus times squared cubed wrong incorrect false maybe each neither unless except "
    "hundred hundreds thousand thousands million millions billion billions dozen half halves third thirds quarter "
    "quarters fourths fifths tenths hundredths root roots square cubic three four five seven eight nine degrees"
)
_BESIDE_A_UNIT = words(  # 12 \text{ cm long}
    "old later ago left remaining long wide high tall deep thick away apart approx approximately total"
)
_LONGEST_UNIT = 14  # tokens


def quantity(row: list[Token], single_letters: bool) -> Node:
    """An expression with the unit behind it, if there is one. single_letters: `m` and the like can be units."""
    if not row:
        raise ParseError("empty")
    if len(row) == 1:
        return number(row[0].text) if row[0].kind == "num" else expression(row)
    if row[0].kind != "word" and row[0].text in _CURRENCIES:
        return Quantity(expression(row[1:]), unit_of(row[:1], single_letters=False) or "")
    if any(token.kind == "word" or token.text in _CURRENCIES or token.text in ("'", "prime", '"') for token in row[1:]):
        found = _feet_and_inches(row) or _compound(row) or _with_unit(row, single_letters)
        if found is not None:
            return found
    node = expression(row)
    if isinstance(node, Fn) and node.name == "deg":
        return Quantity(node.args[0], "deg")
    return node


def _with_unit(row: list[Token], single_letters: bool) -> Node | None:
    row = _without_remark(_unwrapped(row))
    for start in range(max(1, len(row) - _LONGEST_UNIT), len(row)):
        token = row[start]
        if not (token.kind == "word" or token.text in _CURRENCIES or token.text == "/"):
            continue
        if not _ends_value(row[start - 1]):
            continue
        unit = unit_of(row[start:], single_letters=single_letters)
        if unit is not None:
            return Quantity(expression(row[:start]), unit)
    counted = _counted_things(row)
    return Quantity(expression(row[:-counted]), "thing") if counted else None


def _without_remark(row: list[Token]) -> list[Token]:
    """The row without a last word in `\\text{}` that says nothing about the size: "long" behind a unit."""
    last = row[-1]
    if last.roman and last.text.casefold() in _BESIDE_A_UNIT and not _ends_value(row[-2]):
        return row[:-1]
    return row


def _unwrapped(row: list[Token]) -> list[Token]:
    """`{cm}` and `(cm)` as `cm`: braces and parentheses around a single word of at least two letters vanish."""
    out: list[Token] = []
    at = 0
    while at < len(row):
        inside = row[at + 1] if at + 2 < len(row) else None
        wrapped = inside is not None and inside.kind == "word" and (len(inside.text) > 1 or inside.roman)
        free = at > 0 and row[at - 1].text not in ("^", "_", "frac", "sqrt", "}")
        closed = wrapped and free and row[at].text + row[at + 2].text in ("{}", "()")
        if inside is not None and closed and unit_of([inside], single_letters=True) is not None:
            out.append(inside)
            at += 3
        else:
            out.append(row[at])
            at += 1
    return out


def _ends_value(token: Token) -> bool:
    """Whether a unit may follow: a number, a closed group, pi, a factorial, a variable."""
    return token.kind == "num" or token.text in _CLOSING or (token.kind == "word" and len(token.text) == 1)


def _counted_things(row: list[Token]) -> int:
    """How many words in `\\text{}` end the row behind a value: they name what is counted (`12 \\text{ yachts}`)."""
    count = 0
    for token in reversed(row):
        folded = token.text.casefold()
        if token.kind != "word" or not token.roman or len(folded) < 3 or is_label(token):
            break
        a_unit = unit_of([token], single_letters=False) not in (None, "thing")
        if a_unit or folded in SMALL_WORDS or folded in _NOT_COUNTED:
            return 0
        count += 1
    if not 0 < count <= 3 or count >= len(row) or not _ends_value(row[-count - 1]):
        return 0
    return count


def _compound(row: list[Token]) -> Node | None:
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
    first_unit = ""
    for part in parts:
        unit = unit_of(part[1:], single_letters=True) if len(part) > 1 else None
        factor = conversion(unit, first_unit or unit) if unit and unit != "thing" else None
        if unit is None or factor is None:
            return None
        first_unit = first_unit or unit
        total.append(Num(number(part[0].text).value * factor))
    return Quantity(Add(tuple(total)), first_unit)


def _feet_and_inches(row: list[Token]) -> Node | None:
    """`5'`, `6''`, `5' 6''` are feet and inches; `45^\\circ 30' 15''` are degrees, minutes and seconds of arc."""
    values: list[tuple[Fraction, str]] = []
    at = 0
    while at < len(row):
        if row[at].kind != "num":
            return None
        value = number(row[at].text).value
        at += 1
        signs = ""
        while at < len(row) and row[at].kind != "num":
            signs += row[at].text
            at += 1
        unit = _mark(signs, of_arc=bool(values) and values[0][1] == "deg")
        if unit is None:
            return None
        values.append((value, unit))
    if not values or (len(values) == 1 and values[0][1] == "deg"):
        return None
    first_unit = values[0][1]
    total = sum((value * (conversion(unit, first_unit) or 0) for value, unit in values), Fraction(0))
    return Quantity(Num(total), first_unit)


def _mark(signs: str, *, of_arc: bool) -> str | None:
    """The unit of the marks behind a number."""
    for needless in "{}^":
        signs = signs.replace(needless, "")
    signs = signs.replace("prime", "'").replace('"', "''")
    if signs in ("circ", "degree"):
        return None if of_arc else "deg"
    if signs == "'":
        return "arcmin" if of_arc else "ft"
    if signs == "''":
        return "arcsec" if of_arc else "in"
    return None
