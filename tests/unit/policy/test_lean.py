"""When the layers are run by `lean.py`, and that they then do no work that nobody asks for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.readings import prompts_for, random_batch
from tests.support.tiny_models import TINY_FAMILIES
from uec_vlm.policy import LoraSettings, load_policy, score, score_padded
from uec_vlm.policy import lean as lean_module
from uec_vlm.policy.lean import lean_text

TinyModel = Callable[[str], Path]


@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_every_family_without_experts_is_known(family: str, tiny_model: TinyModel) -> None:
    assert (lean_text(load_policy(tiny_model(family))) is None) == family.endswith("moe")


def test_an_adapter_is_known_and_trained(tiny_model: TinyModel) -> None:
    policy = load_policy(tiny_model("qwen2_5_vl"), lora=LoraSettings(rank=2))
    assert lean_text(policy) is not None
    batch = random_batch(prompts_for(policy), per_prompt=2, longest=5)
    gradients = []
    for form in (score, score_padded):
        policy.model.zero_grad()
        form(policy, batch, temperature=1.0, banned_ids=()).logprobs.sum().backward()
        gradients.append([p.grad.clone() for p in policy.model.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 0
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_what_is_not_as_known_is_left_to_the_model(tiny_model: TinyModel) -> None:
    folder = tiny_model("qwen2_5_vl")
    assert lean_text(load_policy(folder, attn_implementation="eager")) is None
    assert lean_text(load_policy(folder, dtype="bfloat16")) is None
    policy = load_policy(folder)
    layer = policy.model.model.language_model.layers[1]
    hook = layer.mlp.register_forward_hook(lambda *_: None)
    assert lean_text(policy) is None
    hook.remove()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert lean_text(policy) is None
    layer.self_attn.attention_dropout = 0.1
    assert lean_text(policy) is not None
    layer.train()
    assert lean_text(policy) is None


def test_no_padding_is_run_and_in_the_last_layer_only_what_predicts(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = load_policy(tiny_model("qwen2_5_vl"))
    batch = random_batch(prompts_for(policy), per_prompt=3, longest=9)
    counts: list[int] = []
    real = lean_module._added

    def counted(residual: Tensor, module: Any, inputs: Tensor) -> Tensor:
        counts.append(len(inputs))
        return real(residual, module, inputs)

    monkeypatch.setattr(lean_module, "_added", counted)
    score(policy, batch, temperature=1.0, banned_ids=())
    tails = int(batch.completion_mask.sum()) - len(batch.completion_mask)
    everything = sum(len(prompt.token_ids) for prompt in batch.prompts) + tails
    # Twice in each of three layers: behind the attention and behind the MLP.
    assert counts == [everything] * 4 + [len(batch.prompts) + tails] * 2
