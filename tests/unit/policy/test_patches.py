"""The patch embedding as a product: the convolution's numbers, gradients and state dict."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.support.readings import PICTURE_SAMPLES, prompts_for
from tests.support.tiny_models import VISION_FAMILIES
from uec_vlm.policy import load_policy
from uec_vlm.policy.patches import PatchProduct, embed_patches_by_product


@pytest.mark.parametrize("family", VISION_FAMILIES)
def test_a_product_gives_the_numbers_and_gradients_of_the_convolution(
    family: str, tiny_model: Callable[[str], Path]
) -> None:
    policy = load_policy(tiny_model(family), dtype="float64")
    embed = policy.model.model.visual.patch_embed
    assert type(embed.proj) is PatchProduct
    plain = copy.deepcopy(embed)
    plain.proj.__class__ = nn.Conv3d
    pixels = torch.cat([p.pixel_values for p in prompts_for(policy, PICTURE_SAMPLES)]).double()
    found, expected = embed(pixels), plain(pixels)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    assert float(plain.proj.weight.grad.abs().max()) > 0
    torch.testing.assert_close(embed.proj.weight.grad, plain.proj.weight.grad, rtol=0, atol=1e-6)
    assert list(embed.state_dict()) == list(plain.state_dict())


def test_an_input_that_the_kernel_does_not_cover_is_convolved() -> None:
    plain = nn.Conv3d(3, 4, kernel_size=(2, 5, 5), stride=(2, 5, 5))
    product = copy.deepcopy(plain)
    product.__class__ = PatchProduct
    wide = torch.randn(2, 3, 2, 10, 10)
    assert product(wide).shape == (2, 4, 1, 2, 2)
    torch.testing.assert_close(product(wide), plain(wide), rtol=0, atol=1e-6)


def test_a_model_without_a_tower_stays_as_it_is(tiny_model: Callable[[str], Path]) -> None:
    policy = load_policy(tiny_model("qwen2"))
    embed_patches_by_product(policy.model)
    assert not any(isinstance(module, nn.Conv3d) for module in policy.model.modules())
