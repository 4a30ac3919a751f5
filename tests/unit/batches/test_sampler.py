"""`draw` is a pure function of the seed and the counter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uec_vlm.batches import draw


@given(size=st.integers(1, 20), seed=st.integers(0, 5), start=st.integers(0, 50), parts=st.lists(st.integers(0, 30)))
def test_drawing_in_parts_is_drawing_at_once(size: int, seed: int, start: int, parts: list[int]) -> None:
    whole = draw(size, seed=seed, start=start, count=sum(parts))
    pieces, position = [], start
    for count in parts:
        pieces += draw(size, seed=seed, start=position, count=count)
        position += count
    assert pieces == whole


def test_every_epoch_holds_every_sample_once_in_an_order_of_its_own() -> None:
    epochs = [draw(30, seed=1, start=30 * epoch, count=30) for epoch in range(4)]
    assert all(sorted(epoch) == list(range(30)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_seeds_differ() -> None:
    assert draw(30, seed=1, start=0, count=30) != draw(30, seed=2, start=0, count=30)


@pytest.mark.parametrize("arguments", [(0, 0, 1), (3, -1, 1), (3, 0, -1)])
def test_senseless_draws_are_refused(arguments: tuple[int, int, int]) -> None:
    size, start, count = arguments
    with pytest.raises(ValueError, match=r"start|draw from"):
        draw(size, seed=0, start=start, count=count)
