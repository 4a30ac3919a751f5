"""Station verifier: completion text and gold answer in, a verdict with a reason out.

    extract -> read (spelling, lexer, grammar, answers) -> compare (exact, numeric, symbolic)

The public names are loaded when they are first used, so that a worker process of the pool stays small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uec_vlm.verifier.format import FORMATS, has_format
    from uec_vlm.verifier.judging import answer_value, judge, normalise_answer
    from uec_vlm.verifier.policy import CORRECT_REASONS, DEFAULT_POLICY, REASONS, Policy

__all__ = [
    "CORRECT_REASONS",
    "DEFAULT_POLICY",
    "FORMATS",
    "REASONS",
    "Policy",
    "answer_value",
    "has_format",
    "judge",
    "normalise_answer",
]

_HOMES = {
    "FORMATS": "format",
    "has_format": "format",
    "judge": "judging",
    "normalise_answer": "judging",
    "answer_value": "judging",
    "Policy": "policy",
    "DEFAULT_POLICY": "policy",
    "REASONS": "policy",
    "CORRECT_REASONS": "policy",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
