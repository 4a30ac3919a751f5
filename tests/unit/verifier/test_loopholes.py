"""Ways to be paid for another answer than the gold, which must not pay, beside their honest neighbours, which must."""

from __future__ import annotations

import pytest

from tests.unit.verifier.boxed import is_paid
from uec_vlm.verifier import judge

FOUR = ["9", "10", "13", "15"]
SINE = r"\frac{\sqrt{3}}{2}"
TO_DEGREES = "Find x. Round angle measures to the nearest degree."


@pytest.mark.parametrize(
    ("answer", "gold", "paid"),
    [
        ("A. B. C. D.", "A", False),
        ("(A) or (B)", "A", False),
        ("[A] or [B]", "A", False),
        ("A, B", "A", False),
        ("A) 9, B) 10", "A", False),
        ("C. not sure, maybe D", "C", False),
        ("B) is wrong", "B", False),
        ("B", "B", True),
        ("(B) 10", "B", True),
        ("B. The lines are not parallel", "B", True),
        ("C. 5 and 7", "C", True),
        (r"C. \triangle ABC", "C", True),
        ("D: 12 or more", "D", True),
    ],
)
def test_a_letter_without_known_options_is_one_letter(answer: str, gold: str, paid: bool) -> None:
    assert is_paid(answer, gold) is paid


def test_letters_in_a_row_are_no_answer_however_they_are_stated() -> None:
    assert not judge("Answer: (A) or (B) or (C) or (D)", "A").correct
    assert not judge("<answer>A) or B)</answer>", "A").correct
    assert judge("The correct answer is option C: 13.", "C").correct
    assert judge("The correct answer is option C: 13.", "C", FOUR).correct
    assert not judge("The correct answer is option C: 10.", "C", FOUR).correct


@pytest.mark.parametrize(
    "answer",
    [
        "A. 9",
        "Answer: A. 9",
        r"\text{Answer: (A) } 9",
        r"\text{A. } 9",
        r"\left(A\right) 9",
        "A, 9",
        "A - 9",
        r"\textbf{a) 9}",
        "A",
    ],
)
def test_the_letter_may_occur_in_the_words_before_it(answer: str) -> None:
    assert is_paid(answer, "A", FOUR)
    assert not is_paid(answer.replace("9", "10"), "A", FOUR) or "9" not in answer


@pytest.mark.parametrize(
    ("answer", "gold", "choices"),
    [
        (r"A \approx 10", "B", FOUR),
        (r"C \approx 18.85", "18.85", ["9.42", "18.85", "28.27", "37.7"]),
        (r"a \perp b", "B", [r"a \parallel b", r"a \perp b", "a = b", "none"]),
        (r"a\sqrt{2}", "B", [r"a\sqrt{3}", r"a\sqrt{2}", "a", "2a"]),
        (r"a \sqrt{2}", "B", [r"a\sqrt{3}", r"a\sqrt{2}", "a", "2a"]),
        (r"a \sin\theta", "B", [r"a\cos\theta", r"a\sin\theta"]),
        (r"\cos(A)", "B", [r"\sin(A)", r"\cos(A)", r"\tan(A)", "1"]),
        ("P(B)", "B", ["P(A)", "P(B)", "P(C)", "P(D)"]),
        ("Q", "B", ["P", "Q", "R", "S"]),
        ("10", "B", ["A. 9", "B. 10", "C. 13", "D. 15"]),
        ("B. 10", "B", ["A. 9", "B. 10", "C. 13", "D. 15"]),
        ("B", "10", ["A. 9", "B. 10"]),
        ("10", "B", ["A: 9", "B: 10"]),
    ],
)
def test_an_option_is_known_by_its_text(answer: str, gold: str, choices: list[str]) -> None:
    assert is_paid(answer, gold, choices)


