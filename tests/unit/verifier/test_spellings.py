"""Every spelling of the table counts, or does not, as it says."""

import pytest

from tests.unit.verifier.spellings import SPELLINGS, Gold
from uec_vlm.verifier import judge


@pytest.mark.parametrize("gold", SPELLINGS, ids=lambda gold: gold.text)
def test_spellings(gold: Gold) -> None:
    refused = [answer for answer in gold.right if not judge(f"\\boxed{{{answer}}}", gold.text, gold.choices).correct]
    paid = [answer for answer in gold.wrong if judge(f"\\boxed{{{answer}}}", gold.text, gold.choices).correct]
    assert (refused, paid) == ([], [])


def test_the_table_is_large() -> None:
    assert sum(len(gold.right) for gold in SPELLINGS) > 900
    assert sum(len(gold.wrong) for gold in SPELLINGS) > 500
