"""Whether an answer tree is the gold tree: by kind of gold, with the leniences of the policy.

Both trees come from `answers.readings` and went through `settle`. The functions return the reason of the match
("exact", "equivalent" or "rounded") or None. What only symbolic algebra can decide is noted in `context.pending`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from uec_vlm.verifier import exact as ex
from uec_vlm.verifier import numeric
from uec_vlm.verifier.chains import EQUAL, all_same, stated_values
from uec_vlm.verifier.matrices import matrix_value
from uec_vlm.verifier.naming import correspondence, match_name, same_left
from uec_vlm.verifier.nodes import Matrix, Name, Node, Num, Rel, Seq, Sym, quotient
from uec_vlm.verifier.settle import names_in
from uec_vlm.verifier.values import Context, match_scalar, same_value

_SYMMETRIC = frozenset({"cong", "sim", "parallel", "perp", "ne", "="})
_ORDERED = frozenset({"<", ">", "le", "ge"})


def match(gold: Node, answer: Node, context: Context) -> str | None:
    """The reason why the answer counts for the gold, or None."""
    context.work.spend(1)
    if isinstance(gold, Rel):
        return _match_rel(gold, answer, context)
    if isinstance(gold, Seq):
        return _SEQUENCES[gold.kind](gold, answer, context)
    if isinstance(gold, Name):
        found = match_name(gold, answer, context.policy)
        return found or (_match_value(gold, answer, context) if not gold.head else None)
    matrix = matrix_value(gold, context.work)
    if matrix is not None:
        return _match_matrix(matrix, answer, context)
    return _match_value(gold, answer, context)


# -------------------------------------------------------------------------------------------------------- single values


def _match_value(gold: Node, answer: Node, context: Context) -> str | None:
    """A single gold value against every value that the answer states, which must all agree among themselves."""
    values = stated_values(answer, context)
    if isinstance(answer, Seq) and answer.kind == "ratio" and isinstance(gold, Num) and gold.value.denominator == 1:
        return None
    for value in values:
        reason = match_scalar(gold, value, context)
        if reason:
            return reason
    return None


# ------------------------------------------------------------------------------------------------------------ sequences


def _match_list(gold: Seq, answer: Node, context: Context) -> str | None:
    if isinstance(answer, Rel) and answer.ops in (("=",), ("in",)) and names_in(answer.items[0]):
        answer = answer.items[1]
    if isinstance(answer, Seq) and answer.kind == "system":
        answer = Seq("list", tuple(_right_side(item) for item in answer.items))
    if not isinstance(answer, Seq):
        return match(gold.items[0], answer, context) if all_same(gold.items, context) else None
    if answer.kind in ("list", "set") and context.policy.unordered_lists:
        return _match_unordered(gold.items, answer.items, context)
    if len(answer.items) != len(gold.items):
        return None
    if answer.kind in ("list", "set", "tuple") or answer.brackets == "()":
        return _match_ordered(gold.items, answer.items, context)
    return None


def _match_set(gold: Seq, answer: Node, context: Context) -> str | None:
    if isinstance(answer, Rel) and len(answer.items) == 2 and answer.ops in (("=",), ("in",)):
        answer = answer.items[1]
    if len(gold.items) == 1 and not isinstance(answer, Seq):
        return match(gold.items[0], answer, context)
    if not isinstance(answer, Seq) or answer.kind not in ("list", "set"):
        return None
    return _match_unordered(gold.items, answer.items, context) if gold.items or answer.items else "exact"


def _match_tuple(gold: Seq, answer: Node, context: Context) -> str | None:
    left: Node | None = None
    if isinstance(answer, Rel) and len(answer.items) == 2 and answer.ops in (("=",), ("in",)):
        left, answer = answer.items
    if not isinstance(answer, Seq) or len(answer.items) != len(gold.items):
        return None
    if answer.kind == "system":
        return _match_ordered(gold.items, _by_axis(answer.items), context)
    if isinstance(left, Seq) and len(left.items) == len(answer.items):  # (y, x) = (3, 4)
        pairs = tuple(Rel(("=",), pair) for pair in zip(left.items, answer.items, strict=True))
        return _match_ordered(gold.items, _by_axis(pairs), context)
    if answer.kind == "list":
        return _match_ordered(gold.items, answer.items, context) if context.policy.bare_tuple else None
    if answer.kind in ("tuple", "interval") and answer.brackets == gold.brackets:
        return _match_ordered(gold.items, answer.items, context)
    return None


def _match_interval(gold: Seq, answer: Node, context: Context) -> str | None:
    if isinstance(answer, Rel) and answer.ops in (("=",), ("in",)):
        answer = answer.items[1]
    if isinstance(answer, Seq) and answer.kind in ("interval", "tuple") and answer.brackets == gold.brackets:
        if len(answer.items) != len(gold.items):
            return None
        return _match_ordered(gold.items, answer.items, context)
    if isinstance(answer, Rel | Seq) and (isinstance(answer, Rel) or answer.kind == "union"):
        context.pending.append((gold, answer))
    return None


def _match_union(gold: Seq, answer: Node, context: Context) -> str | None:
    whole = answer
    if isinstance(answer, Rel) and answer.ops in (("=",), ("in",)):
        answer = answer.items[1]
    if isinstance(answer, Seq) and answer.kind == "union" and len(answer.items) == len(gold.items):
        found = _match_unordered(gold.items, answer.items, context)
        if found:
            return found
    if isinstance(whole, Rel) or (isinstance(answer, Seq) and answer.kind == "union"):
        context.pending.append((gold, whole))
    return None


def _match_ratio(gold: Seq, answer: Node, context: Context) -> str | None:
    """Ratios agree when they are proportional; a ratio of two is also their quotient."""
    if isinstance(answer, Rel) and all(op in EQUAL for op in answer.ops):
        answer = answer.items[-1]
    if isinstance(answer, Seq) and answer.kind == "ratio":
        if len(answer.items) != len(gold.items):
            return None
        if _match_ordered(gold.items, answer.items, context):
            return "exact"
        zero = [_is_zero(item, context) for item in (*gold.items, *answer.items)]
        first, other = gold.items[0], answer.items[0]
        proportional = not any(zero) and all(
            same_value(quotient(g, first), quotient(a, other), context.work)
            for g, a in zip(gold.items[1:], answer.items[1:], strict=True)
        )
        return "equivalent" if proportional else None
    if len(gold.items) == 2 and context.policy.ratio_as_fraction and not isinstance(answer, Seq | Rel | Matrix):
        return match_scalar(quotient(*gold.items), answer, context)
    return None


def _is_zero(node: Node, context: Context) -> bool:
    return same_value(node, quotient(node, node), context.work) is False and numeric.real_value(node) == 0.0


def _match_system(gold: Seq, answer: Node, context: Context) -> str | None:
    """`x = 5, y = 7`: the same names with the same values, or the bare values in the same order."""
    if not isinstance(answer, Seq) or len(answer.items) != len(gold.items):
        return None
    if answer.kind == "system":
        return _match_unordered(gold.items, answer.items, context)
    if answer.kind in ("tuple", "list"):
        return _match_ordered(_by_axis(gold.items), answer.items, context)
    return None


def _by_axis(equations: Sequence[Node]) -> tuple[Node, ...]:
    """The right sides of `y = 3, x = 4`: in the order x, y, z where those are the names, else as they stand."""
    sides = [item.items[0] if isinstance(item, Rel) else item for item in equations]
    names = [side.name if isinstance(side, Sym) else "" for side in sides]
    if set(names) <= set("xyz") and len(set(names)) == len(names):
        equations = [item for _, item in sorted(zip(names, equations, strict=True), key=lambda pair: pair[0])]
    return tuple(_right_side(item) for item in equations)


def _right_side(item: Node) -> Node:
    return item.items[-1] if isinstance(item, Rel) else item


def _match_ordered(golds: Sequence[Node], answers: Sequence[Node], context: Context) -> str | None:
    reasons = []
    for gold, answer in zip(golds, answers, strict=True):
        reason = match(gold, answer, context) or _match_label(gold, answer, context)
        if reason is None:
            return None
        reasons.append(reason)
    return _weakest(reasons)


def _match_unordered(golds: Sequence[Node], answers: Sequence[Node], context: Context) -> str | None:
    left = list(answers)
    if len(left) != len(golds):
        left = list(dict.fromkeys(left))
        golds = list(dict.fromkeys(golds))
    if len(left) != len(golds):
        return None
    reasons = []
    for gold in golds:
        for index, answer in enumerate(left):
            reason = match(gold, answer, context) or _match_label(gold, answer, context)
            if reason:
                reasons.append(reason)
                del left[index]
                break
        else:
            return None
    return _weakest(reasons)


def _match_label(gold: Node, answer: Node, context: Context) -> str | None:
    """Inside lists, `angle 3` stands for 3: "angles 2, 3, 6 and 7" names its head once."""
    if isinstance(answer, Name) and isinstance(gold, Num):
        return match_name(answer, gold, context.policy)
    return None


def _weakest(reasons: list[str]) -> str:
    return "rounded" if "rounded" in reasons else "equivalent" if "equivalent" in reasons else "exact"


def _match_matrix(gold: Matrix, answer: Node, context: Context) -> str | None:
    if isinstance(answer, Rel) and all(op in EQUAL for op in answer.ops):
        answer = answer.items[-1]
    other = matrix_value(answer, context.work)
    if other is None or len(other.rows) != len(gold.rows) or len(other.rows[0]) != len(gold.rows[0]):
        return None
    flat = [entry for row in gold.rows for entry in row]
    return _match_ordered(flat, [entry for row in other.rows for entry in row], context)


# ------------------------------------------------------------------------------------------------------------ relations


def _match_rel(gold: Rel, answer: Node, context: Context) -> str | None:
    if gold.ops == ("in",):
        return _match_membership(gold, answer, context)
    if all(op in EQUAL for op in gold.ops) and any(names_in(item) for item in gold.items):
        found = _match_assignment(gold, answer, context)
        if found:
            return found
    if not isinstance(answer, Rel):
        return None
    if len(gold.ops) == 1 and gold.ops == answer.ops:
        found = _match_sides(gold, answer, context)
        if found:
            return found
    if gold.ops == answer.ops == ("=",):
        return _match_equations(gold, answer, context)
    if all(op in _ORDERED for op in (*gold.ops, *answer.ops)) or answer.ops == ("in",):
        context.pending.append((gold, answer))
    return None


def _match_membership(gold: Rel, answer: Node, context: Context) -> str | None:
    """`x in S`: the same variable where both name one, and the same set."""
    if isinstance(answer, Rel) and answer.ops == ("in",):
        if not same_left(gold.items[0], answer.items[0]):
            return None
        answer = answer.items[1]
    elif isinstance(answer, Rel):
        if answer.ops == ("=",) and isinstance(answer.items[1], Seq):
            return None
        context.pending.append((gold, answer))
        return None
    return match(gold.items[1], answer, context)


def _match_assignment(gold: Rel, answer: Node, context: Context) -> str | None:
    """`y = 5`: the same name where both give one; a bare 5 counts."""
    values = [item for item in gold.items if not names_in(item)]
    if not values:
        return None
    if isinstance(answer, Rel) and all(op in EQUAL for op in answer.ops):
        if not any(same_left(g, a) for g in gold.items if names_in(g) for a in answer.items if names_in(a)):
            return None
    elif isinstance(answer, Rel):
        return None
    for value in values:
        found = match(value, answer, context)
        if found:
            return found
    return None


def _match_sides(gold: Rel, answer: Rel, context: Context) -> str | None:
    """The same two sides, in either order where the relation is symmetric."""
    g, a = gold.items, answer.items
    if all(match(x, y, context) for x, y in zip(g, a, strict=True)):
        return "exact"
    if gold.ops[0] in _SYMMETRIC and match(g[0], a[1], context) and match(g[1], a[0], context):
        return "equivalent"
    if gold.ops[0] in ("cong", "sim") and correspondence(g) == correspondence(a) is not None:
        return "equivalent"
    return None


def _match_equations(gold: Rel, answer: Rel, context: Context) -> str | None:
    """Two equations say the same when their differences of sides are proportional."""
    work = context.work
    try:
        left = ex.difference(ex.exact(gold.items[0], work), ex.exact(gold.items[1], work), work)
        right = ex.difference(ex.exact(answer.items[0], work), ex.exact(answer.items[1], work), work)
    except (ex.Unsupported, ex.Undefined):
        context.pending.append((gold, answer))
        return None
    return "equivalent" if ex.proportional(left, right) else None


_SEQUENCES: dict[str, Callable[[Seq, Node, Context], str | None]] = {
    "list": _match_list,
    "set": _match_set,
    "tuple": _match_tuple,
    "interval": _match_interval,
    "union": _match_union,
    "difference": _match_tuple,
    "ratio": _match_ratio,
    "system": _match_system,
}


def is_several(gold: Node, answer: Node, context: Context) -> bool:
    """Whether the answer offers several values where the gold has one."""
    if isinstance(gold, Seq):
        return False
    if isinstance(answer, Seq) and answer.kind in ("list", "set", "system"):
        return len(answer.items) > 1
    if isinstance(answer, Rel) and all(op in EQUAL for op in answer.ops):
        return not stated_values(answer, context) and not isinstance(gold, Rel) and not names_in(answer)
    return False
