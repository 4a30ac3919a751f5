r"""Exact values such as `180*acos(5/13)/pi` or `-2+6*sqrt(7)`: a small grammar of its own, to a number and to LaTeX.

    sum     := product (("+" | "-") product)*
    product := signed (("*" | "/") signed)*
    signed  := "-" signed | power
    power   := atom ("**" signed)?
    atom    := digits | digits "." digits | "pi" | NAME "(" sum ")" | "(" sum ")"

NAME is one of `FUNCTIONS`; angles are in radians. Nothing of the text is ever executed. Numbers are floats when
evaluated, so no expression can take long; length, depth and digits are bounded.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

MAX_TOKENS = 400
MAX_DEPTH = 40
MAX_DIGITS = 30

FUNCTIONS: dict[str, tuple[Callable[[float], float], str]] = {
    "sqrt": (math.sqrt, r"\sqrt"),
    "sin": (math.sin, r"\sin"),
    "cos": (math.cos, r"\cos"),
    "tan": (math.tan, r"\tan"),
    "asin": (math.asin, r"\arcsin"),
    "acos": (math.acos, r"\arccos"),
    "atan": (math.atan, r"\arctan"),
}
_OPERATORS: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": math.pow,
}
_TOKEN = re.compile(r"\s*([0-9]+\.[0-9]+|[0-9]+|\*\*|[-+*/()]|[a-z]+)")


@dataclass(frozen=True)
class Expression:
    """A node: `head` is a number's digits, "pi", a function, an operator or "neg"; `parts` are its operands."""

    head: str
    parts: tuple[Expression, ...] = ()


def parse(text: str) -> Expression:
    """The expression that the whole text is; raises `ValueError` that says what is wrong and where."""
    tokens: list[str] = []
    position, text = 0, text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"character {text[position]!r} at {position} is not understood")
        if len(match[1]) > MAX_DIGITS:
            raise ValueError(f"{match[1][:12]}... has more than {MAX_DIGITS} characters")
        if len(tokens) == MAX_TOKENS:
            raise ValueError(f"more than {MAX_TOKENS} numbers, names and signs")
        tokens.append(match[1])
        position = match.end()
    expression, rest = _sum(tokens, 0, 0)
    if rest != len(tokens):
        raise ValueError(f"{tokens[rest]!r} is not expected after {''.join(tokens[:rest])[-20:]!r}")
    return expression


def evaluate(expression: Expression) -> float:
    """The value; raises `ValueError` where there is none (a division by 0, the root of a negative number ...)."""
    try:
        value = _evaluate(expression)
    except (ArithmeticError, ValueError) as error:
        raise ValueError(f"{latex(expression)[:80]} has no value: {error}") from error
    if not math.isfinite(value):
        raise ValueError(f"{latex(expression)[:80]} has no finite value")
    return value


def latex(expression: Expression) -> str:
    r"""The expression as LaTeX: `\frac{13}{2}`, `60\sqrt{3}`, `-2+6\sqrt{7}`."""
    head, parts = expression.head, expression.parts
    if head == "pi":
        return r"\pi"
    if head == "sqrt":
        return rf"\sqrt{{{latex(parts[0])}}}"
    if head in FUNCTIONS:
        return f"{FUNCTIONS[head][1]}({latex(parts[0])})"
    if head == "neg":
        return "-" + _bracketed(parts[0], "+", "-", "neg")
    if head == "/":
        return rf"\frac{{{latex(parts[0])}}}{{{latex(parts[1])}}}"
    if head == "**":
        base = latex(parts[0]) if not parts[0].parts else f"({latex(parts[0])})"
        return f"{base}^{{{latex(parts[1])}}}"
    if head == "*":
        return _product(parts[0], parts[1])
    if head in ("+", "-"):
        return latex(parts[0]) + head + _bracketed(parts[1], "neg", *(("+", "-") if head == "-" else ()))
    return head


def _bracketed(expression: Expression, *heads: str) -> str:
    """LaTeX, in brackets if the expression's operator is one of `heads`, which bind less than its surroundings."""
    return f"({latex(expression)})" if expression.head in heads else latex(expression)


def _product(left: Expression, right: Expression) -> str:
    one, other = _bracketed(left, "+", "-", "neg"), _bracketed(right, "+", "-", "neg")
    # Digits that follow another factor would read as a part of it, and a fraction behind digits as a mixed number.
    joined = other[0].isdigit() or (one[-1].isdigit() and other.startswith(r"\frac"))
    return one + (r"\cdot " if joined else "") + other


def _evaluate(expression: Expression) -> float:
    values = [_evaluate(part) for part in expression.parts]
    head = expression.head
    if head == "pi":
        return math.pi
    if head == "neg":
        return -values[0]
    if head in FUNCTIONS:
        return FUNCTIONS[head][0](values[0])
    return _OPERATORS[head](*values) if head in _OPERATORS else float(head)


_Parsed = tuple[Expression, int]
"""An expression and the position of the first token after it."""


def _sum(tokens: list[str], at: int, depth: int) -> _Parsed:
    return _chain(tokens, at, depth, ("+", "-"), _product_of)


def _product_of(tokens: list[str], at: int, depth: int) -> _Parsed:
    return _chain(tokens, at, depth, ("*", "/"), _signed)


def _chain(
    tokens: list[str], at: int, depth: int, signs: tuple[str, str], part: Callable[[list[str], int, int], _Parsed]
) -> _Parsed:
    """Parts joined by operators of one rank, grouped from the left."""
    if depth > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
    left, at = part(tokens, at, depth)
    while at < len(tokens) and tokens[at] in signs:
        right, after = part(tokens, at + 1, depth)
        negative = left.head == "neg" and tokens[at] in ("*", "/")  # -3/4 is -(3/4): the sign is kept in front
        joined = Expression(tokens[at], (left.parts[0] if negative else left, right))
        left, at = Expression("neg", (joined,)) if negative else joined, after
    return left, at


def _signed(tokens: list[str], at: int, depth: int) -> _Parsed:
    if depth > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
    if tokens[at : at + 1] == ["-"]:
        inner, at = _signed(tokens, at + 1, depth + 1)
        return Expression("neg", (inner,)), at
    base, at = _atom(tokens, at, depth)
    if tokens[at : at + 1] == ["**"]:
        exponent, at = _signed(tokens, at + 1, depth + 1)
        return Expression("**", (base, exponent)), at
    return base, at


def _atom(tokens: list[str], at: int, depth: int) -> _Parsed:
    if at >= len(tokens):
        raise ValueError("a number is missing at the end")
    token = tokens[at]
    if token[0].isdigit() or token == "pi":
        return Expression(token), at + 1
    if token in FUNCTIONS and tokens[at + 1 : at + 2] == ["("]:
        inner, at = _closed(tokens, at + 2, depth)
        return Expression(token, (inner,)), at
    if token == "(":
        return _closed(tokens, at + 1, depth)
    raise ValueError(f"{token!r} is not expected; functions are {', '.join(FUNCTIONS)}")


def _closed(tokens: list[str], at: int, depth: int) -> _Parsed:
    inner, at = _sum(tokens, at, depth + 1)
    if tokens[at : at + 1] != [")"]:
        raise ValueError("a closing bracket is missing")
    return inner, at + 1
