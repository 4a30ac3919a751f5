"""Prompts made ahead are the prompts, errors included; nothing is made twice."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest
import torch

from uec_vlm.batches import PromptReader
from uec_vlm.errors import PromptError
from uec_vlm.records import Prompt, Sample

SAMPLES = [Sample(id=str(place), source="test", problem=f"{place}?", answer="1") for place in range(6)]


class Maker:
    """Makes prompts, refuses sample 5, and knows in which thread it made which."""

    def __init__(self) -> None:
        self.made: list[tuple[str, bool]] = []

    def __call__(self, sample: Sample) -> Prompt:
        self.made.append((sample.id, threading.current_thread() is threading.main_thread()))
        if sample.id == "5":
            raise PromptError("sample '5': too long")
        return Prompt(
            sample, sample.problem, torch.tensor([int(sample.id)]), torch.zeros(0, 1), torch.zeros(0, 3).long()
        )


def test_what_was_expected_is_made_once_and_in_the_thread() -> None:
    maker = Maker()
    reader = PromptReader(SAMPLES, maker)
    reader.expect([0, 1])
    reader.expect([0, 1])
    assert [reader(place).sample.id for place in (1, 0, 2)] == ["1", "0", "2"]
    assert maker.made == [("0", False), ("1", False), ("2", True)]
    assert reader(0).sample.id == "0" and maker.made[-1] == ("0", True), "given once, then made again"


def test_a_wrong_guess_changes_nothing() -> None:
    release = threading.Event()

    def slow(sample: Sample) -> Prompt:
        release.wait(30)
        return Maker()(sample)

    reader = PromptReader(SAMPLES, slow)
    reader.expect([0, 1, 2])
    reader.expect([3])
    release.set()
    assert [reader(place).sample.id for place in (2, 3, 4)] == ["2", "3", "4"]


def test_what_goes_wrong_ahead_is_raised_when_it_is_asked_for() -> None:
    reader = PromptReader(SAMPLES, Maker())
    reader.expect([5, 4])
    assert reader(4).sample.id == "4"
    with pytest.raises(PromptError, match="sample '5'"):
        reader(5)


def test_ahead_can_be_switched_off() -> None:
    maker = Maker()
    reader = PromptReader(SAMPLES, maker, ahead=False)
    reader.expect([0])
    assert reader(0).sample.id == "0" and maker.made == [("0", True)]


def test_completions_share_the_pixels_of_their_prompt(tiny_model: Any) -> None:
    from tests.support.readings import prompts_for
    from uec_vlm.batches import collate_completions
    from uec_vlm.policy import load_policy, prefill, score
    from uec_vlm.rollouts import SamplingSettings
    from uec_vlm.rollouts.hf import HFEngine

    policy = load_policy(tiny_model("qwen2_5_vl"))
    prompts = prompts_for(policy)[:2]
    patches = sum(len(prompt.pixel_values) for prompt in prompts)
    seen: list[int] = []
    policy.model.model.visual.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))  # type: ignore
    groups = HFEngine(policy, prefill).generate(
        prompts, completions=5, sampling=SamplingSettings(max_new_tokens=4), seeds=[0, 1]
    )
    rollouts = [rollout for group in groups for rollout in group]
    assert all(r.prompt is prompt for prompt, group in zip(prompts, groups, strict=True) for r in group)
    assert seen == [patches]
    batch = collate_completions([r.completion_ids for r in rollouts], [r.prompt for r in rollouts])
    assert [p.pixel_values.data_ptr() for p in batch.prompts] == [p.pixel_values.data_ptr() for p in prompts]
    score(policy, batch, temperature=1.0).logprobs.sum().backward()
    assert seen == [patches, patches], "ten completions, two prompts: one reading of two"
    # A copy with the same content is known too, by what the model reads.
    copies = [replace(r.prompt, pixel_values=r.prompt.pixel_values.clone()) for r in rollouts]
    assert len(collate_completions([r.completion_ids for r in rollouts], copies).prompts) == 2
