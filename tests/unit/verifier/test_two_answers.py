"""What could be two answers at once, and what is one answer spelt twice."""

from __future__ import annotations

import pytest

from tests.unit.verifier.boxed import is_paid
from uec_vlm.verifier import judge

FOUR = ["2", "8", "9", "10"]
AREAS = ["12", r"36\pi", "18", "3"]
CLOSE = ["12", "12.5", "13", "14"]
MIXED = r"Round angles to the nearest degree and sides to the nearest tenth."
OTHER_WAY = r"Round sides to the nearest tenth and angles to the nearest degree."


@pytest.mark.parametrize("answer", ["C", "c", "(C)", r"\text{C}", "Option C"])
def test_a_letter_answers_only_a_prompt_that_shows_letters(answer: str) -> None:
    assert judge(f"\\boxed{{{answer}}}", "9", FOUR).correct
    assert not judge(f"\\boxed{{{answer}}}", "9", FOUR, listed=False).correct
    assert judge(f"\\boxed{{{answer}}}", "C", FOUR, listed=False).correct, (
        "a gold that is a letter says that it was asked"
    )


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("answer", ["A = 36\\pi", "B = 36\\pi", "C = 36\\pi", "D=36\\pi", "c = 36\\pi"])
def test_a_variable_may_be_called_as_an_option_is(answer: str, listed: bool) -> None:
    assert judge(f"\\boxed{{{answer}}}", r"36\pi", AREAS, listed=listed).correct


@pytest.mark.parametrize("answer", ["A: 36\\pi", "A. 36\\pi", "(A) 36\\pi", "A = 12", "A (36\\pi)", "36\\pi (A)"])
def test_a_letter_and_the_text_of_another_option_are_no_answer(answer: str) -> None:
    assert not is_paid(answer, r"36\pi", AREAS)


@pytest.mark.parametrize("answer", ["B (36\\pi)", "36\\pi (B)", r"36\pi \text{ (B)}", "36\\pi(B)"])
@pytest.mark.parametrize("gold", ["B", r"36\pi"])
def test_a_letter_and_its_text_are_one_answer(answer: str, gold: str) -> None:
    assert is_paid(answer, gold, AREAS)


@pytest.mark.parametrize(
    ("answer", "gold", "paid"),
    [
        (r"12.5 \approx 13", "12.5", True),
        (r"12.5 \approx 13", "13", False),
        (r"45.4 \approx 45", "45", False),
        (r"\frac{25}{2} \approx 13", "13", False),
        (r"2\sqrt{3} \approx 3.5", "3.5", True),
        (r"\sqrt{1370} \approx 37", "37", True),
        (r"10\sin(0.9) \approx 8", "8", True),
        (r"6\sqrt{3} (\approx 10.39)", r"6\sqrt{3}", True),
        (r"6\sqrt{3} \text{ (about 10.39)}", r"6\sqrt{3}", True),
        (r"6\sqrt{3} (\approx 11.39)", r"6\sqrt{3}", False),
    ],
)
def test_an_approximation_is_no_second_answer(answer: str, gold: str, paid: bool) -> None:
    assert is_paid(answer, gold, CLOSE if gold in CLOSE else None) is paid


def test_an_approximation_that_was_asked_for_counts() -> None:
    assert is_paid(r"45.4 \approx 45", "45", question="Round to the nearest degree.")


@pytest.mark.parametrize("answer", [r"x^\circ = 45^\circ", "x° = 45°", r"x^\circ = 45", r"45 = x^\circ"])
def test_the_unit_of_the_unknown_is_no_second_answer(answer: str) -> None:
    assert is_paid(answer, "45")
    assert not is_paid(answer, "44")


@pytest.mark.parametrize(
    "text",
    ["The answer is 9. Or maybe 8.", "Answer: 9\n\nNo wait, it is 8.", "The answer is $9$ but $8$ is possible.",
     "The wrong answer is 9.", "The incorrect answer: 9"],
)  # fmt: skip
def test_an_answer_that_is_taken_back_is_none(text: str) -> None:
    assert not judge(text, "9").correct


@pytest.mark.parametrize(
    "text", ["The answer is 9.", "Answer: $9$", "The answer is 9. I hope this helps!", "The answer is 9 because 3 < 4."]
)
def test_an_answer_that_stands_is_one(text: str) -> None:
    assert judge(text, "9").correct


@pytest.mark.parametrize(
    ("question", "gold", "answer", "paid"),
    [
        (MIXED, "12.5", "12", False),
        (MIXED, "12.5", "12.46", True),
        (MIXED, "37", "36.87", True),
        (OTHER_WAY, "37", "36.87", True),
        (OTHER_WAY, r"\sqrt{2}", "1", False),
        ("A fence goes around a garden. The perimeter is equal to the number of metres.", "12", "12.4", False),
        ("Round to the nearest foot.", "37", "36.87", True),
        ("Round to the nearest centimetre.", "37", "36.87", True),
        ("Round to the nearest whole number.", "37", "36.87", True),
        ("Give your answer to two decimal places.", "36.87", "36.871", True),
    ],
)
def test_the_precision_that_a_question_asks_for(question: str, gold: str, answer: str, paid: bool) -> None:
    assert is_paid(answer, gold, question=question) is paid
