"""The slow comparisons, by sympy: solution sets of inequalities and unions, equations up to a factor.

Runs in worker processes only (`worker`): sympy can take for ever. Expressions are built from our own trees by
constructors; nothing is parsed or evaluated from text.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import sympy as sp

from uec_vlm.verifier.exact import atom
from uec_vlm.verifier.nodes import Add, Fn, Mul, Name, Node, Num, Pow, Quantity, Rel, Seq, Sym, children

_FUNCTIONS: dict[str, Any] = {
    "sin": sp.sin, "cos": sp.cos, "tan": sp.tan, "cot": sp.cot, "sec": sp.sec, "csc": sp.csc, "asin": sp.asin,
    "acos": sp.acos, "atan": sp.atan, "exp": sp.exp, "ln": sp.log, "abs": sp.Abs, "floor": sp.floor, "ceil": sp.ceiling,
    "lg": lambda x: sp.log(x, 10), "lb": lambda x: sp.log(x, 2), "log": lambda x, base=10: sp.log(x, base),
    "deg": lambda x: x * sp.pi / 180, "pct": lambda x: x / 100, "sinh": sp.sinh, "cosh": sp.cosh, "tanh": sp.tanh,
}  # fmt: skip
_CONSTANTS: dict[str, Any] = {"pi": sp.pi, "e": sp.E, "i": sp.I, "oo": sp.oo}
_RELATIONS: dict[str, Any] = {"<": sp.Lt, ">": sp.Gt, "le": sp.Le, "ge": sp.Ge, "ne": sp.Ne, "=": sp.Eq}


class NotSupported(Exception):
    """The trees hold something that this module does not compare."""


def warm_up() -> None:
    """Solve one inequality, so that what sympy loads and caches at first use is not on the clock of an answer."""
    x = Sym("x")
    unit = Seq("interval", (Num(Fraction(-1)), Num(Fraction(1))), "[]")
    same(Rel(("le",), (Fn("abs", (x,)), Num(Fraction(1)))), Rel(("in",), (x, unit)))


def same(gold: Node, answer: Node) -> bool:
    """Whether two relations or sets say the same. Raises NotSupported."""
    if isinstance(gold, Rel) and isinstance(answer, Rel) and gold.ops == answer.ops == ("=",):
        return _same_equation(gold, answer)
    variables = _variables(gold) | _variables(answer)
    if len(variables) > 1:
        raise NotSupported
    variable = sp.Symbol(variables.pop() if variables else "x", real=True)
    return _same_set(_solutions(gold, variable), _solutions(answer, variable))


def _same_equation(gold: Rel, answer: Rel) -> bool:
    """a = b and c = d are one equation when (a - b) / (c - d) is a constant other than zero."""
    left = expression(gold.items[0]) - expression(gold.items[1])
    right = expression(answer.items[0]) - expression(answer.items[1])
    if left == 0 or right == 0:
        return False
    quotient = sp.simplify(left / right)
    return bool(quotient.is_number and quotient.is_finite and quotient != 0)


def _same_set(a: Any, b: Any) -> bool:
    if a == b:
        return True
    return bool(sp.SymmetricDifference(a, b).is_empty)


def _variables(node: Node) -> set[str]:
    if isinstance(node, Sym):
        return set() if node.name in _CONSTANTS else {node.name}
    if isinstance(node, Rel | Seq):
        return set().union(*(_variables(item) for item in node.items))
    if isinstance(node, Name):
        return {atom(node)}
    if isinstance(node, Quantity):
        return _variables(node.value)
    found: set[str] = set()
    for child in children(node):
        found |= _variables(child)
    return found


def _solutions(node: Node, variable: Any) -> Any:
    """The real set that a relation, an interval, a set or a union means."""
    if isinstance(node, Rel):
        if node.ops == ("in",):
            return _solutions(node.items[1], variable)
        sides = [expression(item, {str(variable): variable}) for item in node.items]
        pairs = zip(node.ops, sides, sides[1:], strict=False)
        parts = [sp.solveset(_RELATIONS[op](left, right), variable, sp.S.Reals) for op, left, right in pairs]
        return sp.Intersection(*parts)
    if not isinstance(node, Seq):
        raise NotSupported
    if node.kind == "union":
        return sp.Union(*(_solutions(item, variable) for item in node.items))
    if node.kind in ("set", "list"):
        return sp.FiniteSet(*(expression(item) for item in node.items))
    if node.kind in ("interval", "tuple") and len(node.items) == 2:
        low, high = (expression(item) for item in node.items)
        return sp.Interval(low, high, left_open=node.brackets[0] == "(", right_open=node.brackets[1] == ")")
    raise NotSupported


def expression(node: Node, symbols: dict[str, Any] | None = None) -> Any:
    """The sympy expression of a tree."""
    symbols = symbols or {}
    if isinstance(node, Num):
        return sp.Rational(node.value.numerator, node.value.denominator)
    if isinstance(node, Sym | Name):
        name = atom(node)
        return _CONSTANTS.get(name) or symbols.get(name) or sp.Symbol(name, real=True)
    if isinstance(node, Add):
        return sp.Add(*(expression(term, symbols) for term in node.terms))
    if isinstance(node, Mul):
        return sp.Mul(*(expression(factor, symbols) for factor in node.factors))
    if isinstance(node, Pow):
        return sp.Pow(expression(node.base, symbols), expression(node.exponent, symbols))
    if isinstance(node, Fn) and node.name in _FUNCTIONS:
        return _FUNCTIONS[node.name](*(expression(arg, symbols) for arg in node.args))
    raise NotSupported
