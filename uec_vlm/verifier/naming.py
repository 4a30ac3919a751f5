"""Names of points, segments, angles and figures: when two of them are the same."""

from __future__ import annotations

from collections.abc import Sequence

from uec_vlm.verifier.nodes import Name, Node, Num, Sym
from uec_vlm.verifier.policy import Policy


def match_name(gold: Name, answer: Node, policy: Policy) -> str | None:
    """Names agree letter by letter; a missing "angle" or "triangle" is filled in; AC is CA as a segment."""
    if isinstance(answer, Sym | Num):
        label = answer.name if isinstance(answer, Sym) else str(answer.value)
        return "equivalent" if label == gold.label else None
    if not isinstance(answer, Name):
        return None
    if gold.head != answer.head and not _may_be_left_out(gold, answer):
        return None
    if gold.label == answer.label:
        return "exact" if gold.head == answer.head else "equivalent"
    head = gold.head or answer.head
    either_way = policy.segment_either_way and head in ("", "angle", "line", "arc")
    length = 3 if head == "angle" else 2
    if either_way and len(gold.label) == length and gold.label == answer.label[::-1]:
        return "equivalent"
    return None


def _may_be_left_out(gold: Name, answer: Name) -> bool:
    """Whether "angle", "line" and the like may be missing on one side: AC is a segment, ABC an angle or a triangle."""
    if gold.head and answer.head:
        return False
    head = gold.head or answer.head
    return bool(gold.head) or head == "line" or len(gold.label) >= 3


def same_left(a: Node, b: Node) -> bool:
    """Whether two left sides can be the same quantity; descriptions in words ("Area") are not compared."""
    if isinstance(a, Name) and isinstance(b, Name):
        if "text" in (a.head, b.head):
            return True
        return a.label == b.label or a.label == b.label[::-1]
    if isinstance(a, Name) or isinstance(b, Name):
        return any(isinstance(side, Name) and side.head == "text" for side in (a, b))
    return a == b


def correspondence(sides: Sequence[Node]) -> frozenset[frozenset[tuple[str, str]]] | None:
    """Which corner belongs to which in `triangle ABC cong triangle DEF`, whatever the order of writing."""
    first, second = sides
    if (
        not isinstance(first, Name)
        or not isinstance(second, Name)
        or len(first.label) != len(second.label)
        or len(first.label) < 3
    ):
        return None
    if {first.head, second.head} - {"triangle", ""}:
        return None
    forth = frozenset(zip(first.label, second.label, strict=True))
    back = frozenset(zip(second.label, first.label, strict=True))
    return frozenset({forth, back})
