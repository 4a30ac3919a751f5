"""Ask the verifier about every gold before anybody trains on it."""

from __future__ import annotations

from data_prep.common import RowRefused, shown
from uec_vlm.records import Sample
from uec_vlm.verifier import judge


def grade_check(sample: Sample) -> None:
    r"""Raise `RowRefused` unless the gold in `\boxed{}` is graded right and every other choice wrong.

    Asked as in training: with the question and, where there are some, with the choices. The gold is asked without the
    choices too; choices that only a judge without them confuses are told by `audit-answers`, not refused.
    """
    question, choices = sample.problem, sample.choices or None
    for known in dict.fromkeys((choices, None)):
        verdict = judge(f"\\boxed{{{sample.answer}}}", sample.answer, known, question=question)
        if not verdict.correct:
            raise RowRefused("gold_not_graded_right", f"{shown(sample.answer)} is judged '{verdict.reason}'")
    for choice in sample.choices:
        if choice == sample.answer:
            continue
        if judge(f"\\boxed{{{choice}}}", sample.answer, choices, question=question).correct:
            raise RowRefused("wrong_choice_graded_right", f"{shown(choice)} against the gold {shown(sample.answer)}")
