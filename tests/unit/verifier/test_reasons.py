"""Every documented reason is given, by the case that it is for, and no other reason exists."""

import pytest

from uec_vlm.verifier import CORRECT_REASONS, REASONS, judge, judging
from uec_vlm.verifier.pool import WorkerFailure, WorkerTimeout

CHOICES = ["9", "10", "13", "15"]

GIVEN = [
    ("exact", r"\boxed{5}", "5", None),
    ("equivalent", r"\boxed{\sqrt{20}}", r"2\sqrt{5}", None),
    ("rounded", r"\boxed{4.47}", r"2\sqrt{5}", None),
    ("choice", r"\boxed{10}", "B", CHOICES),
    ("wrong", r"\boxed{6}", "5", None),
    ("no_answer", "I see a triangle.", "5", None),
    ("several_answers", r"\boxed{5, 6}", "5", None),
    ("several_answers", r"\boxed{B. 9}", "B", CHOICES),
    ("unparsable", r"\boxed{\foo{5}{6}}", "5", None),
    ("truncated", r"so it is \boxed{5", "5", None),
    ("too_long", r"\boxed{" + "1+" * 2000 + "1}", "5", None),
    ("gold_unparsable", r"\boxed{5}", "", None),
    ("gold_unparsable", r"\boxed{5}", r"\frac{1}{", None),
]


@pytest.mark.parametrize(("reason", "response", "gold", "choices"), GIVEN)
def test_reasons(reason: str, response: str, gold: str, choices: list[str] | None) -> None:
    verdict = judge(response, gold, choices)
    assert verdict.reason == reason
    assert verdict.correct is (reason in CORRECT_REASONS)


def test_options_that_are_orders_are_told_apart() -> None:
    options = ["5-4-3-2-1", "5-2-3-4-1", "5-4-2-3-1"]
    for gold in (options[0], "A"):
        assert judge(r"\boxed{5-4-3-2-1}", gold, options).correct
        assert not judge(r"\boxed{5-2-3-4-1}", gold, options).correct
    assert not judge(r"\boxed{5-2-3-4-1}", options[0]).correct


def test_a_failure_of_ours_is_an_error_and_never_a_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(judging, "decide", broken)
    assert judge(r"\boxed{5}", "5").reason == "error"


@pytest.mark.parametrize(("problem", "reason"), [(WorkerTimeout(), "timeout"), (WorkerFailure(), "error")])
def test_a_killed_comparison_is_a_timeout(monkeypatch: pytest.MonkeyPatch, problem: Exception, reason: str) -> None:
    class BrokenPool:
        def same(self, *_: object, **__: object) -> None:
            raise problem

    monkeypatch.setattr(judging, "shared_pool", BrokenPool)
    verdict = judge(r"\boxed{x^2 < 4}", "-2 < x < 2")
    assert (verdict.correct, verdict.reason, verdict.extracted) == (False, reason, "x^2 < 4")


def test_all_reasons_are_covered() -> None:
    assert {reason for reason, *_ in GIVEN} | {"timeout", "error"} == set(REASONS)
    assert set(REASONS) >= CORRECT_REASONS
    assert len(REASONS) == len(set(REASONS))
