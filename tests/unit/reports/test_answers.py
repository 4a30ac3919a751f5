"""mean@k, pass@k, maj@k and the paired test, by hand."""

from __future__ import annotations

import pytest

from uec_vlm.reports.answers import Answers, estimates, majority_at_k, paired_test, powers_up_to


def answers(correct: str, votes: str, name: str = "a") -> Answers:
    """`answers("10", "xy")`: a right x and a wrong y; `-` is no answer."""
    return Answers(
        dataset="d",
        id=name,
        correct=tuple(mark == "1" for mark in correct),
        votes=tuple(None if vote == "-" else vote for vote in votes),
        formatted=(True,) * len(correct),
        tokens=(3,) * len(correct),
    )


@pytest.mark.parametrize(
    ("correct", "votes", "k", "expected"),
    [
        ("110", "xxy", 3, 1.0),
        ("001", "yyx", 3, 0.0),
        ("1001", "xyyx", 4, 0.5),  # two against two: the tie is broken at random
        ("1001", "xyyx", 2, 0.5),  # the blocks xy and yx, both ties
        ("1100", "xxyz", 2, 0.5),  # the blocks xx (right) and yz (a tie of two wrong ones)
        ("0100", "-x--", 4, 1.0),  # who gives no answer does not vote
        ("0000", "----", 4, 0.0),
        ("101", "xyx", 1, 2 / 3),  # maj@1 is the accuracy
    ],
)
def test_majority(correct: str, votes: str, k: int, expected: float) -> None:
    assert majority_at_k(answers(correct, votes), k) == pytest.approx(expected, abs=1e-12)


def test_a_majority_of_more_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="maj@3 needs at least 3 samples per problem, but there are 2"):
        majority_at_k(answers("11", "xx"), 3)


def test_the_figures_of_two_problems() -> None:
    rows = [answers("1100", "xxyz"), answers("0000", "yyzz", "b")]
    found = estimates(rows)
    assert list(found) == ["mean@4", "pass@1", "pass@2", "pass@4", "maj@2", "maj@4", "format", "tokens"]
    # pass@2 of the first: 1 - C(2, 2) / C(4, 2) = 5 / 6, of the second 0. maj@4 of the first: x leads, right.
    assert [round(found[name].mean, 6) for name in ("mean@4", "pass@2", "pass@4", "maj@2", "maj@4", "tokens")] == [
        0.25, 0.416667, 0.5, 0.25, 0.5, 3.0,
    ]  # fmt: skip
    assert found["mean@4"].low == 0.0 and found["mean@4"].high == 0.5


def test_powers() -> None:
    assert powers_up_to(1) == [1] and powers_up_to(6) == [1, 2, 4, 6] and powers_up_to(8) == [1, 2, 4, 8]


def test_a_paired_comparison_uses_the_problems_that_both_have() -> None:
    before = [answers("00", "xx", f"{n}") for n in range(12)]
    after = [answers("11", "xx", f"{n}") for n in range(4, 14)]
    found = paired_test(before, after)
    # Eight differences of 1: two of 2^8 sign patterns are as extreme, so p = 2 / 256.
    assert found.problems == 8 and found.difference.mean == 1.0
    assert found.p_value == pytest.approx(2 / 256, abs=1e-9)
    assert paired_test(after, after).p_value == 1.0
    with pytest.raises(ValueError, match="no problem in common"):
        paired_test(before[:2], after[-2:])
