"""Extra rollouts go on from what the regular ones have read, as long as the weights are the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.readings import prompts_for
from tests.unit.rollouts.test_hf import watch
from uec_vlm.policy import Policy, load_policy, prefill
from uec_vlm.records import Source
from uec_vlm.rollouts import SamplingSettings
from uec_vlm.rollouts.hf import HFEngine
from uec_vlm.rollouts.prefixes import PrefixStore

TinyModel = Callable[[str], Path]
PLENTY = 2**24


@pytest.fixture
def policy(tiny_model: TinyModel) -> Policy:
    return load_policy(tiny_model("qwen2_5_vl"))


def sample(engine: HFEngine, prompts: Any, source: Source, *, seed: int = 5) -> Any:
    sampling = SamplingSettings(temperature=1.0, max_new_tokens=8)
    seeds = [seed + sum(map(ord, prompt.sample.id)) for prompt in prompts]
    return engine.generate(prompts, completions=3, sampling=sampling, seeds=seeds, source=source)


def read_again(policy: Policy, engine: HFEngine, prompts: Any) -> int:
    """How many prompts the extra rollouts read."""
    seen = watch(policy)
    sample(engine, prompts, "extra")
    return sum(rows for rows, width in seen["tokens"] if width > 1)


def test_known_prompts_are_not_read_again_and_give_the_same(policy: Policy) -> None:
    prompts = prompts_for(policy)
    engine, fresh = (HFEngine(policy, prefill, prefix_bytes=PLENTY) for _ in range(2))
    sample(engine, prompts[:3], "regular")
    wanted = [prompts[3], prompts[2], prompts[0]]
    expected = sample(fresh, wanted, "extra")
    seen = watch(policy)
    found = sample(engine, wanted, "extra")
    assert [rows for rows, width in seen["tokens"] if width > 1] == [1], "only the prompt that is new"
    assert seen["patches"] == []
    for group, other in zip(found, expected, strict=True):
        for rollout, twin in zip(group, other, strict=True):
            assert torch.equal(rollout.completion_ids, twin.completion_ids)
            torch.testing.assert_close(rollout.behaviour_logprobs, twin.behaviour_logprobs, rtol=0, atol=1e-5)


def test_equal_prompts_of_another_identity_and_regular_rollouts_are_read(policy: Policy) -> None:
    engine = HFEngine(policy, prefill, prefix_bytes=PLENTY)
    sample(engine, prompts_for(policy), "regular")
    seen = watch(policy)
    sample(engine, prompts_for(policy), "regular")
    assert len(seen["patches"]) == 1
    assert read_again(policy, engine, prompts_for(policy)) == 4


@pytest.mark.parametrize("change", ["load_weights", "in place", "an extra call", "nothing kept"])
def test_other_weights_read_anew(policy: Policy, change: str) -> None:
    prompts = prompts_for(policy)
    engine = HFEngine(policy, prefill, prefix_bytes=0 if change == "nothing kept" else PLENTY)
    sample(engine, prompts, "regular")
    if change == "load_weights":
        engine.load_weights(policy)
    elif change == "in place":
        with torch.no_grad():
            policy.model.model.language_model.layers[0].mlp.up_proj.weight.mul_(1.01)
    elif change == "an extra call":
        sample(engine, prompts[:1], "extra")
    assert read_again(policy, engine, prompts) == 4


def test_the_budget_keeps_the_newest(policy: Policy) -> None:
    prompts = prompts_for(policy)
    reads = [prefill(policy, [prompt]) for prompt in prompts]
    free = PrefixStore(PLENTY)
    for prompt, read in zip(prompts, reads, strict=True):
        free.keep([prompt], read, policy.model)
    # Three layers of keys and values, two heads of width 12, four bytes a number.
    assert free.size == sum(len(prompt.token_ids) for prompt in prompts) * 3 * 2 * 2 * 12 * 4
    last_two = sum(len(prompt.token_ids) for prompt in prompts[2:]) * 3 * 2 * 2 * 12 * 4
    tight = PrefixStore(last_two)
    for prompt, read in zip(prompts, reads, strict=True):
        tight.keep([prompt], read, policy.model)
    asked: list[Any] = []

    def again(missing: Any) -> Any:
        asked.extend(missing)
        return prefill(policy, missing)

    tight.recall(prompts, policy.model, again)
    assert tight.size == last_two and [p.sample.id for p in asked] == [p.sample.id for p in prompts[:2]]
