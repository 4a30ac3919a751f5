"""Syntax trees as JSON values and back: what goes to a worker process is data, never code or pickles."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from uec_vlm.verifier.nodes import Add, Fn, Matrix, Mul, Name, Node, Num, Pow, Quantity, Rel, Seq, Sym


def encode(node: Node) -> list[Any]:
    """The tree as nested lists of strings, numbers and None."""
    if isinstance(node, Num):
        return ["Num", str(node.value), node.decimals]
    if isinstance(node, Sym):
        return ["Sym", node.name]
    if isinstance(node, Name):
        return ["Name", node.head, node.label]
    if isinstance(node, Add):
        return ["Add", [encode(term) for term in node.terms]]
    if isinstance(node, Mul):
        return ["Mul", [encode(factor) for factor in node.factors]]
    if isinstance(node, Pow):
        return ["Pow", encode(node.base), encode(node.exponent)]
    if isinstance(node, Fn):
        return ["Fn", node.name, [encode(arg) for arg in node.args]]
    return _encode_compound(node)


def _encode_compound(node: Seq | Matrix | Rel | Quantity) -> list[Any]:
    if isinstance(node, Seq):
        return ["Seq", node.kind, [encode(item) for item in node.items], node.brackets]
    if isinstance(node, Matrix):
        return ["Matrix", [[encode(entry) for entry in row] for row in node.rows]]
    if isinstance(node, Rel):
        return ["Rel", list(node.ops), [encode(item) for item in node.items]]
    return ["Quantity", encode(node.value), node.unit]


def decode(data: list[Any]) -> Node:
    """The inverse of `encode`."""
    node: Node = _DECODERS[data[0]](*data[1:])
    return node


def _nodes(items: list[Any]) -> tuple[Node, ...]:
    return tuple(decode(item) for item in items)


_DECODERS: dict[str, Any] = {
    "Num": lambda value, decimals: Num(Fraction(value), decimals),
    "Sym": Sym,
    "Name": Name,
    "Add": lambda terms: Add(_nodes(terms)),
    "Mul": lambda factors: Mul(_nodes(factors)),
    "Pow": lambda base, exponent: Pow(decode(base), decode(exponent)),
    "Fn": lambda name, args: Fn(name, _nodes(args)),
    "Seq": lambda kind, items, brackets: Seq(kind, _nodes(items), brackets),
    "Matrix": lambda rows: Matrix(tuple(_nodes(row) for row in rows)),
    "Rel": lambda ops, items: Rel(tuple(ops), _nodes(items)),
    "Quantity": lambda value, unit: Quantity(decode(value), unit),
}
