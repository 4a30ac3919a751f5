"""What only the Hugging Face engine promises: one reading per prompt, waves within a budget, rows that leave."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.readings import prompts_for
from uec_vlm.errors import EngineError
from uec_vlm.policy import Policy, load_policy, prefill
from uec_vlm.rollouts import SamplingSettings, TimesPhases
from uec_vlm.rollouts.hf import HFEngine

TinyModel = Callable[[str], Path]


@pytest.fixture
def policy(tiny_model: TinyModel) -> Policy:
    return load_policy(tiny_model("qwen2_5_vl"))


def watch(policy: Policy) -> dict[str, list[Any]]:
    """Record the sizes of what the parts of the model are given."""
    seen: dict[str, list[Any]] = {"patches": [], "tokens": []}
    policy.model.model.visual.register_forward_pre_hook(lambda _, args: seen["patches"].append(len(args[0])))
    embed = policy.model.model.language_model.embed_tokens
    embed.register_forward_pre_hook(lambda _, args: seen["tokens"].append(tuple(args[0].shape)))
    return seen


def generate(policy: Policy, prompts, *, completions: int = 3, new_tokens: int = 6, **settings: Any) -> Any:
    engine = HFEngine(policy, prefill, **settings)
    sampling = SamplingSettings(temperature=1.0, max_new_tokens=new_tokens)
    return engine.generate(prompts, completions=completions, sampling=sampling, seeds=list(range(len(prompts))))


def test_a_prompt_is_read_once_for_all_its_completions(policy: Policy) -> None:
    prompts, seen = prompts_for(policy), watch(policy)
    generate(policy, prompts)
    longest = max(len(prompt.token_ids) for prompt in prompts)
    assert seen["patches"] == [sum(len(prompt.pixel_values) for prompt in prompts)]
    # Then one token per completion and step; the last token of a completion is not read.
    assert seen["tokens"][0] == (len(prompts), longest)
    assert len(seen["tokens"]) == 6 and all(width == 1 for _, width in seen["tokens"][1:])


@pytest.mark.parametrize("lean", [True, False])
def test_waves_keep_the_budget_and_change_nothing(policy: Policy, lean: bool) -> None:
    prompts = prompts_for(policy)
    expected = generate(policy, prompts, lean=lean)
    seen = watch(policy)
    width = max(len(prompt.token_ids) for prompt in prompts) + 6
    found = generate(policy, prompts, batch_tokens=2 * width, lean=lean)
    held, read = [], (0, 0)
    for rows, length in seen["tokens"]:
        read = (rows, length) if length > 1 else read
        # The lean loop holds a prompt once, the model's own forward once for each of its completions.
        held += [(read[0] if lean else rows) * read[1] + rows * 6] if length == 1 else []
    assert width < max(held) <= 2 * width
    for group, other in zip(found, expected, strict=True):
        for rollout, twin in zip(group, other, strict=True):
            assert torch.equal(rollout.completion_ids, twin.completion_ids)
            torch.testing.assert_close(rollout.behaviour_logprobs, twin.behaviour_logprobs, rtol=0, atol=1e-5)
    assert [len(group) for group in generate(policy, prompts, batch_tokens=1, lean=lean)] == [3] * len(prompts)


@pytest.mark.parametrize("weight", ["q_proj", "up_proj", "o_proj", "input_layernorm", "embed_tokens"])
def test_weights_changed_in_place_are_seen_at_the_next_call(policy: Policy, weight: str) -> None:
    engine, prompts = HFEngine(policy, prefill), prompts_for(policy)[:1]

    def logprobs() -> torch.Tensor:
        settings = SamplingSettings(max_new_tokens=6)
        return engine.generate(prompts, completions=1, sampling=settings, seeds=[1])[0][0].behaviour_logprobs

    before = logprobs()
    assert torch.equal(logprobs(), before)
    for name, parameter in policy.model.model.language_model.named_parameters():
        if weight in name:
            parameter.data.mul_(1.5)
    assert not torch.equal(logprobs(), before)


def test_completions_that_have_ended_leave_the_batch(policy: Policy) -> None:
    prompts = prompts_for(policy)[-1:]
    step = iter(range(100))

    def end_half(_module: Any, _inputs: Any, logits: torch.Tensor) -> torch.Tensor:
        raised = logits.clone()
        if next(step) == 1:
            raised[: len(raised) // 2, policy.end_ids[0]] += 100.0
        raised[:, list(policy.end_ids)] -= 50.0
        return raised

    policy.model.lm_head.register_forward_hook(end_half)
    seen = watch(policy)
    groups = generate(policy, prompts, completions=8)
    assert [rows for rows, length in seen["tokens"] if length == 1] == [8, 4, 4, 4, 4]
    assert [len(rollout.completion_ids) for rollout in groups[0]] == [2] * 4 + [6] * 4
    assert [rollout.finish for rollout in groups[0]] == ["stop"] * 4 + ["length"] * 4


def test_gradient_checkpointing_in_training_mode_does_no_harm(tiny_model: TinyModel, policy: Policy) -> None:
    training = load_policy(tiny_model("qwen2_5_vl"), gradient_checkpointing=True)
    training.model.train()
    for group, other in zip(
        generate(training, prompts_for(policy)), generate(policy, prompts_for(policy)), strict=True
    ):
        for rollout, twin in zip(group, other, strict=True):
            assert torch.equal(rollout.completion_ids, twin.completion_ids)


def test_a_budget_of_nothing_is_refused(policy: Policy) -> None:
    with pytest.raises(EngineError, match="batch_tokens = 0"):
        HFEngine(policy, prefill, batch_tokens=0)


def test_the_engine_tells_where_its_time_goes(policy: Policy, tiny_model: TinyModel) -> None:
    engine = HFEngine(policy, prefill)
    assert isinstance(engine, TimesPhases) and engine.seconds == {}
    start = time.perf_counter()
    sampling = SamplingSettings(max_new_tokens=4)
    engine.generate(prompts_for(policy), completions=2, sampling=sampling, seeds=[0, 1, 2, 3])
    wall, first = time.perf_counter() - start, engine.seconds
    assert set(first) == {"vision", "prefill", "decode"} and min(first.values()) > 0
    assert sum(first.values()) <= wall
    engine.generate(prompts_for(policy), completions=2, sampling=sampling, seeds=[0, 1, 2, 3])
    assert all(engine.seconds[name] > seconds for name, seconds in first.items())
    assert not policy.model.model.visual._forward_hooks and not policy.model.model.visual._forward_pre_hooks
    blind = HFEngine(load_policy(tiny_model("qwen3")), prefill)
    blind.generate(prompts_for(policy)[2:3], completions=1, sampling=sampling, seeds=[0])
    assert blind.seconds.get("vision", 0.0) == 0.0 and blind.seconds["prefill"] > 0


@pytest.mark.parametrize("lean", [True, False])
def test_a_prompt_that_stands_twice_in_a_step_gets_what_it_gets_alone(policy: Policy, lean: bool) -> None:
    first = prompts_for(policy)[0]
    second = replace(first)  # another one of the same length, so that the three stay in this order
    alone = generate(policy, [first, second], lean=lean)
    thrice = generate(policy, [first, second, first], lean=lean)
    for one, other in zip(alone, thrice[:2], strict=True):
        assert [r.completion_ids.tolist() for r in one] == [r.completion_ids.tolist() for r in other]
    assert [r.completion_ids.tolist() for r in thrice[2]] != [r.completion_ids.tolist() for r in thrice[0]]
