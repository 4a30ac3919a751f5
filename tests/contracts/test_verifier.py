"""The contract of every verifier: deterministic, total, the gold in its format is right, nothing is no answer."""

import pytest

from uec_vlm.geosynth import ProblemSet
from uec_vlm.records import Verdict
from uec_vlm.verifier import REASONS, Item, judge, judge_many

GOLDS = [
    "48",
    "-8",
    "0.5",
    r"\frac{3}{2}",
    r"4\frac{4}{11}",
    r"2\sqrt{221}",
    r"36\pi",
    "145°",
    "12 cm",
    r"15\text{ cm}^2",
    "35\\%",
    r"\$12.50",
    "x=5, y=7",
    "y=2x+3",
    "2x+5",
    "(3, 4)",
    "[0,5)",
    "3 < x < 11",
    r"\{1, 2\}",
    "3:4",
    r"\pm 5",
    "3, 5",
    "AC",
    "Yes",
    "SAS",
    "B",
    r"\angle 1 \cong \angle Z",
    "angles 3,4, 7, and 8",
    r"\begin{pmatrix}1\\2\end{pmatrix}",
    "cannot be determined",
    "1,344",
]


@pytest.mark.parametrize("gold", GOLDS)
def test_the_gold_in_every_accepted_place_is_right(gold: str) -> None:
    for response in (
        f"\\boxed{{{gold}}}",
        f"<think>reasons</think> so $\\boxed{{{gold}}}$.",
        f"<think>reasons</think>\n<answer>{gold}</answer>",
        f"<answer>\\boxed{{{gold}}}</answer>",
    ):
        verdict = judge(response, gold)
        assert isinstance(verdict, Verdict)
        assert verdict.correct, response
        assert verdict.extracted is not None
        assert judge(response, gold) == verdict


@pytest.mark.parametrize("gold", GOLDS)
def test_nothing_is_no_answer(gold: str) -> None:
    for response in ("", "   \n", "I do not see it well.", r"\boxed{}"):
        verdict = judge(response, gold)
        assert (verdict.correct, verdict.reason, verdict.extracted) == (False, "no_answer", None)


@pytest.mark.parametrize("gold", GOLDS)
def test_another_gold_is_wrong(gold: str) -> None:
    for other in GOLDS:
        if other != gold:
            verdict = judge(f"\\boxed{{{other}}}", gold)
            assert not verdict.correct, other
            assert verdict.reason in REASONS


def test_one_by_one_and_together_agree() -> None:
    items = [Item(f"\\boxed{{{answer}}}", gold) for answer in GOLDS[:8] for gold in GOLDS[:8]]
    assert judge_many(items) == [judge(item.response, item.gold) for item in items]


def test_generated_problems_are_graded_as_they_say() -> None:
    for problem in ProblemSet(split="validation", count=96, seed=5):
        for choices in (None, problem.choices):
            assert judge(f"\\boxed{{{problem.answer}}}", problem.answer, choices).correct, problem.id
            for choice in problem.choices:
                right = judge(f"\\boxed{{{choice}}}", problem.answer, choices).correct
                assert right == (choice == problem.answer), (problem.id, choice)
