"""Station verifier: completion text and gold answer in, a verdict with a reason out.

    extract -> read (spelling, lexer, grammar, answers, settle) -> compare (exact, numeric; symbolic in workers)

The public names are loaded when they are first used, so that a worker process of the pool stays small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uec_vlm.verifier.audit import AuditReport, audit_golds
    from uec_vlm.verifier.batch import judge_many
    from uec_vlm.verifier.format import FORMATS, has_format
    from uec_vlm.verifier.golds import answer_value, normalise_answer
    from uec_vlm.verifier.grade_file import FileGrades, verify_command
    from uec_vlm.verifier.grading import Item
    from uec_vlm.verifier.judging import judge
    from uec_vlm.verifier.length import overlong_penalty
    from uec_vlm.verifier.policy import CORRECT_REASONS, DEFAULT_POLICY, REASONS, Policy
    from uec_vlm.verifier.rewards import RewardFunction, load_reward_function

_HOMES = {
    "AuditReport": "audit",
    "audit_golds": "audit",
    "Item": "grading",
    "judge_many": "batch",
    "FORMATS": "format",
    "has_format": "format",
    "answer_value": "golds",
    "normalise_answer": "golds",
    "FileGrades": "grade_file",
    "verify_command": "grade_file",
    "judge": "judging",
    "CORRECT_REASONS": "policy",
    "DEFAULT_POLICY": "policy",
    "Policy": "policy",
    "REASONS": "policy",
    "RewardFunction": "rewards",
    "load_reward_function": "rewards",
    "overlong_penalty": "length",
}

__all__ = [
    "CORRECT_REASONS",
    "DEFAULT_POLICY",
    "FORMATS",
    "REASONS",
    "AuditReport",
    "FileGrades",
    "Item",
    "Policy",
    "RewardFunction",
    "answer_value",
    "audit_golds",
    "has_format",
    "judge",
    "judge_many",
    "load_reward_function",
    "normalise_answer",
    "overlong_penalty",
    "verify_command",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
