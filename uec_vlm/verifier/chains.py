"""The values that one answer states: `x = 2 + 3 = 5`, `2\\sqrt{221} \\approx 29.73`, `60^\\circ = \\frac{\\pi}{3}`.

The members of a chain must agree; an answer that contradicts itself states nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from uec_vlm.verifier import exact as ex
from uec_vlm.verifier import numeric
from uec_vlm.verifier.nodes import Matrix, Node, Num, Rel, Seq, quotient
from uec_vlm.verifier.settle import names_in, symbols
from uec_vlm.verifier.values import Context, same_measure, same_value, split_unit

EQUAL = frozenset({"=", "approx", "equiv"})


def stated_values(answer: Node, context: Context) -> list[Node]:
    """The values that an answer gives for one unknown: one, or an exact one and its decimals; [] if not one value."""
    if isinstance(answer, Rel):
        return _chain_values(answer, context) if context.policy.drop_left_side else []
    if isinstance(answer, Seq):
        if answer.kind == "ratio" and len(answer.items) == 2 and context.policy.ratio_as_fraction:
            return [quotient(*answer.items)]
        if answer.kind in ("list", "set") and answer.items and all_same(answer.items, context):
            return stated_values(answer.items[0], context)
        return []
    if isinstance(answer, Matrix):
        return []
    return [answer]


def all_same(items: Sequence[Node], context: Context) -> bool:
    """Whether all items are one value."""
    first = items[0]
    if isinstance(first, Seq | Rel):
        return False
    return all(not isinstance(item, Seq | Rel) and same_value(first, item, context.work) for item in items[1:])


def _chain_values(chain: Rel, context: Context) -> list[Node]:
    """The value of `x = 2 + 3 = 5` or of `2 \\sqrt{221} \\approx 29.73`; [] where the members contradict each other."""
    if any(op not in EQUAL for op in chain.ops):
        return []
    pairs = list(zip(("=", *chain.ops), chain.items, strict=True))
    members = [(op, item) for op, item in pairs if not names_in(item) and not isinstance(item, Rel | Seq)]
    if any(isinstance(item, Seq | Rel) for item in chain.items[1:]) or not members:
        return []
    if len(members) == len(pairs) and any(symbols(split_unit(item)[0]) for _, item in members):
        return []  # an equation, not a value
    exact_members: list[Node] = []
    rounded_members: list[Node] = []
    for op, item in members:
        # "2\\sqrt{2} = 2.83" means about 2.83; "2.5 = 2.83" and "2\\sqrt{2} = 2.82" are wrong.
        rounded = op == "approx" or (
            exact_members
            and _decimals(item) >= 2
            and not _decimals(exact_members[-1])
            and _units_beside(exact_members[-1], item) <= 0.5
        )
        (rounded_members if rounded else exact_members).append(item)
    if not _consistent(exact_members):
        return []
    if not exact_members:
        return rounded_members[-1:]
    misses = [_units_beside(exact_members[-1], member) for member in rounded_members]
    if any(miss > 1.0 for miss in misses):
        return []
    right = [member for member, miss in zip(rounded_members, misses, strict=True) if miss <= 0.5]
    # A number that is rounded to a whole one would be two answers, one for either gold.
    if right and _is_rational(exact_members[-1], context) and not _decimals(right[-1]):
        right = []
    return exact_members[-1:] + right[-1:]


def _is_rational(node: Node, context: Context) -> bool:
    try:
        return ex.rational(ex.exact(split_unit(node)[0], context.work)) is not None
    except (ex.Unsupported, ex.Undefined):
        return False


def _decimals(node: Node) -> int:
    """The decimals that a number shows; 0 for anything else."""
    value = split_unit(node)[0]
    return value.decimals or 0 if isinstance(value, Num) else 0


def _consistent(members: Sequence[Node]) -> bool:
    """Whether the members that are numbers are one number, behind which no expression with variables comes."""
    return any(_agree([numeric.real_value(value) for value in values], values) for values in same_measure(members))


def _agree(numbers: Sequence[float | None], values: Sequence[Node]) -> bool:
    known = [(place, number) for place, number in enumerate(numbers) if number is not None]
    if not known:
        return True
    place, first = known[0]
    if any(symbols(value) for value in values[place:]):
        return False
    return all(abs(number - first) <= 1e-9 * max(1.0, abs(first)) for _, number in known[1:])


def _units_beside(exact: Node, rounded: Node) -> float:
    """By how many units of its last shown decimal `rounded` misses `exact`: up to 0.5 it is the rounded value.

    Whole numbers beside one another contradict each other; infinity where the miss is not known.
    """
    return min(_miss(value, shown) for value, shown in same_measure((exact, rounded)))


def _miss(value: Node, shown: Node) -> float:
    a, b = numeric.real_value(value), numeric.real_value(shown)
    if a is None or b is None:
        return float("inf")
    if not isinstance(shown, Num):
        return 0.0 if abs(a - b) <= 1e-3 * abs(a) else float("inf")
    miss = abs(a - b) * 10.0 ** (shown.decimals or 0) - 1e-9
    return miss if shown.decimals or miss <= 0.5 else float("inf")
