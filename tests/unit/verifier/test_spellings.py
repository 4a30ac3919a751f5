"""Every spelling of the table counts, or does not, as it says."""

import pytest

from tests.unit.verifier.spellings import GENERAL, SPELLINGS, Gold
from uec_vlm.verifier import Item, judge, judge_many


@pytest.mark.parametrize("gold", SPELLINGS, ids=lambda gold: gold.text)
def test_spellings(gold: Gold) -> None:
    refused = [answer for answer in gold.right if not judge(f"\\boxed{{{answer}}}", gold.text, gold.choices).correct]
    paid = [answer for answer in gold.wrong if judge(f"\\boxed{{{answer}}}", gold.text, gold.choices).correct]
    assert (refused, paid) == ([], [])


@pytest.mark.parametrize("gold", GENERAL, ids=lambda gold: gold.text)
def test_general_mathematics(gold: Gold) -> None:
    answers = [*gold.right, *gold.wrong]
    verdicts = judge_many([Item(f"\\boxed{{{answer}}}", gold.text) for answer in answers], timeout_s=30.0)
    found = [answer for answer, verdict in zip(answers, verdicts, strict=True) if verdict.correct]
    assert found == list(gold.right)


def test_the_table_is_large() -> None:
    assert sum(len(gold.right) for gold in SPELLINGS) > 900
    assert sum(len(gold.wrong) for gold in SPELLINGS) > 500
