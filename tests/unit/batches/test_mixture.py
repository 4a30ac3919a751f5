"""Mixtures: exact shares, every sample in its turn, the same draws after a resume."""

from collections import Counter

import pytest

from uec_vlm.batches import Mixture, block_quotas, draw, draw_places
from uec_vlm.batches.mixture import BLOCK
from uec_vlm.records import Sample


def part(name: str, size: int) -> list[Sample]:
    return [Sample(id=f"{name}{n}", source=name, problem="q", answer="1") for n in range(size)]


MIXED = Mixture((part("a", 7), part("b", 50), part("c", 400)), (0.5, 0.2, 0.3))


def ids(start: int, count: int, *, seed: int = 3, mixture: Mixture = MIXED) -> list[str]:
    return [mixture[place].id for place in draw_places(mixture, seed=seed, start=start, count=count)]


def test_it_is_its_parts_one_after_another() -> None:
    assert len(MIXED) == 457
    assert [MIXED[n].id for n in (0, 6, 7, 56, 57, 456, -1)] == ["a0", "a6", "b0", "b49", "c0", "c399", "c399"]
    assert [sample.id for sample in MIXED[5:9]] == ["a5", "a6", "b0", "b1"]
    with pytest.raises(IndexError):
        MIXED[457]


@pytest.mark.parametrize("start", [0, 5 * BLOCK])
def test_every_thousand_draws_have_the_shares_exactly(start: int) -> None:
    counts = Counter(name[0] for name in ids(start, BLOCK))
    assert counts == {"a": 500, "b": 200, "c": 300}


def test_shares_hold_within_small_stretches_too() -> None:
    """Over 200 draws the share of `a` strays from 0.5 by less than five standard deviations of a fair draw."""
    for start in range(0, 2 * BLOCK, 200):
        assert abs(sum(name[0] == "a" for name in ids(start, 200)) - 100) < 36


def test_within_a_part_an_epoch_has_every_sample_once() -> None:
    drawn = [name for name in ids(0, 2 * BLOCK) if name[0] == "b"]
    assert len(drawn) == 400
    epochs = [drawn[n : n + 50] for n in range(0, 400, 50)]
    assert all(len(set(epoch)) == 50 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 8, "every epoch has an order of its own, over the blocks too"
    sevens = [name for name in ids(0, 2 * BLOCK) if name[0] == "a"]
    assert all(len(set(sevens[n : n + 7])) == 7 for n in range(0, 994, 7)), "an epoch goes on over the end of a block"


def test_a_resumed_run_draws_what_the_uninterrupted_one_draws() -> None:
    whole = ids(0, 2500)
    assert whole[:990] + ids(990, 24) + ids(1014, 1486) == whole


def test_another_seed_and_other_blocks_draw_otherwise() -> None:
    assert ids(0, 100) != ids(0, 100, seed=4)
    assert [name[0] for name in ids(0, BLOCK)] != [name[0] for name in ids(BLOCK, BLOCK)]


def test_quotas_by_the_largest_remainder() -> None:
    assert block_quotas([1, 1, 1]) == (334, 333, 333)
    assert block_quotas([2.0, 6.0]) == (250, 750)
    assert sum(block_quotas([0.1, 0.23, 5, 7])) == BLOCK
    with pytest.raises(ValueError, match=r"weight 0\.001 of part 0 is below a thousandth"):
        block_quotas([0.001, 5])


def test_one_set_is_drawn_as_before() -> None:
    assert draw_places(part("a", 9), seed=1, start=4, count=12) == draw(9, seed=1, start=4, count=12)
