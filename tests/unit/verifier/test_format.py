"""Formats by example."""

import pytest

from uec_vlm.verifier import has_format


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (r"<think>a</think>\boxed{5}", True),
        ("  <think>a\n</think>\n so " + r"\boxed{\frac{1}{2}} cm", True),
        (r"\boxed{5}", False),
        (r"<think>a</think>\boxed{}", False),
        (r"<think>a</think>\boxed{5", False),
        (r"<think>\boxed{5}</think>", False),
        (r"<think>\boxed{4}</think>\boxed{5}", False),
        (r"<think>a</think>\boxed{5}\boxed{6}", False),
        (r"<think>a</think></think>\boxed{5}", False),
        (r"so <think>a</think>\boxed{5}", False),
        ("", False),
    ],
)
def test_think_boxed(text: str, kept: bool) -> None:
    assert has_format(text, "think_boxed") is kept


def test_the_other_formats() -> None:
    assert has_format(r"the answer is \boxed{5}.", "boxed")
    assert has_format("<think>a</think> <answer>5</answer>", "think_answer")
    assert not has_format("<think>a</think> 5", "think_answer")
    assert has_format("<think>AB < CD, so x = 5</think><answer>x < 5</answer>", "think_answer")
    assert not has_format("<think>a<answer>b</answer></think><answer>5</answer>", "think_answer")
