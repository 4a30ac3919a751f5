"""Small sets of samples and prompts that tests of several stations share."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tests.support.tiny_models import picture
from uec_vlm.batches import PromptSettings, collate_completions, render
from uec_vlm.policy import Policy
from uec_vlm.records import CompletionBatch, Prompt, Sample

TEXT_SAMPLES = (
    Sample(id="sum", source="test", problem="What is 1 + 1?", answer="2"),
    Sample(id="sides", source="test", problem="How many sides has a triangle? ∠ABC = 60°, é.", answer="3"),
)
PICTURE_SAMPLES = (
    Sample(id="one", source="test", problem="<image>Find x.", answer="2", images=(picture(60, 90, seed=1),)),
    Sample(
        id="two",
        source="test",
        problem="See <image> and <image>: find the angle.",
        answer="30",
        images=(picture(84, 56, seed=2), picture(30, 40, seed=3)),
    ),
)


def samples_for(policy: Policy) -> tuple[Sample, ...]:
    """Ragged samples that the policy can read: with no, one and two pictures, or text only."""
    return PICTURE_SAMPLES + TEXT_SAMPLES if policy.traits.sees else TEXT_SAMPLES


def prompts_for(policy: Policy, samples: Sequence[Sample] | None = None) -> list[Prompt]:
    """Prompts of these samples (default: all that the policy can read)."""
    chosen = samples_for(policy) if samples is None else samples
    return [render(sample, policy.processor or policy.tokenizer, PromptSettings()) for sample in chosen]


def random_batch(prompts: Sequence[Prompt], *, per_prompt: int, longest: int, seed: int = 0) -> CompletionBatch:
    """Random byte completions of lengths 1 to `longest` for every prompt, the prompts interleaved."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, longest + 1, (per_prompt * len(prompts),), generator=generator).tolist()
    ids = [torch.randint(0, 256, (length,), generator=generator) for length in lengths]
    return collate_completions(ids, list(prompts) * per_prompt)
