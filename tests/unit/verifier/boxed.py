"""Answers in a box, and whether they are paid."""

from __future__ import annotations

from uec_vlm.verifier import judge


def is_paid(answer: str, gold: str, choices: list[str] | None = None, question: str | None = None) -> bool:
    """Whether the answer counts for the gold when it stands in a box."""
    return judge(f"\\boxed{{{answer}}}", gold, choices, question=question).correct
