"""Choices inside texts, golds in tags and boxes, keys, facts."""

import pytest

from data_prep.common import RawRow
from data_prep.shaping import (
    Repairs,
    answered_sample,
    different_choices,
    facts,
    plain_key,
    split_choices,
    tagged_answer,
    unboxed,
)
from uec_vlm.verifier import normalise_answer

ANGLES = "In the diagram, A: 30, B: 40, C: 110. Which vertex has the largest angle?"
ROW = RawRow("train", "train/00007", "table", {}, ())


@pytest.mark.parametrize(
    ("text", "question", "choices"),
    [
        ("Find x. Choices: A. 3 B. 4", "Find x.", ["3", "4"]),
        ("Find x.\nChoices:\nA:60°\nB:75°\nC:80°", "Find x.", ["60°", "75°", "80°"]),
        ("A. 7; B. 12;C. 14", "", ["7", "12", "14"]),
        ("Which?\n(A) one\n(B) two", "Which?", ["one", "two"]),
        ("哪一个？\nA、甲\nB、乙", "哪一个？", ["甲", "乙"]),
        ("In triangle ABC, A is right.", "In triangle ABC, A is right.", []),
        ("Points A. and C. are given.", "Points A. and C. are given.", []),
        ("Only A. here", "Only A. here", []),
        (ANGLES, ANGLES, []),
        ("图中 A：30 B：40 C：70。哪个角最大？", "图中 A：30 B：40 C：70。哪个角最大？", []),
        ("Points A: 3 B: 4\nHow far apart are they", "Points A: 3 B: 4\nHow far apart are they", []),
        (f"{ANGLES} A. A B. B C. C", ANGLES, ["A", "B", "C"]),
        ("Ask! A. Who? B. How much?", "Ask!", ["Who?", "How much?"]),
        ("Sure? A. Yes. It is. B. No. It is not.", "Sure?", ["Yes. It is.", "No. It is not."]),
        ("Find x. A. 3.5 B. approx. 4", "Find x.", ["3.5", "approx. 4"]),
        ("A. first\nB. it is not C. but D\nC. last", "A. first\nB. it is not C. but D\nC. last", []),
    ],
)
def test_choices_are_taken_out_only_where_their_labels_run_on(text: str, question: str, choices: list[str]) -> None:
    assert split_choices(text) == (question, choices)


@pytest.mark.parametrize(
    "choices",
    [
        ["$6.6\\times 10^{-34}$", "$6.6\\times 10^{-33}$", "1", "2"],
        ["1-2-3", "1-3-2", "4-1-1", "none"],
        ["\\sqrt{8}", "2\\sqrt{2}", "4", "8"],
        ["4:6", "2:3", "6:8", "10:4"],
    ],
)
def test_choices_of_one_value_and_two_spellings_stay_apart(choices: list[str]) -> None:
    repairs = Repairs("p")
    kept, values, right = different_choices(choices, 1, repairs)
    assert (len(kept), len(values), right, repairs.events()) == (4, 4, 1, ())
    assert kept[1] == normalise_answer(choices[1])


def test_repeated_and_empty_choices_are_dropped_and_the_gold_is_followed() -> None:
    repairs = Repairs("p")
    assert different_choices(["7", "", "8", "$7$", "9"], 3, repairs) == (["7", "8", "9"], [7.0, 8.0, 9.0], 0)
    assert [event.reason for event in repairs.events()] == ["empty_choice", "duplicated_choices"]
    assert different_choices(["7", "7", "", "8"], 3, Repairs("p")) == (["7", "8"], [7.0, 8.0], 1)


def test_golds_in_tags_and_boxes() -> None:
    assert tagged_answer("<think>x</think> <answer> 145° </answer>") == " 145° "
    assert tagged_answer("145°") == "145°"
    assert unboxed("\\boxed{\\frac{5}{6}}") == "\\frac{5}{6}"
    assert unboxed(" \\boxed{A} ") == "A"
    for whole in ("\\boxed{1} and \\boxed{2}", "\\boxed{1}.", "\\boxed{1", "7"):
        assert unboxed(whole) == whole


def test_a_letter_with_choices_becomes_the_choice_and_any_other_gold_stays_open() -> None:
    def made(answer: str) -> tuple[str, str, tuple[str, ...]]:
        sample = answered_sample(
            ROW, name="x", key="1", text="Find x. A. 3 B. 4", answer=answer, repairs=Repairs("p"), metadata={}
        ).sample
        return sample.problem, sample.answer, sample.choices

    assert made("B") == made("(b)") == ("Find x.", "4", ("3", "4"))
    assert made("4") == ("Find x. A. 3 B. 4", "4", ())
    sample = answered_sample(ROW, name="x", key="1", text=ANGLES, answer="C", repairs=Repairs("p"), metadata={}).sample
    assert (sample.problem, sample.answer, sample.choices) == (ANGLES, "C", ())
    assert made("C") == ("Find x. A. 3 B. 4", "C", ())


def test_keys_that_are_no_plain_names_become_the_rows_number() -> None:
    repairs = Repairs("train/00007")
    assert plain_key("a-b_1.c", ROW, repairs) == "a-b_1.c"
    assert plain_key(12, ROW, repairs) == "12"
    assert repairs.events() == ()
    for given in (None, True, "", "a b", "x" * 61, ["1"]):
        assert plain_key(given, ROW, repairs) == "row-00007"
    assert {event.reason for event in repairs.events()} == {"id_not_plain"}


def test_facts_are_values_that_json_can_hold() -> None:
    fields = {"a": 1, "b": float("nan"), "c": ["x"], "d": [1], "e": None, "f": {"g": 1}}
    assert facts(fields, "a", "b", "c", "d", "e", "f", "z") == {"a": 1, "c": ["x"], "e": None}
