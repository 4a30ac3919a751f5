"""The labelled answers and the real golds, where they are beside the checkout."""

import re

import pytest

from tests.unit.verifier.shared_data import exact_golds, labelled_cases, real_problems
from uec_vlm.verifier import answer_value, judge, normalise_answer

_ROOT = re.compile(r"\\sqrt\s*\{?\s*(\d+)\s*\}?")


def test_geometry_answers() -> None:
    rows = labelled_cases("geometry_cases_dev.jsonl")
    verdicts = [judge(row["response"], row["gold"], row.get("choices")) for row in rows]
    policy = [row["tag"].startswith("policy") for row in rows]
    agree = [verdict.correct == row["expected"] for verdict, row in zip(verdicts, rows, strict=True)]
    paid = [row["id"] for verdict, row in zip(verdicts, rows, strict=True) if verdict.correct > row["expected"]]
    main = [a for a, is_policy in zip(agree, policy, strict=True) if not is_policy]
    leniences = [a for a, is_policy in zip(agree, policy, strict=True) if is_policy]
    assert paid == []
    assert sum(main) / len(main) >= 0.99
    assert sum(leniences) / len(leniences) >= 0.95
    assert "error" not in {verdict.reason for verdict in verdicts}


def test_general_answers() -> None:
    rows = [row for row in labelled_cases("peer_cases_dev.jsonl") if not row["quirk"]]
    agree = [judge(row["response"], row["gold"]).correct == row["expected"] for row in rows]
    assert sum(agree) / len(agree) >= 0.97


def forms(gold: str) -> dict[str, str]:
    """A right answer in every form that peers were measured with."""
    signs = _ROOT.sub(r"√\1", gold).replace(r"\pi", "π")
    return {
        "box": rf"\boxed{{{gold}}}",
        "dollars": rf"\boxed{{${gold}$}}",
        "equation": rf"\boxed{{x = {gold}}}",
        "degrees": rf"\boxed{{{gold}^\circ}}",
        "degree sign": rf"\boxed{{{gold}°}}",
        "cm": rf"\boxed{{{gold} \text{{ cm}}}}",
        "units": rf"\boxed{{{gold} units}}",
        "unicode": rf"\boxed{{{signs}}}",
        "tag": f"<answer>{gold}</answer>",
        "stated": f"The answer is {gold}.",
        "canonical": rf"\boxed{{{normalise_answer(gold)}}}",
    }


def test_no_real_answer_is_refused_and_no_wrong_choice_is_paid() -> None:
    refused, paid = [], []
    for problem in real_problems():
        choices, right = problem["choices"], problem["right"]
        for gold, options in ((choices[right], None), (choices[right], choices), ("ABCD"[right], choices)):
            for place, choice in enumerate(choices):
                if place != right and choice == choices[right]:
                    continue
                for form, response in forms(choice).items():
                    verdict = judge(f"<think> 5 = 5 </think>\n{response}", gold, options, question=problem["question"])
                    if verdict.correct != (place == right):
                        (refused if place == right else paid).append((problem["id"], form, gold, response))
    assert refused == []
    assert paid == []


def test_letters_of_real_problems() -> None:
    for problem in real_problems():
        choices, right = problem["choices"], problem["right"]
        for place, letter in enumerate("ABCD"):
            for response in (letter, f"({letter})", f"\\text{{{letter}}}", f"{letter}. {choices[place]}"):
                verdict = judge(f"\\boxed{{{response}}}", choices[right], choices)
                assert verdict.correct == (choices[place] == choices[right]), (problem["id"], response)


def test_exact_golds_equal_what_sympy_prints() -> None:
    sympy = pytest.importorskip("sympy")
    for gold in dict.fromkeys(exact_golds()):
        value = sympy.sympify(gold)
        for spelling in (gold, sympy.latex(value), str(value)):
            assert judge(f"\\boxed{{{spelling}}}", gold).correct, (gold, spelling)
        assert not judge(f"\\boxed{{{sympy.latex(value + 1)}}}", gold).correct, gold
        number = answer_value(gold)
        assert number is not None
        assert abs(number - float(value)) <= 1e-9 * max(1.0, abs(float(value)))
