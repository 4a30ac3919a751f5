"""The syntax tree of an answer. Nodes are small frozen values; they know nothing of text or of evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Num:
    """A rational number. decimals: digits after the point where it was written as a decimal, else None."""

    value: Fraction
    decimals: int | None = None


@dataclass(frozen=True, slots=True)
class Sym:
    """A variable or a named constant (`pi`, `e`, `i`, `oo`); subscripts and primes are part of the name."""

    name: str


@dataclass(frozen=True, slots=True)
class Add:
    """A sum."""

    terms: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Mul:
    """A product."""

    factors: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Pow:
    """A power; roots are powers with a fractional exponent, quotients products with a negative one."""

    base: Node
    exponent: Node


@dataclass(frozen=True, slots=True)
class Fn:
    """A function by name: sin, log, abs, factorial, deg (degree sign), pct (percent), pm (plus or minus) ..."""

    name: str
    args: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Name:
    """A geometric name. head: "", "angle", "triangle", "arc" ...; label: the letters in their order."""

    head: str
    label: str


@dataclass(frozen=True, slots=True)
class Seq:
    """Several things. kind: list (bare), tuple, set, interval, ratio, union or vector.

    brackets: the opening and the closing sign where there are any ("[)" is a half-open interval).
    """

    kind: str
    items: tuple[Node, ...]
    brackets: str = ""


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of equal length."""

    rows: tuple[tuple[Node, ...], ...]


@dataclass(frozen=True, slots=True)
class Rel:
    """A chain of relations: items[0] ops[0] items[1] ops[1] items[2] ..."""

    ops: tuple[str, ...]
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value with its unit (a key of `units.UNITS` raised to powers, see there)."""

    value: Node
    unit: str


Node = Num | Sym | Add | Mul | Pow | Fn | Name | Seq | Matrix | Rel | Quantity

MINUS_ONE = Num(Fraction(-1))
PI = Sym("pi")
HALF = Num(Fraction(1, 2))


def negate(node: Node) -> Node:
    """Minus the node, folding the sign into numbers."""
    if isinstance(node, Num):
        return Num(-node.value, node.decimals)
    return Mul((MINUS_ONE, node))


def quotient(top: Node, bottom: Node) -> Node:
    """Top over bottom."""
    return Mul((top, Pow(bottom, MINUS_ONE)))


def children(node: Node) -> tuple[Node, ...]:
    """The parts of an expression; a quantity's value is not among them."""
    if isinstance(node, Add):
        return node.terms
    if isinstance(node, Mul):
        return node.factors
    if isinstance(node, Pow):
        return (node.base, node.exponent)
    if isinstance(node, Fn):
        return node.args
    return ()
