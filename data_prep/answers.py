"""Gold answers: one spelling and one number, as the verifier reads them."""

from __future__ import annotations

import re

_INTEGER = re.compile(r"-?\d+(\.\d+)?")


def normalise_answer(text: str) -> str:
    """The normalised spelling of a gold answer."""
    return re.sub(r"\s*([{}])\s*", r"\1", " ".join(text.split()))


def answer_value(text: str) -> float | None:
    """The value of a normalised answer, None where it is no number."""
    return float(text) if _INTEGER.fullmatch(text) else None
