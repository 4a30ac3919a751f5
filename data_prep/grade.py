"""Ask the verifier about every gold before anybody trains on it."""

from __future__ import annotations

from data_prep.common import RowRefused, shown
from uec_vlm.records import Sample
from uec_vlm.verifier import judge


def grade_check(sample: Sample) -> None:
    r"""Raise `RowRefused` unless the gold in `\boxed{}` is graded right and every other choice wrong.

    Both are asked as in training, with the question, once without the choices and once with them.
    """
    question = sample.problem
    for choices in (None, sample.choices) if sample.choices else (None,):
        verdict = judge(f"\\boxed{{{sample.answer}}}", sample.answer, choices, question=question)
        if not verdict.correct:
            raise RowRefused("gold_not_graded_right", f"{shown(sample.answer)} is judged '{verdict.reason}'")
        for choice in sample.choices:
            if (
                choice != sample.answer
                and judge(f"\\boxed{{{choice}}}", sample.answer, choices, question=question).correct
            ):
                raise RowRefused(
                    "wrong_choice_graded_right", f"{shown(choice)} against the gold {shown(sample.answer)}"
                )
