"""The supervised cold start: its loss by hand, its independence of the cut, its learning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.support.tiny_models import picture
from uec_vlm.batches import PromptSettings, render
from uec_vlm.errors import ConfigError, DataError
from uec_vlm.policy import Policy, load_policy
from uec_vlm.records import Prompt, Sample
from uec_vlm.trainer.sft import Example, SftStep, rate_share, sft_run, target_ids

SETTINGS = {"learning_rate": 3e-3, "warmup_steps": 0, "weight_decay": 0.0, "seed": 5, "max_grad_norm": 1.0}
TARGETS = ("12", "\\boxed{7}", "<think>3+4</think>\\boxed{30}", "\u00e9\u03c0")


def sample(index: int, *, sees: bool) -> Sample:
    images = (picture(seed=index),) if sees else ()
    return Sample(id=f"s{index}", source="test", problem="<image>" * sees + f"Find {index}.", answer="1", images=images)


def examples(policy: Policy, *, sees: bool) -> list[Example]:
    prompts = [render(sample(index, sees=sees), speaker(policy), PromptSettings()) for index in range(len(TARGETS))]
    return list(zip(prompts, TARGETS, strict=True))


def speaker(policy: Policy) -> object:
    return policy.processor if policy.processor is not None else policy.tokenizer


def steps_of(policy: Policy, data: list[Example], **changes: object) -> list[SftStep]:
    settings = {**SETTINGS, "steps": 2, "batch_size": 4, **changes}
    return list(sft_run(policy, data, **settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen2_vl", "qwen3_vl", "qwen2"])
def test_the_loss_is_the_token_mean_over_targets_and_end_tokens(tiny_model: Callable[[str], Path], family: str) -> None:
    policy = load_policy(tiny_model(family))
    data = examples(policy, sees=family != "qwen2")
    expected, tokens = plain_loss(policy, data)
    first = steps_of(policy, data, steps=1)[0]
    assert first.target_tokens == tokens
    assert first.loss == pytest.approx(expected, rel=0, abs=1e-5)


def plain_loss(policy: Policy, data: list[Example]) -> tuple[float, int]:
    """The same number from the Hugging Face model's own forward, row by row."""
    total, tokens = 0.0, 0
    for prompt, target in data:
        assert isinstance(prompt, Prompt)
        ids = target_ids(policy.tokenizer, target)
        row = torch.cat([prompt.token_ids, torch.tensor(ids)]).unsqueeze(0)
        extra = {}
        if len(prompt.pixel_values):
            kinds = (row == policy.model.config.image_token_id).long()
            extra = {"pixel_values": prompt.pixel_values, "image_grid_thw": prompt.image_grid_thw}
            extra["mm_token_type_ids"] = kinds
        with torch.no_grad():
            logits = policy.model(input_ids=row, **extra).logits[0, len(prompt.token_ids) - 1 : -1]
        total += float(torch.nn.functional.cross_entropy(logits, torch.tensor(ids), reduction="sum"))
        tokens += len(ids)
    return total / tokens, tokens


def test_the_cut_into_micro_batches_changes_nothing(tiny_model: Callable[[str], Path]) -> None:
    runs = []
    for size in (1, 4):
        policy = load_policy(tiny_model("qwen2_5_vl"), dtype="float64")
        steps = steps_of(policy, examples(policy, sees=True), steps=3, micro_batch_size=size)
        runs.append(([step.loss for step in steps], [step.gradient_norm for step in steps]))
    assert runs[0][0] == pytest.approx(runs[1][0], rel=0, abs=1e-7)
    assert runs[0][1] == pytest.approx(runs[1][1], rel=0, abs=1e-6)


def test_equal_seeds_give_equal_runs_and_other_seeds_another_order(tiny_model: Callable[[str], Path]) -> None:
    losses = []
    for seed in (5, 5, 6):
        policy = load_policy(tiny_model("qwen2_5_vl"))
        steps = steps_of(policy, examples(policy, sees=True), steps=4, batch_size=1, seed=seed)
        losses.append([step.loss for step in steps])
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def test_it_learns_its_targets_and_lazy_samples_are_rendered(tiny_model: Callable[[str], Path]) -> None:
    policy = load_policy(tiny_model("qwen2_5_vl"))
    data: list[Example] = [(sample(index, sees=True), target) for index, target in enumerate(TARGETS)]
    seen: list[int] = []
    steps = list(
        sft_run(
            policy,
            data,
            steps=30,
            batch_size=4,
            render=lambda one: render(one, policy.processor, PromptSettings()),
            on_step=lambda step: seen.append(step.step),
            **SETTINGS,  # type: ignore[arg-type]
        )
    )
    assert seen == list(range(1, 31))
    assert steps[-1].loss < 0.5 * steps[0].loss
    assert not policy.model.training


def test_a_gradient_that_is_not_finite_changes_no_weight(tiny_model: Callable[[str], Path]) -> None:
    policy = load_policy(tiny_model("qwen2_5_vl"))
    data = examples(policy, sees=True)
    prompt = data[0][0]
    assert isinstance(prompt, Prompt)
    data[0] = (replace(prompt, pixel_values=torch.full_like(prompt.pixel_values, float("nan"))), TARGETS[0])
    before = [weight.detach().clone() for weight in policy.model.parameters()]
    assert [step.skipped for step in steps_of(policy, data)] == [True, True]
    assert all(torch.equal(old, new) for old, new in zip(before, policy.model.parameters(), strict=True))


def test_the_rate_rises_linearly_and_falls_along_a_cosine() -> None:
    rates = [rate_share(step, steps=10, warmup_steps=4) for step in (2, 4, 7, 10)]
    # Half-way up; the top; half-way down: 0.1 + 0.9 / 2; the floor.
    assert rates == pytest.approx([0.5, 1.0, 0.55, 0.1], rel=0, abs=1e-12)


def test_what_cannot_work_is_refused_by_name(tiny_model: Callable[[str], Path]) -> None:
    policy = load_policy(tiny_model("qwen2_5_vl"))
    with pytest.raises(DataError, match="no examples"):
        steps_of(policy, [])
    with pytest.raises(ConfigError, match="render"):
        steps_of(policy, [(sample(0, sees=True), "1")])
    with pytest.raises(ConfigError, match="micro_batch_size = 0"):
        steps_of(policy, examples(policy, sees=True), micro_batch_size=0)
