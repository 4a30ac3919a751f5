"""The lean decoder makes what the model's own forward makes; what it does not know it leaves alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.readings import prompts_for
from tests.support.tiny_models import TEXT_FAMILIES, VISION_FAMILIES
from uec_vlm.policy import LoraSettings, Policy, load_policy, prefill
from uec_vlm.rollouts import layers as layers_module
from uec_vlm.rollouts.decode import LeanDecoder, PlainDecoder, attend, attend_plainly
from uec_vlm.rollouts.graphs import StaticDecoder
from uec_vlm.rollouts.layers import read_text_model

TinyModel = Callable[[str], Path]
FAMILIES = [family for family in (*VISION_FAMILIES, *TEXT_FAMILIES) if not family.endswith("_moe")]
# In float64 the models' own norms still round to float32; everything else is exact.
NORMS = 3e-5
# Rows of four prompts; some prompts lose rows, one loses all, then only one row is left.
INDEX = [0, 0, 0, 1, 1, 2, 2, 2, 2, 3]
KEPT = {2: [0, 2, 3, 4, 6, 7, 9], 5: [0, 1, 4, 5, 6], 9: [3]}


@torch.no_grad()
def states(policy: Policy, *, lean: bool, steps: int = 12, kind: type[LeanDecoder] = LeanDecoder) -> list[torch.Tensor]:
    """The hidden states of forced tokens, while rows leave by `KEPT`."""
    read, index = prefill(policy, (prompts_for(policy) * 4)[:4]), torch.tensor(INDEX)
    if lean:
        model = read_text_model(policy.model)
        assert model is not None
        decoder: Any = kind(model, read, index, new_tokens=steps)
    else:
        decoder = PlainDecoder(policy, read, index)
    generator, rows, made = torch.Generator().manual_seed(3), torch.arange(len(INDEX)), []
    for step in range(steps):
        if step in KEPT:
            keep = torch.tensor(KEPT[step])
            decoder.keep(keep)
            rows = rows[keep]
        tokens = torch.randint(0, 250, (len(INDEX),), generator=generator)[rows]
        made.append(decoder.step(tokens))
    return made


def agree(policy: Policy, *, tolerance: float, steps: int = 12) -> None:
    plain = states(policy, lean=False, steps=steps)
    for kind in (LeanDecoder, StaticDecoder):
        for found, expected in zip(states(policy, lean=True, steps=steps, kind=kind), plain, strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_the_models_own_forward(tiny_model: TinyModel, family: str) -> None:
    agree(load_policy(tiny_model(family), dtype="float64"), tolerance=NORMS)
    agree(load_policy(tiny_model(family)), tolerance=1e-4)


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl", "llama"])
def test_bfloat16_differs_by_its_rounding_only(tiny_model: TinyModel, family: str) -> None:
    exact = states(load_policy(tiny_model(family), dtype="float64"), lean=False)
    policy = load_policy(tiny_model(family), dtype="bfloat16")

    def error(lean: bool) -> float:
        pairs = zip(states(policy, lean=lean), exact, strict=True)
        return sum(float((found.double() - expected).abs().mean()) for found, expected in pairs)

    assert states(policy, lean=True)[0].dtype == torch.bfloat16
    assert error(lean=True) < 1.25 * error(lean=False)


def test_more_tokens_than_there_was_room_for(tiny_model: TinyModel) -> None:
    agree(load_policy(tiny_model("qwen3"), dtype="float64"), tolerance=NORMS, steps=150)


def test_an_adapter_is_decoded_with(tiny_model: TinyModel) -> None:
    policy = load_policy(tiny_model("qwen2_5_vl"), dtype="float64", lora=LoraSettings(rank=2))
    plain = states(policy, lean=True)
    with torch.no_grad():
        for name, weight in policy.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.2)
    agree(policy, tolerance=NORMS)
    assert float((states(policy, lean=True)[-1] - plain[-1]).abs().max()) > 1e-3


def test_biases_are_added_where_there_are_some() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=260, num_key_value_heads=2, attention_bias=True, mlp_bias=True, **shape)
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).double().eval()
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(weight)
    ids = torch.randint(0, 260, (3, 9))
    text = read_text_model(model)
    assert text is not None
    with torch.no_grad():
        read = model.model(ids, use_cache=True)
        expected = model.model(torch.cat([ids, ids[:, :2]], dim=1)).last_hidden_state[:, -2:]
        given = type("Given", (), {})()
        given.cache, given.mask = read.past_key_values, torch.ones_like(ids, dtype=torch.bool)
        given.hidden, given.next_position = read.last_hidden_state[:, -1], torch.full((3,), 9)
        decoder = LeanDecoder(text, given, torch.arange(3), new_tokens=2)
        found = torch.stack([decoder.step(ids[:, place]) for place in range(2)], dim=1)
    torch.testing.assert_close(found, expected, rtol=0, atol=NORMS)


def test_matrices_too_large_to_copy_are_used_where_they_are(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = load_policy(tiny_model("qwen2"), dtype="float64")
    monkeypatch.setattr(layers_module, "_JOINED_BYTES", 0)
    agree(policy, tolerance=NORMS)


def test_what_is_not_known_is_left_to_the_model(tiny_model: TinyModel) -> None:
    from transformers import (
        Gemma2Config,
        Gemma2ForCausalLM,
        MistralConfig,
        MistralForCausalLM,
        Qwen3MoeConfig,
        Qwen3MoeForCausalLM,
    )

    small = {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "head_dim": 8}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    moe = Qwen3MoeConfig(num_experts=2, num_experts_per_tok=1, moe_intermediate_size=8, **small, **heads)
    assert read_text_model(Qwen3MoeForCausalLM(moe)) is None
    assert read_text_model(Gemma2ForCausalLM(Gemma2Config(**small, **heads))) is None
    assert read_text_model(torch.nn.Linear(2, 2)) is None
    near = MistralConfig(sliding_window=8, **small, **heads)
    assert read_text_model(MistralForCausalLM(near)) is None
    policy = load_policy(tiny_model("qwen3"))
    text = policy.model.model
    assert read_text_model(policy.model) is not None
    handle = text.layers[1].mlp.down_proj.register_forward_hook(lambda *_: None)
    assert read_text_model(policy.model) is None
    handle.remove()
    text.rotary_emb.rope_type = "dynamic"
    assert read_text_model(policy.model) is None


def test_two_parts_of_an_attention_join_exactly() -> None:
    torch.manual_seed(0)
    query, keys, values = (torch.randn(2, 3, length, 8, dtype=torch.float64) for length in (5, 11, 11))
    bias = torch.zeros(2, 1, 1, 11, dtype=torch.float64)
    bias[1, ..., 7:] = -torch.inf
    expected = torch.nn.functional.scaled_dot_product_attention(query, keys, values, attn_mask=bias, scale=0.3)
    for formula in (attend, attend_plainly):
        whole, weight = formula(query, keys, values, bias, scale=0.3)
        torch.testing.assert_close(whole, expected, rtol=0, atol=1e-12)
        parts = [
            formula(query, keys[:, :, part], values[:, :, part], bias[..., part], scale=0.3)
            for part in (slice(0, 4), slice(4, 11))
        ]
        shares = torch.stack([part[1] for part in parts]).softmax(0).unsqueeze(-1)
        joined = shares[0] * parts[0][0] + shares[1] * parts[1][0]
        torch.testing.assert_close(joined, expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(weight, torch.stack([part[1] for part in parts]).logsumexp(0), rtol=0, atol=1e-12)
