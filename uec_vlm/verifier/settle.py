"""Brings a tree into the shape that is compared: what different writers mean by the same thing becomes the same tree.

- `a \\pm b` becomes the list of its two values; signs of one expression are taken together.
- inequalities with one variable become `x in interval`, tuples with an infinite end become intervals.
- `x = 4, -8` and `x = 4, x = -8` become the list of values; `x = 5, y = 7` becomes a system.
"""

from __future__ import annotations

from uec_vlm.verifier import exact, numeric
from uec_vlm.verifier.limits import Work
from uec_vlm.verifier.nodes import (
    MINUS_ONE,
    Add,
    Fn,
    Matrix,
    Mul,
    Name,
    Node,
    Num,
    Pow,
    Quantity,
    Rel,
    Seq,
    Sym,
    children,
    negate,
)

_ORDER = {"<": 1, "le": 1, ">": -1, "ge": -1}
_STRICT = frozenset({"<", ">"})
INFINITY = Sym("oo")
MINUS_INFINITY = negate(INFINITY)


def settle(node: Node, work: Work) -> Node:
    """The tree in the shape that `compare` expects."""
    if isinstance(node, Seq):
        return _settle_seq(node, work)
    if isinstance(node, Rel):
        return _settle_rel(node, work)
    if isinstance(node, Mul) and len(node.factors) == 2 and isinstance(node.factors[1], Seq):
        if isinstance(node.factors[0], Sym):  # P(3, 4), a point with its name
            return _settle_seq(node.factors[1], work)
        return node
    if isinstance(node, Matrix) and len(node.rows) == len(node.rows[0]) == 1:
        return settle(node.rows[0][0], work)
    if _has_sign(node):
        values = tuple(dict.fromkeys((_with_sign(node, 1), _with_sign(node, -1))))
        return Seq("list", values)
    return node


def _settle_seq(node: Seq, work: Work) -> Node:
    items: list[Node] = []
    for item in node.items:
        settled = settle(item, work)
        if node.kind in ("list", "set") and isinstance(settled, Seq) and settled.kind == "list" and _has_sign(item):
            items.extend(settled.items)
        else:
            items.append(settled)
    if node.kind == "list":
        return _settle_list(items)
    if node.kind == "union" and all(isinstance(item, Seq) and item.kind == "set" for item in items):
        members = [member for item in items if isinstance(item, Seq) for member in item.items]
        return Seq("set", tuple(dict.fromkeys(members)))
    if node.kind == "tuple" and len(items) == 2 and _infinite(items[0]) | _infinite(items[1]):
        return Seq("interval", tuple(items), node.brackets)
    return Seq(node.kind, tuple(items), node.brackets)


def _settle_list(items: list[Node]) -> Node:
    names = [_assigned_name(item) for item in items]
    if names[0] is not None:
        if all(name == names[0] for name in names):
            return Seq("list", tuple(_assigned_value(item) for item in items))
        if all(name is None and not isinstance(item, Rel) for name, item in zip(names[1:], items[1:], strict=True)):
            return Seq("list", (_assigned_value(items[0]), *items[1:]))
        if all(name is not None for name in names):
            return Seq("system", tuple(items))
    if len(items) == 2:
        both = _both_inequalities(*items)
        if both is not None:
            return both
    return Seq("list", tuple(items))


def _both_inequalities(a: Node, b: Node) -> Node | None:
    """`x > 3 and x < 11` as an interval, `x < 3 or x > 11` as a union."""
    if not (isinstance(a, Rel) and isinstance(b, Rel) and a.ops == b.ops == ("in",) and a.items[0] == b.items[0]):
        return None
    sets = sorted((a.items[1], b.items[1]), key=lambda item: isinstance(item, Seq) and item.items[0] == MINUS_INFINITY)
    above, below = sets
    if not isinstance(above, Seq) or not isinstance(below, Seq):
        return None
    if above.items[1] != INFINITY or below.items[0] != MINUS_INFINITY:
        return None
    low, high = numeric.real_value(above.items[0]), numeric.real_value(below.items[1])
    if low is None or high is None:
        return None
    if low < high:
        whole = Seq("interval", (above.items[0], below.items[1]), above.brackets[0] + below.brackets[1])
    else:
        whole = Seq("union", (below, above))
    return Rel(("in",), (a.items[0], whole))


def _assigned_name(item: Node) -> str | None:
    """The name on the left of an assignment `name = value`."""
    if isinstance(item, Rel) and item.ops[0] in ("=", "approx") and isinstance(item.items[0], Sym | Name):
        return exact.atom(item.items[0])
    return None


def _assigned_value(item: Node) -> Node:
    assert isinstance(item, Rel)
    rest = item.items[1:]
    return rest[0] if len(rest) == 1 else Rel(item.ops[1:], rest)


# ------------------------------------------------------------------------------------------------------- plus or minus


def _has_sign(node: Node) -> bool:
    """Whether an expression holds a plus-or-minus sign."""
    if isinstance(node, Fn):
        return node.name in ("pm", "mp") or any(_has_sign(arg) for arg in node.args)
    if isinstance(node, Quantity):
        return _has_sign(node.value)
    return any(_has_sign(child) for child in children(node))


