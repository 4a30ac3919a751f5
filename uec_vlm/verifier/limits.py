"""The bounds that keep every comparison small. They are far above what a person would write as an answer."""

from __future__ import annotations

MAX_ANSWER_CHARS = 2000  # of the extracted answer, and of a gold
MAX_TOKENS = 900
MAX_DEPTH = 30  # of nested groups
MAX_ITEMS = 40  # of a list, a set or a tuple
MAX_DIGITS = 120  # of one number
MAX_POWER_BITS = 2048  # of an exact integer that a power or a factorial makes
MAX_MONOMIALS = 80  # of an exact form
MAX_WORK = 20_000  # elementary steps of one judgement (about 50 ms)
MAX_BOXES = 200  # boxes that are looked at, counted from the end
STATED_WINDOW = 2000  # characters at the end of a text where an unboxed answer is looked for


class LimitError(ValueError):
    """An answer is outside the bounds of this module."""


class ParseError(ValueError):
    """An answer is no mathematics that the grammar knows."""


class Work:
    """The elementary steps that one judgement may still take: a bound that does not depend on the machine."""

    def __init__(self, steps: int = MAX_WORK) -> None:
        """Start with `steps` left."""
        self.left = steps

    def spend(self, steps: int) -> None:
        """Take steps away; raises LimitError when none are left."""
        self.left -= steps
        if self.left < 0:
            raise LimitError("too much work")


def words(text: str) -> frozenset[str]:
    """The words of a literal, as a set."""
    return frozenset(text.split())
