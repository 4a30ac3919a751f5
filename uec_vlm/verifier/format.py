"""The answer formats that a prompt can ask for. Format is measured apart from accuracy and never mixed into it."""

from __future__ import annotations

import re
from collections.abc import Callable

_BOX = r"\boxed{"


def _boxed(text: str) -> bool:
    """Exactly one closed box that is not empty."""
    start = text.find(_BOX)
    if start < 0 or text.find(_BOX, start + 1) >= 0:
        return False
    depth = 0
    for place in range(start + len(_BOX) - 1, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return bool(text[start + len(_BOX) : place].strip())
    return False


def _think_boxed(text: str) -> bool:
    """`<think> ... </think>` once, from the start of the text, and then exactly one closed box."""
    stripped = text.strip()
    if not stripped.startswith("<think>") or text.count("<think>") != 1 or text.count("</think>") != 1:
        return False
    return _boxed(stripped.split("</think>", 1)[1]) and _BOX not in stripped.split("</think>", 1)[0]


def _answer_tags(text: str) -> bool:
    """`<think> ... </think>` and then `<answer> ... </answer>`, nothing after it."""
    if any(text.count(tag) != 1 for tag in ("<think>", "</think>", "<answer>", "</answer>")):
        return False
    return re.fullmatch(r"\s*<think>.*</think>\s*<answer>.*</answer>\s*", text, re.DOTALL) is not None


FORMATS: dict[str, Callable[[str], bool]] = {
    "think_boxed": _think_boxed,
    "boxed": _boxed,
    "think_answer": _answer_tags,
}


def has_format(response: str, name: str) -> bool:
    """Whether a completion keeps the format called `name` (a key of FORMATS). Linear in the length of the text."""
    return FORMATS[name](response)