@pytest.mark.parametrize(
    ("answer", "choices"),
    [
        ("2", ["2:1", "2", "1:2", "1"]),
        ("0.5", [r"0.5\%", "0.5", "50", "5"]),
        ("SAS congruence", ["SAS similarity", "SAS congruence", "ASA congruence", "none"]),
        ("12 cm", ["12", "12 cm", "24", "36 cm"]),
    ],
)
def test_the_text_of_a_wrong_option_is_wrong(answer: str, choices: list[str]) -> None:
    assert not is_paid(answer, "A", choices)
    assert is_paid(choices[0], "A", choices)


@pytest.mark.parametrize(
    ("answer", "gold", "question", "paid"),
    [
        ("0", "0.47", TO_DEGREES, False),
        ("1", SINE, TO_DEGREES, False),
        ("12", "12.5", TO_DEGREES, False),
        ("13", "12.5", TO_DEGREES, False),
        ("0", "3.1416", "Round to the nearest ten-thousandth.", False),
        ("10", "7.0711", "Give the answer to the nearest ten thousandth.", False),
        ("0", "3.1416", "Round to the nearest hundred-thousandth.", False),
        ("12.4", "12", "A round table has a diameter equal to the integer n.", False),
        ("6", r"\sqrt{33}", "Round to the nearest whole number.", True),
        ("0.9", SINE, "Round to the nearest tenth.", True),
        ("37", r"\arctan(0.75)\cdot\frac{180}{\pi}", TO_DEGREES, True),
        ("3.1416", r"\pi", "Round to the nearest ten-thousandth.", True),
        ("3.14", r"\pi", "Give it correct to two decimal places.", True),
        ("3.1", r"\pi", "The answer is rounded to the tenth.", True),
        ("170", "169.7", "Round to the nearest ten.", True),
        ("2.6", "3", TO_DEGREES, True),
    ],
)
def test_rounding_keeps_the_size_of_the_number(answer: str, gold: str, question: str, paid: bool) -> None:
    assert is_paid(answer, gold, question=question) is paid


@pytest.mark.parametrize(
    ("response", "gold", "paid"),
    [
        ("Answer: 7\n\nThe side is 3 or 4, so the radius is $5$.", "5", False),
        ("The answer is 7. Or maybe it is $5$.", "5", False),
        ("The answer is 7 or 12.", "12", False),
        ("The answer is 7. Wait, it could be 12.", "7", False),
        ("The answer is 12. This follows from the sine rule or from a 30-60-90 triangle.", "12", True),
        ("#### Step 1: read\n\n#### Step 2: Solve\nx = 12.\n\nThe answer is 12.", "12", True),
        ("#### Final Answer\n12", "12", True),
        ("The sides are 3 and 4.\n#### 12", "12", True),
    ],
)
def test_what_was_announced_counts_or_nothing(response: str, gold: str, paid: bool) -> None:
    assert judge(response, gold).correct is paid


@pytest.mark.parametrize(
    ("answer", "gold", "paid"),
    [
        ("y = 3, x = 4", "(3, 4)", False),
        ("y = 4, x = 3", "(3, 4)", True),
        ("(y, x) = (3, 4)", "(3, 4)", False),
        ("(y, x) = (4, 3)", "(3, 4)", True),
        ("(x, y) = (3, 4)", "(3, 4)", True),
        ("z = 5, y = 4, x = 3", "(3, 4, 5)", True),
        ("(7, 5)", "y = 7, x = 5", False),
        ("(5, 7)", "y = 7, x = 5", True),
        ("a = 3, b = 4", "(3, 4)", True),
    ],
)
def test_coordinates_are_told_apart_by_their_names(answer: str, gold: str, paid: bool) -> None:
    assert is_paid(answer, gold) is paid


@pytest.mark.parametrize(
    ("answer", "gold", "paid"),
    [
        (r"12\text{ metres long}", "12 cm", False),
        (r"12\text{ metres long}", "12 m", True),
        (r"12\text{ kilometers away}", "12 m", False),
        (r"60\text{ radians approx}", r"60^\circ", False),
        (r"12\text{ square centimetres area}", "12 cm", False),
        (r"5 \text{ thousand}", "5", False),
        (r"5\text{ cubed}", "5", False),
        (r"3\text{ halves}", "3", False),
        (r"5\text{ root three}", "5", False),
        (r"30\text{ incorrect}", "30", False),
        (r"12\text{ yachts}", "12", True),
        (r"12\text{ small triangles}", "12", True),
        (r"12\text{ cm long}", "12 cm", True),
    ],
)
def test_words_behind_a_number_may_change_it(answer: str, gold: str, paid: bool) -> None:
    assert is_paid(answer, gold) is paid


