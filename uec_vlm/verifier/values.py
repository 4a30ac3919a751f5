"""Whether two expressions have the same value: exactly, by algebra, or to the precision that is shown."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from uec_vlm.verifier import exact as ex
from uec_vlm.verifier import numeric
from uec_vlm.verifier.limits import Work
from uec_vlm.verifier.nodes import MINUS_ONE, PI, Add, Fn, Mul, Node, Num, Pow, Quantity, Sym, children
from uec_vlm.verifier.policy import DEFAULT_POLICY, Policy
from uec_vlm.verifier.settle import symbols
from uec_vlm.verifier.units import conversion

_ROUNDING_CHANGES = 0.1  # of a number, at most
_INVERSE = frozenset({"asin", "acos", "atan", "acot"})
_DEGREES = Mul((Num(Fraction(180)), Pow(PI, MINUS_ONE)))


@dataclass
class Context:
    """What a comparison needs beside the two trees.

    others: the trees of the wrong options. asked: decimals that the question asks to round to (negative: tens).
    pending: pairs that only symbolic algebra can decide. work: the steps left.
    """

    policy: Policy = DEFAULT_POLICY
    others: Sequence[Node] = ()
    asked: int | None = None
    work: Work = field(default_factory=Work)
    pending: list[tuple[Node, Node]] = field(default_factory=list)


# ------------------------------------------------------------------------------------------------------- exact equality


def same_value(a: Node, b: Node, work: Work) -> bool:
    """Whether two expressions are equal: exactly where the exact forms reach, else to 40 digits at several points."""
    if isinstance(a, Num) and isinstance(b, Num):
        return a.value == b.value
    if a == b:
        return not isinstance(a, Pow | Mul) or _defined(a, work)
    try:
        return ex.same(ex.exact(a, work), ex.exact(b, work), work)
    except ex.Undefined:
        return False
    except ex.Unsupported:
        return _same_numbers(a, b, work)


def _defined(node: Node, work: Work) -> bool:
    try:
        ex.exact(node, work)
    except ex.Undefined:
        return False
    except ex.Unsupported:
        pass
    return True


def _same_numbers(a: Node, b: Node, work: Work) -> bool:
    if _infinite(a) or _infinite(b):
        return _sign_of_infinity(a) == _sign_of_infinity(b) != 0
    names = sorted(symbols(a) | symbols(b))
    if not names:
        return _agree_at({}, a, b, work)
    points = [{name: _coordinate(name, turn) for name in names} for turn in range(3)]
    if not all(_agree_at(point, a, b, work) for point in points):
        return False
    mirrored = {name: -value for name, value in points[0].items()}
    try:
        x, y = numeric.evaluate(a, mirrored, work=work), numeric.evaluate(b, mirrored, work=work)
    except numeric.NoValue:
        return True
    both_real = abs(x.imag) < 1e-12 and abs(y.imag) < 1e-12
    return not both_real or numeric.close(x, y)


def _agree_at(point: dict[str, Fraction], a: Node, b: Node, work: Work) -> bool:
    try:
        if not numeric.close(numeric.evaluate(a, point, work=work), numeric.evaluate(b, point, work=work)):
            return False
        digits = numeric.many_digits()
        work.spend(200)
        return numeric.agree(numeric.evaluate(a, point, digits, work), numeric.evaluate(b, point, digits, work))
    except numeric.NoValue:
        return False


def _coordinate(name: str, turn: int) -> Fraction:
    """A fixed positive number per variable: equality at three of them is equality, up to an accident."""
    return Fraction(zlib.crc32(f"{name}/{turn}".encode()) % 8_999 + 1_003, 3_001)


def _infinite(node: Node) -> bool:
    return _sign_of_infinity(node) != 0


def _sign_of_infinity(node: Node) -> int:
    if node == Sym("oo"):
        return 1
    if isinstance(node, Mul) and len(node.factors) == 2 and Sym("oo") in node.factors:
        return -1 if MINUS_ONE in node.factors else 0
    return 0


# ---------------------------------------------------------------------------------------------- units, percentages


def match_scalar(gold: Node, answer: Node, context: Context) -> str | None:
    """The reason why an answer counts for a gold (exact, equivalent, rounded), or None; units are minded."""
    for gold_value, answer_value in _comparable(gold, answer, context.policy):
        if not context.policy.accept_unreduced and not reduced(answer_value):
            continue
        if same_value(gold_value, answer_value, context.work):
            plain = isinstance(answer_value, Num) or answer_value == gold_value
            return "exact" if plain and isinstance(gold_value, Num) == isinstance(answer_value, Num) else "equivalent"
        if rounds(gold_value, answer_value, context):
            return "rounded"
    return None


def split_unit(node: Node) -> tuple[Node, str]:
    """The value and the unit of a node ("" without one, "pct" for percent, "deg" for the degree sign)."""
    if isinstance(node, Quantity):
        value, unit = node.value, node.unit
        if isinstance(value, Fn) and value.name == "pct":
            return value.args[0], "pct"
        return value, unit
    if isinstance(node, Fn) and node.name in ("pct", "deg"):
        return node.args[0], node.name
    if isinstance(node, Add | Mul) and _has_degrees(node):
        return _without_degrees(node), "deg"
    return node, ""


def _has_degrees(node: Node) -> bool:
    if isinstance(node, Fn):
        return node.name == "deg"
    return not isinstance(node, Pow) and any(_has_degrees(child) for child in children(node))


def _without_degrees(node: Node) -> Node:
    """The number of degrees of a sum of angles: degree signs outside of functions are dropped."""
    if isinstance(node, Fn) and node.name == "deg":
        return node.args[0]
    if isinstance(node, Add):
        return Add(tuple(_without_degrees(term) for term in node.terms))
    if isinstance(node, Mul):
        return Mul(tuple(_without_degrees(factor) for factor in node.factors))
    return node


def _comparable(gold: Node, answer: Node, policy: Policy) -> list[tuple[Node, Node]]:
    """The pairs of plain values of which one must agree."""
    g, gold_unit = split_unit(gold)
    a, unit = split_unit(answer)
    if "pct" in (gold_unit, unit) and gold_unit != unit:
        return _percentages(g, gold_unit, a, unit, policy)
    if not gold_unit or not unit:
        if not unit and gold_unit not in ("", "deg", "thing") and not policy.unit_may_be_missing:
            return []
        return [(g, a), *_other_measure(g, gold_unit, a, unit)] if policy.degrees_as_radians else [(g, a)]
    if gold_unit == unit or "thing" in (gold_unit, unit):
        return [(g, a)]
    if {gold_unit, unit} == {"deg", "rad"}:
        converted = Mul((a, _DEGREES)) if unit == "rad" else Fn("deg", (a,))
        return [(g, converted)] if policy.degrees_as_radians else []
    factor = conversion(unit, gold_unit)
    if factor is None or (factor != 1 and not policy.unit_conversion):
        return []
    return [(g, a if factor == 1 else _scaled(a, factor))]


def same_measure(members: Sequence[Node]) -> list[list[Node]]:
    """The ways to read members that are said to be equal as plain values.

    As they stand, unless they have different units; and in the unit of the last one that has a unit: `\\arcsin(0.5) =
    30^\\circ` and `\\frac{\\pi}{3} = 60^\\circ` in degrees, `12 cm = 0.12 m` in metres.
    """
    parts = [split_unit(member) for member in members]
    units = [unit for _, unit in parts if unit]
    readings = [[value for value, _ in parts]] if len(set(units)) < 2 else []
    return [*readings, [_in_unit(value, unit, units[-1]) for value, unit in parts]] if units else readings


def _in_unit(value: Node, unit: str, wanted: str) -> Node:
    if unit == wanted:
        return value
    if wanted == "deg" and (unit == "rad" or (not unit and (_mentions_pi(value) or _is_inverse(value)))):
        return Mul((value, _DEGREES))
    if (wanted, unit) == ("rad", "deg"):
        return Fn("deg", (value,))
    if "pct" in (unit, wanted):
        return _hundredth(value) if unit == "pct" else Mul((value, Num(Fraction(100)))) if not unit else value
    factor = conversion(unit, wanted) if unit and wanted else None
    return value if factor is None else _scaled(value, factor)


def _is_inverse(node: Node) -> bool:
    return isinstance(node, Fn) and node.name in _INVERSE  # arccos(1/4) is an angle, whatever it is measured in


def _other_measure(g: Node, gold_unit: str, a: Node, unit: str) -> list[tuple[Node, Node]]:
    """The pair in the other measure of angles, where one side shows which one it uses."""
    if unit == "deg" and not gold_unit:
        return [(g, Fn("deg", (a,)))] if _mentions_pi(g) else []
    if (gold_unit == "deg" and _mentions_pi(a)) or (_is_inverse(a) and gold_unit in ("", "deg") and not unit):
        return [(g, Mul((a, _DEGREES)))]
    return []


def _scaled(node: Node, factor: Fraction) -> Node:
    if isinstance(node, Num):
        return Num(node.value * factor)
    return Mul((Num(factor), node))


def _percentages(g: Node, gold_unit: str, a: Node, unit: str, policy: Policy) -> list[tuple[Node, Node]]:
    """Percent against a plain number, either as it is written or as hundredths."""
    if gold_unit and unit:
        return []
    hundredths = (_hundredth(g), a) if gold_unit else (g, _hundredth(a))
    return [(g, a), hundredths] if policy.percent_as_number else [hundredths]


def _hundredth(node: Node) -> Node:
    """A hundredth of a node; the shown decimals of a number move along."""
    if isinstance(node, Num):
        return Num(node.value / 100, None if node.decimals is None else node.decimals + 2)
    return Fn("pct", (node,))


def _mentions_pi(node: Node) -> bool:
    return node == PI or any(_mentions_pi(child) for child in children(node))


def reduced(node: Node) -> bool:
    """Whether a number is spelt as a number, a root or a fraction in lowest terms, not as a calculation."""
    if isinstance(node, Mul):
        numbers = [factor for factor in node.factors if isinstance(factor, Num) and factor != MINUS_ONE]
        divisors = [factor.base for factor in node.factors if isinstance(factor, Pow) and factor.exponent == MINUS_ONE]
        if len(numbers) > 1:
            return False
        if len(numbers) == 1 and len(divisors) == 1 and isinstance(divisors[0], Num):
            return Fraction(numbers[0].value, divisors[0].value).denominator == divisors[0].value != 1
        return all(reduced(factor) for factor in node.factors if not isinstance(factor, Num) and factor not in divisors)
    if isinstance(node, Add):
        return sum(isinstance(term, Num) for term in node.terms) < 2
    if isinstance(node, Pow) and isinstance(node.base, Num):
        try:
            return ex.rational(ex.exact(node)) is None or node.exponent == MINUS_ONE
        except (ex.Unsupported, ex.Undefined):
            return True
    return True


# ------------------------------------------------------------------------------------------------------------- rounding


def rounds(gold: Node, answer: Node, context: Context) -> bool:
    """Whether the answer agrees with the gold to the precision that is shown, and with no other option."""
    policy = context.policy
    allowed = (
        (policy.approximate_exact_gold and _approximates(gold, answer, policy))
        or (policy.round_to_gold and _rounds_to(gold, answer))
        or (policy.round_as_asked and context.asked is not None and _round_alike(gold, answer, context.asked))
    )
    return bool(allowed) and _nearest_option(gold, answer, context)


def _approximates(gold: Node, answer: Node, policy: Policy) -> bool:
    """A decimal for an exact gold: rounded correctly (or cut and followed by dots), with enough digits."""
    if isinstance(answer, Fn) and answer.name == "dots" and isinstance(answer.args[0], Num):
        return _cut_decimal(gold, answer.args[0], policy)
    if not isinstance(answer, Num) or answer.decimals is None:
        return False
    if isinstance(gold, Num) and (gold.decimals is not None or gold.value.denominator == 1):
        return False
    digits = len(str(abs(answer.value.numerator * 10**answer.decimals // answer.value.denominator)))
    enough = answer.decimals >= policy.min_decimals or digits >= policy.min_significant
    if not enough or digits < 2 or answer.value == 0:
        return False
    return _within_half_unit(gold, answer.value, answer.decimals)


def _cut_decimal(gold: Node, shown: Num, policy: Policy) -> bool:
    """`7.333...` for 22/3: the shown digits are the first ones of the gold."""
    value = numeric.real_value(gold)
    decimals = shown.decimals or 0
    if value is None or decimals < policy.min_decimals or abs(value) > 1e12:
        return False
    beyond = abs(value) - abs(float(shown.value))
    return value * shown.value > 0 and -1e-11 <= beyond <= 10.0**-decimals + 1e-11


def _rounds_to(gold: Node, answer: Node) -> bool:
    """A finer value for a decimal gold: the gold is what it rounds to."""
    if not isinstance(gold, Num) or not gold.decimals:
        return False
    if gold.decimals == 1 and abs(gold.value) < 10:
        return False
    if isinstance(answer, Num) and answer.decimals is not None and answer.decimals <= gold.decimals:
        return False
    if isinstance(answer, Num) and answer.value.denominator == 1:
        return False
    return _within_half_unit(answer, gold.value, gold.decimals)


def _round_alike(gold: Node, answer: Node, decimals: int) -> bool:
    """Both round to the same number of the asked precision, and one of them is that number.

    Not where rounding changes the gold itself: 1 "to the nearest degree" is not the sine of 60 degrees.
    """
    g, a = numeric.real_value(gold), numeric.real_value(answer)
    if g is None or a is None or abs(g) > 1e12 or abs(a) > 1e12:
        return False
    gold_rounded, answer_rounded = (abs(x - round(x, decimals)) < 1e-9 * max(1.0, abs(x)) for x in (g, a))
    if not gold_rounded and not (answer_rounded and abs(g - a) <= _ROUNDING_CHANGES * abs(g)):
        return False
    return abs(g - a) <= 0.5 * 10.0**-decimals * (1 + 1e-9)


def _within_half_unit(exact: Node, rounded: Fraction, decimals: int) -> bool:
    """|exact - rounded| is at most half a unit of the last shown decimal."""
    if isinstance(exact, Num):
        return abs(exact.value - rounded) * 2 * Fraction(10) ** decimals <= 1
    value = numeric.real_value(exact)
    if value is None or abs(value) > 1e12:
        return False
    return abs(value - float(rounded)) <= 0.5 * 10.0**-decimals + 1e-11 * abs(value)


def _nearest_option(gold: Node, answer: Node, context: Context) -> bool:
    """With options known, a rounded answer counts only if no wrong option is as near."""
    if not context.others:
        return True
    g, a = numeric.real_value(gold), numeric.real_value(answer)
    if g is None or a is None:
        return False
    for other in context.others:
        value = numeric.real_value(split_unit(other)[0])
        if value is None or abs(value - g) <= 1e-12 * max(1.0, abs(g)):
            continue
        if abs(value - a) <= 2 * abs(g - a):
            return False
    return True
