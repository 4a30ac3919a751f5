"""Coloured tokens: escaped, as dark as their value."""

import pytest

from uec_vlm.reports.tokens import coloured_tokens


def test_each_token_carries_its_value_and_the_largest_is_darkest() -> None:
    html = coloured_tokens(["a", "<b>"], [0.5, 1.0], unit="nats")
    assert 'title="0.500 nats" style="background: rgba(11, 107, 93, 0.28)">a</span>' in html
    assert 'rgba(11, 107, 93, 0.55)">&lt;b&gt;</span>' in html
    assert "<b>" not in html


def test_no_tokens_and_no_entropy_are_ordinary() -> None:
    assert "<span" not in coloured_tokens([], [], unit="nats")
    assert "0.00)" in coloured_tokens(["a"], [0.0], unit="nats")
    with pytest.raises(ValueError, match="2 pieces and 1 values"):
        coloured_tokens(["a", "b"], [0.0], unit="nats")