@pytest.mark.parametrize(
    ("answer", "gold", "paid"),
    [
        (r"\text{No solution}", "No", False),
        ("No information given", "No", False),
        ("No correct answer", "No", False),
        ("Yes, not really", "Yes", False),
        ("Yes is wrong", "Yes", False),
        (r"\text{true if } x > 3", "True", False),
        ("No, the lines are not parallel", "No", True),
        ("No, they are not congruent", "No", True),
        ("Yes, because the angles are not equal to 90", "Yes", True),
        ("Yes, it is.", "Yes", True),
        ("The answer is no", "No", True),
        ("SAS congruence", "SAS similarity", False),
        ("regular quadrilateral", "regular triangle", False),
        ("equilateral polygon", "equilateral triangle", False),
        ("SAS theorem", "SAS postulate", True),
        ("SAS", "SAS congruence", True),
        ("isosceles triangle", "isosceles", True),
    ],
)
def test_words_that_differ_are_another_answer(answer: str, gold: str, paid: bool) -> None:
    assert is_paid(answer, gold) is paid


def test_no_correct_answer_is_not_no() -> None:
    last = ["Yes", "No", "Cannot be determined", "No correct answer"]
    assert not is_paid(r"\text{No correct answer}", "B", last)
    assert is_paid(r"\text{No correct answer}", "D", last)
    assert not judge("<answer>No idea</answer>", "No").correct


@pytest.mark.parametrize(
    ("answer", "gold", "paid"),
    [
        ("-x = 30", "30", False),
        (r"x \cdot x = 30", "30", False),
        ("y = 5 = 2x + 3", "y = 2x + 3", False),
        ("x = 30", "30", True),
        ("AB = 30", "30", True),
        ("y = 2x + 3", "y = 2x + 3", True),
    ],
)
def test_a_left_side_names_the_unknown_itself(answer: str, gold: str, paid: bool) -> None:
    assert is_paid(answer, gold) is paid


@pytest.mark.parametrize(
    ("answer", "gold", "paid"),
    [
        (r"\theta = \cos^{-1}(0.6) \approx 53.13^\circ", "53.13", True),
        (r"\theta = \cos^{-1}(0.6) \approx 54.13^\circ", "54.13", False),
        (r"\arcsin(0.5) = 30^\circ", "30", True),
        (r"\arcsin(0.5) = 35^\circ", "35", False),
        (r"60^\circ = \frac{\pi}{3}", r"60^\circ", True),
        (r"60^\circ = \frac{\pi}{4}", r"60^\circ", False),
        (r"12\text{ cm} = 0.12\text{ m}", "12 cm", True),
        (r"12\text{ cm} = 12\text{ m}", "12 cm", False),
        (r"\frac12 = 50\%", r"50\%", True),
        (r"8\sqrt2 = 11.31", r"8\sqrt2", True),
        (r"8\sqrt2 = 12.31", r"8\sqrt2", False),
        (r"\frac23 = 0.667", r"\frac23", True),
        (r"\frac23 = 0.66", r"\frac23", False),
        (r"29.73 \text{ (approx)}", r"2\sqrt{221}", True),
        (r"29.73 \text{ (rounded to two decimal places)}", r"2\sqrt{221}", True),
        (r"2\sqrt{221}\,(\text{approx. }29.73)", r"2\sqrt{221}", True),
        (r"2\sqrt{221}\,(\text{approx. }39.73)", r"2\sqrt{221}", False),
        (r"\text{Area: } 10", "10", True),
        (r"12,5 \text{ cm}", "12.5", True),
        ("x = 12,5", "12.5", True),
    ],
)
def test_one_value_may_be_written_twice(answer: str, gold: str, paid: bool) -> None:
    assert is_paid(answer, gold) is paid
