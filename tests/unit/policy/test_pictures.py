"""What a frozen tower made of a picture is made once, is the same, and goes when it is no longer true."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.support.readings import PICTURE_SAMPLES, prompts_for, random_batch
from tests.support.tiny_models import VISION_FAMILIES
from uec_vlm.policy import Policy, load_policy, prefill, score, score_padded
from uec_vlm.policy.pictures import PictureStore
from uec_vlm.records import CompletionBatch

TinyModel = Callable[[str], Path]


def passes(policy: Policy) -> list[int]:
    """Grows by the number of patches of every pass of the tower."""
    seen: list[int] = []
    policy.model.model.visual.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    return seen


def read(policy: Policy, batch: CompletionBatch) -> list[torch.Tensor]:
    """Everything that reads pictures: prefill, the padded form, the shared form with its gradient."""
    with torch.no_grad():
        states = [prefill(policy, batch.prompts).hidden, score_padded(policy, batch, temperature=1.0).logprobs]
    policy.model.zero_grad()
    score(policy, batch, temperature=1.0).logprobs.sum().backward()
    gradients = [p.grad.clone() for p in policy.model.parameters() if p.grad is not None]
    return [*states, *gradients]


@pytest.mark.parametrize("family", VISION_FAMILIES)
def test_each_prompt_is_seen_once_and_nothing_changes(family: str, tiny_model: TinyModel) -> None:
    folder = tiny_model(family)
    keeping, asking = (load_policy(folder, dtype="float64", freeze_vision=True, picture_mib=mib) for mib in (1, 0))
    batch = random_batch(prompts_for(keeping), per_prompt=2, longest=5)
    seen = passes(keeping)
    found, expected = read(keeping, batch), read(asking, batch)
    assert seen == [len(p.pixel_values) for p in batch.prompts if len(p.image_grid_thw)]
    assert len(found) == len(expected) > 5
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5 * max(1.0, float(other.abs().max())))


def test_under_gradient_checkpointing_too(tiny_model: TinyModel) -> None:
    policy = load_policy(tiny_model("qwen2_5_vl"), freeze_vision=True, picture_mib=1, gradient_checkpointing=True)
    policy.model.train()
    batch = random_batch(prompts_for(policy), per_prompt=2, longest=5)
    seen = passes(policy)
    first, second = (score(policy, batch, temperature=1.0).logprobs for _ in range(2))
    assert len(seen) == 2 and torch.equal(first, second)


def test_a_tower_that_is_trained_or_changed_is_asked_again(tiny_model: TinyModel) -> None:
    policy = load_policy(tiny_model("qwen2_5_vl"), freeze_vision=True, picture_mib=1)
    prompts = prompts_for(policy, PICTURE_SAMPLES)
    seen = passes(policy)
    before = prefill(policy, prompts).hidden
    assert len(seen) == 2
    with torch.no_grad():
        for weight in policy.model.model.visual.parameters():
            weight.mul_(1.5)
    assert not torch.allclose(prefill(policy, prompts).hidden, before)
    assert len(seen) == 4
    policy.model.model.visual.requires_grad_(True)
    prefill(policy, prompts), prefill(policy, prompts)
    assert len(seen) == 6, "a tower that is trained is asked for all pictures together, every time"


def test_another_picture_under_the_same_id_is_another_one(tiny_model: TinyModel) -> None:
    policy = load_policy(tiny_model("qwen2_5_vl"), freeze_vision=True, picture_mib=1)
    one = prompts_for(policy, PICTURE_SAMPLES[:1])[0]
    blank = replace(one, pixel_values=torch.zeros_like(one.pixel_values))
    states = [prefill(policy, [prompt]).hidden for prompt in (one, blank, one)]
    assert torch.equal(states[0], states[2]) and not torch.allclose(states[0], states[1])


def test_features_do_not_depend_on_who_is_beside_and_memory_is_bounded(tiny_model: TinyModel) -> None:
    policy = load_policy(tiny_model("qwen2_5_vl"), freeze_vision=True)
    one, two = prompts_for(policy, PICTURE_SAMPLES)
    store = PictureStore(2**20)
    together = store(policy.model, [one, two, one])
    alone = PictureStore(2**20)(policy.model, [two])
    assert together is not None and alone is not None and len(together.pooler_output) == 4
    assert all(torch.equal(*pair) for pair in zip(together.pooler_output[1:3], alone.pooler_output, strict=True))
    whole = store.nbytes
    assert whole == sum(part.nbytes for part in together.pooler_output[:3])
    tight = PictureStore(whole - 1)
    tight(policy.model, [one, two])
    assert tight.nbytes == alone.nbytes
    del one, together
    store(policy.model, prompts_for(policy, PICTURE_SAMPLES[:1]))
    assert store.nbytes == whole, "features go with the prompt that they belong to"


def test_text_alone_needs_no_tower(tiny_model: TinyModel) -> None:
    assert load_policy(tiny_model("qwen2"), picture_mib=1).pictures is None