def _with_sign(node: Node, sign: int) -> Node:
    """The expression with every `pm` read as `sign` and every `mp` as the other."""
    if isinstance(node, Fn):
        if node.name in ("pm", "mp"):
            inner = _with_sign(node.args[0], sign)
            return inner if (sign > 0) == (node.name == "pm") else negate(inner)
        return Fn(node.name, tuple(_with_sign(arg, sign) for arg in node.args))
    if isinstance(node, Add):
        return Add(tuple(_with_sign(term, sign) for term in node.terms))
    if isinstance(node, Mul):
        return Mul(tuple(_with_sign(factor, sign) for factor in node.factors))
    if isinstance(node, Pow):
        return Pow(_with_sign(node.base, sign), _with_sign(node.exponent, sign))
    if isinstance(node, Quantity):
        return Quantity(_with_sign(node.value, sign), node.unit)
    return node


# ------------------------------------------------------------------------------------------------ relations, intervals


def _settle_rel(node: Rel, work: Work) -> Node:
    items = tuple(settle(item, work) for item in node.items)
    if node.ops == ("in",):
        return Rel(("in",), items)
    if len(items) == 2 and isinstance(items[1], Seq) and items[1].kind == "list" and node.ops == ("=",):
        return items[1] if isinstance(items[0], Sym | Name) else Rel(node.ops, items)
    if node.ops == ("=",) and all(isinstance(item, Seq) and item.kind == "tuple" for item in items):
        return _system(items[0], items[1]) or Rel(node.ops, items)
    if all(op in _ORDER for op in node.ops):
        solved = _interval(node.ops, items, work)
        if solved is not None:
            return solved
    return Rel(node.ops, items)


def _system(names: Node, values: Node) -> Node | None:
    """`(x, y) = (5, 7)` as `x = 5, y = 7`."""
    assert isinstance(names, Seq) and isinstance(values, Seq)
    if len(names.items) != len(values.items) or not all(isinstance(name, Sym | Name) for name in names.items):
        return None
    pairs = zip(names.items, values.items, strict=True)
    return Seq("system", tuple(Rel(("=",), pair) for pair in pairs))


def _interval(ops: tuple[str, ...], items: tuple[Node, ...], work: Work) -> Node | None:
    """`x in (lower, upper)` for an inequality that is linear in its only variable, else None."""
    if len(items) == 3:
        if _ORDER[ops[0]] != _ORDER[ops[1]] or not isinstance(items[1], Sym):
            return None
        low, high = (items[0], items[2]) if _ORDER[ops[0]] > 0 else (items[2], items[0])
        first, second = (ops[0], ops[1]) if _ORDER[ops[0]] > 0 else (ops[1], ops[0])
        return _member_of(items[1], low, high, first in _STRICT, second in _STRICT)
    if len(items) != 2:
        return None
    direction = _ORDER[ops[0]]
    strict = ops[0] in _STRICT
    left, right = items
    if isinstance(left, Sym) and not _variables(right):
        return _half_line(left, right, direction, strict)
    if isinstance(right, Sym) and not _variables(left):
        return _half_line(right, left, -direction, strict)
    try:
        form = exact.difference(exact.exact(left, work), exact.exact(right, work), work)
    except (exact.Unsupported, exact.Undefined):
        return None
    line = exact.linear(form)
    if line is None:
        return None
    name, slope, constant = line
    return _half_line(Sym(name), Num(-constant / slope), direction if slope > 0 else -direction, strict)


def _half_line(variable: Sym, bound: Node, direction: int, strict: bool) -> Node:
    if direction > 0:
        return _member_of(variable, MINUS_INFINITY, bound, True, strict)
    return _member_of(variable, bound, INFINITY, strict, True)


def _member_of(variable: Sym, low: Node, high: Node, open_low: bool, open_high: bool) -> Node:
    brackets = ("(" if open_low else "[") + (")" if open_high else "]")
    return Rel(("in",), (variable, Seq("interval", (low, high), brackets)))


def _infinite(node: Node) -> bool:
    return node in (INFINITY, MINUS_INFINITY)


def _variables(node: Node) -> bool:
    if isinstance(node, Sym):
        return node.name not in ("pi", "e", "oo")
    return isinstance(node, Name) or any(_variables(child) for child in children(node))


def symbols(node: Node) -> set[str]:
    """The names of the variables in an expression."""
    if isinstance(node, Sym | Name):
        name = exact.atom(node)
        return set() if name in ("pi", "e", "i") else {name}
    found: set[str] = set()
    for child in children(node):
        found |= symbols(child)
    return found


def names_in(node: Node) -> bool:
    """Whether a tree is made of names only: what may stand on the left of `= 5` without being part of the answer.

    Not `-x`, nor `x x`: their value is not that of x.
    """
    if isinstance(node, Name):
        return True
    if isinstance(node, Sym):
        return node.name not in ("pi", "oo") and not node.name[0].isdigit()
    if isinstance(node, Quantity):  # x^\circ
        return names_in(node.value)
    if isinstance(node, Pow):
        return names_in(node.base) and node.exponent == MINUS_ONE
    if isinstance(node, Seq):
        return bool(node.items) and all(names_in(item) for item in node.items)
    parts = children(node)
    if isinstance(node, Mul) and (MINUS_ONE in parts or len(set(parts)) < len(parts)):
        return False
    return bool(parts) and all(names_in(_without_sign(part) if isinstance(node, Add) else part) for part in parts)


def _without_sign(term: Node) -> Node:
    """The term of a sum without its minus sign: `a - b` is made of names."""
    if not isinstance(term, Mul) or MINUS_ONE not in term.factors:
        return term
    rest = [factor for factor in term.factors if factor != MINUS_ONE]
    return rest[0] if len(rest) == 1 else Mul(tuple(rest)) if rest else term
