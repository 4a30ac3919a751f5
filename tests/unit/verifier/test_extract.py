"""Where the answer is found, rule by rule."""

import pytest

from tests.support.spent import at_most
from uec_vlm.verifier import judge
from uec_vlm.verifier.extract import Extraction, extract, gold_text


@pytest.mark.parametrize(
    ("response", "text"),
    [
        (r"\boxed{5}", "5"),
        (r"\boxed {5}", "5"),
        (r"\fbox{5}", "5"),
        (r"\\boxed{5}", "5"),
        (r"\boxed{5}}", "5"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"first \boxed{5}, no: \boxed{6}", "6"),
        (r"\boxed{5} is cut off: \boxed{6", "5"),
        (r"AB = \boxed{5}" + "\n\n" + r"BC = \boxed{12}", "12"),
        (r"<think>\boxed{4}</think> so \boxed{5}", "5"),
        (r"no opening \boxed{4}</think>\boxed{5}", "5"),
        (r"\boxed{5}<|im_end|>\boxed{6}", "5"),
        ("<|im_start|>assistant\n" + r"\boxed{5}", "5"),
        (r"\boxed{5}. On second thought the answer is 6.", "5"),
    ],
)
def test_the_last_complete_box_is_the_answer(response: str, text: str) -> None:
    assert extract(response).text == text
    assert extract(response).how == "box"


def test_boxes_in_a_row_are_one_answer_with_several_items() -> None:
    for gap in (", ", " and ", " or ", "", " ", r"\quad", r"$ and $", r"\text{ and }", "、"):
        assert extract(rf"\boxed{{5}}{gap}\boxed{{6}}").text == "5, 6", gap
    assert extract(r"\boxed{5} = \boxed{6}").text == "6"
    named = extract(r"$a = \boxed{5}$ and $b = \boxed{6}$")
    assert (named.text, named.last, named.named) == ("a = 5, b = 6", "6", True)


@pytest.mark.parametrize("response", [r"\boxed{}", r"\boxed{ }", r"the answer is 5. \boxed{}", r"\boxed{5}\boxed{}"])
def test_an_empty_last_box_is_no_answer(response: str) -> None:
    assert judge(response, "5").reason == "no_answer"


@pytest.mark.parametrize(
    ("response", "text"),
    [
        ("<answer>10</answer>", "10"),
        ("<answer> 10 </answer> and more", "10"),
        ("<ANSWER>10</ANSWER>", "10"),
        ("<answer>10", "10"),
        ("<think>a</think><answer>9</answer><answer>10</answer>", "10"),
    ],
)
def test_the_last_tag_is_the_answer(response: str, text: str) -> None:
    assert extract(response) == Extraction("tag", text, text)


def test_a_box_inside_the_tag_wins_and_one_behind_it_does_not_count() -> None:
    assert extract(r"<answer>it is \boxed{10}</answer>").text == "10"
    assert extract(r"<answer>10</answer> or \boxed{11}").text == "10"
    assert extract("<answer></answer>").how == "none"


@pytest.mark.parametrize(
    ("response", "finish_reason"),
    [
        (r"<think>it is 5 \boxed{5}", None),
        (r"<think>it is 5 \boxed{5}", "stop"),
        (r"so \boxed{5", None),
        ("the answer is 5", "length"),
        ("<answer>5", "length"),
        ("", "length"),
    ],
)
def test_a_cut_text_is_truncated(response: str, finish_reason: str | None) -> None:
    verdict = judge(response, "5", finish_reason=finish_reason)
    assert (verdict.correct, verdict.reason, verdict.extracted) == (False, "truncated", None)


def test_a_cut_text_with_a_complete_answer_is_judged() -> None:
    assert judge(r"\boxed{5} and then", "5", finish_reason="length").correct
    assert judge("<answer>5</answer> and then", "5", finish_reason="length").correct


STATED = [
    ("The answer is 12.", "12"),
    ("The answer is $12$.", "12"),
    ("Final answer: 12", "12"),
    ("**Final Answer:** 12", "12"),
    ("### Final Answer\n12", "12"),
    ("#### 12", "12"),
    ("**12**", "12"),
    ("**Answer: 12°**", "12"),
    ("12", "12"),
    ("x = 12", "12"),
    ("Therefore, x = 12.", "12"),
    ("So the length of AB is 12 units.", "12"),
    ("lots of text.\n\n\\[x = 12\\]", "12"),
    ("The answer is 12, not 15.", "12"),
    ("The answer is 0.5.", "0.5"),
    ("答案是12。", "12"),
    ("The answer is 12. I checked it twice: the answer is correct.", "12"),
    ("The probability is P = 1/2. Therefore, the probability that Alice wins is 2/3.", "2/3"),
]


@pytest.mark.parametrize(("response", "gold"), STATED)
def test_a_stated_answer_counts(response: str, gold: str) -> None:
    assert extract(response).how == "stated"
    assert judge(response, gold).correct


@pytest.mark.parametrize(
    ("response", "gold"),
    [
        ("Since AB = 12 and the angle is 45 degrees, we", "12"),
        ("Since AB = 12 and the angle is 45 degrees, we", "45"),
        ("AB = 12 and the angle is 45", "45"),
        ("Could you provide the lengths of the 3 sides?", "3"),
        ("The answer is 15, not 12.", "12"),
        ("The answer is 12 or 15.", "12"),
        ("The answer is not 12.", "12"),
        ("Perhaps it is $12$", "12"),
        ("If only it were $12$", "12"),
        ("Is the answer 12?", "12"),
        ("boxed{12}", "12"),
        ("I cannot help with that. A diagram is needed.", "A"),
        ("A is too small and B is too large, and C does not fit either.", "A"),
    ],
)
def test_a_number_in_the_text_is_no_answer(response: str, gold: str) -> None:
    assert not judge(response, gold).correct


def test_option_letters_are_stated_too() -> None:
    choices = ["9", "10", "13", "15"]
    for response in (
        "The answer is B.",
        "Reasons.\nThe correct option is (B).",
        "So option B is correct.",
        "Option (B) is correct.",
        "The best choice is B.",
        "I choose B.",
        "Correct answer: B) 10",
    ):
        assert judge(response, "B", choices).correct, response
        assert not judge(response, "A", choices).correct, response


def test_golds_give_up_their_boxes() -> None:
    assert gold_text(r"Therefore, $\boxed{14{,}916}$ is our answer.") == "14{,}916"
    assert gold_text(r"\(\boxed{1}\) and \(\boxed{-2}\).") == "1, -2"
    assert gold_text(" 12 ") == "12"


def test_extraction_is_linear_in_the_text() -> None:
    for unit in (r"\boxed{", "{", "}", "<answer>", "answer is ", r"\boxed{5}, ", "**5** ", "<|a|> "):
        with at_most(1.0, unit):
            extract(unit * (400_000 // len(unit)))
