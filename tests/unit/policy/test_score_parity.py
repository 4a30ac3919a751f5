"""`score` against plain forwards of the Hugging Face model, and against its own padded form with gradients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.support.readings import prompts_for, random_batch
from tests.support.tiny_models import TEXT_FAMILIES, VISION_FAMILIES
from uec_vlm.policy import Policy, load_policy, score, score_padded
from uec_vlm.records import CompletionBatch

TinyModel = Callable[[str], Path]
FAMILIES = VISION_FAMILIES + TEXT_FAMILIES


def plain_logits(policy: Policy, batch: CompletionBatch, row: int) -> Tensor:
    """Logits "T V" that predict the completion of one row, by the model's own forward over that row, unpadded."""
    prompt = batch.prompts[int(batch.prompt_index[row])]
    completion = batch.completion_ids[row][batch.completion_mask[row]]
    ids = torch.cat([prompt.token_ids, completion]).unsqueeze(0)
    extra = {}
    if policy.traits.sees:
        types = torch.zeros_like(ids)
        types[0, : len(prompt.token_ids)] = prompt.token_ids == policy.processor.image_token_id
        extra["mm_token_type_ids"] = types
        if len(prompt.image_grid_thw):
            extra |= {"pixel_values": prompt.pixel_values, "image_grid_thw": prompt.image_grid_thw}
    logits = policy.model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **extra).logits[0]
    return logits[len(prompt.token_ids) - 1 : -1]


@pytest.mark.parametrize("form", [score, score_padded])
@pytest.mark.parametrize("family", FAMILIES)
def test_score_is_log_softmax_of_a_plain_forward(tiny_model: TinyModel, family: str, form) -> None:
    policy = load_policy(tiny_model(family))
    batch = random_batch(prompts_for(policy), per_prompt=3, longest=12)
    with torch.no_grad():
        scores = form(policy, batch, temperature=1.0, banned_ids=())
        for row in range(len(batch.prompt_index)):
            mask = batch.completion_mask[row]
            log_all = plain_logits(policy, batch, row).log_softmax(-1)
            expected = log_all.gather(-1, batch.completion_ids[row][mask].unsqueeze(-1)).squeeze(-1)
            torch.testing.assert_close(scores.logprobs[row][mask], expected, rtol=0, atol=1e-5)
            entropy = -(log_all.exp() * log_all).sum(-1)
            torch.testing.assert_close(scores.entropy[row][mask], entropy, rtol=0, atol=1e-5)
            moment = (log_all.exp() ** 2 * (log_all + entropy.unsqueeze(-1))).sum(-1)
            torch.testing.assert_close(scores.moment[row][mask], moment, rtol=0, atol=1e-5)
    for values in (scores.logprobs, scores.entropy, scores.moment):
        assert bool((values[~batch.completion_mask] == 0).all())


def gradients(policy: Policy, loss: Tensor) -> dict[str, Tensor]:
    policy.model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in policy.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("family", FAMILIES)
def test_shared_prefix_has_the_gradients_of_the_padded_form(tiny_model: TinyModel, family: str) -> None:
    policy = load_policy(tiny_model(family), dtype="float64")
    batch = random_batch(prompts_for(policy), per_prompt=2, longest=6)
    weights = torch.randn(batch.completion_ids.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = []
    for form in (score, score_padded):
        scores = form(policy, batch, temperature=0.8, entropy_gradient=True, chunk=5)
        found.append(gradients(policy, (weights * scores.logprobs).sum() + 0.3 * scores.entropy.sum()))
    shared, padded = found
    assert shared.keys() == padded.keys() and len(shared) == len(list(policy.model.parameters()))
    for name, gradient in padded.items():
        difference = float((shared[name] - gradient).abs().max())
        assert difference <= 1e-6 * max(float(gradient.abs().max()), 1e-6), name
