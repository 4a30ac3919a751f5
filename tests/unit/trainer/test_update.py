"""How a training batch is cut into optimizer steps."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uec_vlm.trainer.update import cut


@pytest.mark.parametrize(
    ("count", "size", "parts"),
    [(120, 60, [60, 60]), (140, 60, [70, 70]), (41, 40, [41]), (60, 40, [30, 30]), (7, 40, [7]), (161, 80, [80, 81])],
)
def test_what_is_no_multiple_is_cut_into_nearly_equal_parts(count: int, size: int, parts: list[int]) -> None:
    assert [end - start for start, end in pairwise(cut(count, size))] == parts


@given(st.integers(1, 2000), st.integers(1, 700))
def test_everything_is_in_one_part_and_no_part_is_a_remainder(count: int, size: int) -> None:
    places = cut(count, size)
    sizes = [end - start for start, end in pairwise(places)]
    assert (places[0], places[-1]) == (0, count)
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= min(count, size * 2 // 3)
