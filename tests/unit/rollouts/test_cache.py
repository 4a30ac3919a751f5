"""The growing cache holds what a concatenating one holds."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import DynamicCache

from uec_vlm.rollouts.cache import growing_cache

steps = st.lists(st.one_of(st.integers(1, 90), st.lists(st.integers(0, 100), min_size=1, max_size=5)), max_size=12)


@settings(max_examples=40, deadline=None)
@given(steps=steps, seed=st.integers(0, 3))
def test_it_holds_what_a_concatenating_cache_holds(steps: list[int | list[int]], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)

    def states(rows: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        both = torch.randn(2, rows, 2, length, 3, generator=generator)
        return both[0], both[1]

    source, plain = DynamicCache(), DynamicCache()
    for layer in range(2):
        source.update(*states(3, 5), layer)
    index = torch.tensor([0, 0, 2, 1])
    for layer, held in enumerate(source.layers):
        plain.update(held.keys[index], held.values[index], layer)
    grown, before = growing_cache(source, index), [layer.keys.clone() for layer in source.layers]
    for step in steps:
        rows = grown.layers[0].keys.shape[0]
        if isinstance(step, list):
            keep = torch.tensor([place % rows for place in step])
            grown.batch_select_indices(keep)
            plain.batch_select_indices(keep)
            continue
        for layer in range(2):
            new = states(rows, step)
            for found, expected in zip(grown.update(*new, layer), plain.update(*new, layer), strict=True):
                assert torch.equal(found, expected)
    assert grown.get_seq_length() == plain.get_seq_length()
    for layer, other in zip(grown.layers, plain.layers, strict=True):
        assert torch.equal(layer.keys, other.keys) and torch.equal(layer.values, other.values)
    assert all(torch.equal(layer.keys, held) for layer, held in zip(source.layers, before, strict=True))
