"""Reading prompts: positions, states, and rows that are repeated without harm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.support.readings import prompts_for
from tests.support.tiny_models import TEXT_FAMILIES, VISION_FAMILIES
from uec_vlm.policy import expand, load_policy, prefill

TinyModel = Callable[[str], Path]


@pytest.mark.parametrize("family", VISION_FAMILIES)
def test_pictures_take_as_many_positions_as_their_longer_side(tiny_model: TinyModel, family: str) -> None:
    policy = load_policy(tiny_model(family))
    prompts = prompts_for(policy)
    expected = []
    for prompt in prompts:
        length = len(prompt.token_ids)
        for _, height, width in prompt.image_grid_thw.tolist():
            length += max(height, width) // 2 - height * width // 4
        expected.append(length)
    with torch.no_grad():
        prefix = prefill(policy, prompts)
    assert prefix.next_position.tolist() == expected
    assert expected[0] < len(prompts[0].token_ids) and expected[-1] == len(prompts[-1].token_ids)


@pytest.mark.parametrize("family", VISION_FAMILIES + TEXT_FAMILIES)
def test_a_prompt_is_read_the_same_alone_and_in_a_batch(tiny_model: TinyModel, family: str) -> None:
    policy = load_policy(tiny_model(family), dtype="float64")
    prompts = prompts_for(policy)
    with torch.no_grad():
        together = prefill(policy, prompts)
        assert together.mask.sum(-1).tolist() == [len(prompt.token_ids) for prompt in prompts]
        for row, prompt in enumerate(prompts):
            alone = prefill(policy, [prompt])
            length = len(prompt.token_ids)
            torch.testing.assert_close(together.hidden[row], alone.hidden[0], rtol=0, atol=1e-10)
            for layer, single in zip(together.cache.layers, alone.cache.layers, strict=True):
                torch.testing.assert_close(layer.keys[row, :, :length], single.keys[0], rtol=0, atol=1e-10)
                torch.testing.assert_close(layer.values[row, :, :length], single.values[0], rtol=0, atol=1e-10)


def test_expand_repeats_rows_and_leaves_the_original(tiny_model: TinyModel) -> None:
    policy = load_policy(tiny_model("qwen2_5_vl"))
    with torch.no_grad():
        prefix = prefill(policy, prompts_for(policy))
        before = [layer.keys.clone() for layer in prefix.cache.layers]
        index = torch.tensor([2, 0, 0, 3])
        wide = expand(prefix, index)
        positions = wide.next_position.unsqueeze(1)
        mask = torch.cat([wide.mask, torch.ones(4, 1, dtype=torch.bool)], dim=1)
        policy.extend(torch.ones(4, 1, dtype=torch.long), mask=mask, positions=positions, cache=wide.cache)
    assert torch.equal(wide.hidden, prefix.hidden[index]) and torch.equal(wide.mask, prefix.mask[index])
    assert torch.equal(wide.next_position, prefix.next_position[index])
    for layer, held, grown in zip(prefix.cache.layers, before, wide.cache.layers, strict=True):
        assert torch.equal(layer.keys, held)
        assert torch.equal(grown.keys[:, :, :-1], held[index])


def test_nothing_to_read_is_refused(tiny_model: TinyModel) -> None:
    with pytest.raises(ValueError, match="at least one prompt"):
        prefill(load_policy(tiny_model("qwen2")), [])
