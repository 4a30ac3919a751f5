"""A chat template that opens `<think>` itself: the thought is a part of the answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from uec_vlm.batches import PromptSettings, render
from uec_vlm.policy import Policy, load_policy
from uec_vlm.records import FinishReason, Prompt, Rollout, Sample
from uec_vlm.trainer.judging import RewardSettings, judge_rollouts
from uec_vlm.trainer.sft import sft_run

OPENED = (
    "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<think>\n{% endif %}"
)
SETTINGS = RewardSettings(
    1.0, 0.5, "think_boxed", ((lambda texts, golds, contexts: [float(len(t)) for t in texts], 0.0),)
)


@pytest.fixture
def policy(tiny_model: Callable[[str], Path]) -> Policy:
    made = load_policy(tiny_model("qwen3"))
    made.tokenizer.chat_template = OPENED
    return made


def prompt_of(policy: Policy) -> Prompt:
    return render(Sample(id="s", source="test", problem="2+2?", answer="4"), policy.tokenizer, PromptSettings())


def rollout(prompt: Prompt, text: str, finish: FinishReason = "stop") -> Rollout:
    return Rollout(prompt, text, torch.tensor([1]), torch.tensor([0.0]), finish, "regular", 1.0, 0)


def test_the_thought_that_the_template_opened_keeps_the_format(policy: Policy) -> None:
    whole, cut = judge_rollouts(
        [
            rollout(prompt_of(policy), "2+2 is 4.\n</think>\n\n\\boxed{4}"),
            rollout(prompt_of(policy), "Maybe \\boxed{4}. Wait, let me check", "length"),
        ],
        SETTINGS,
    )
    assert (whole.accuracy, whole.format, whole.reward) == (1.0, 1.0, 1.5)
    assert (cut.verdict.reason, cut.reward) == ("truncated", 0.0)


def test_a_worked_solution_opens_no_second_thought(policy: Policy) -> None:
    prompt = prompt_of(policy)
    settings = {"learning_rate": 1e-3, "warmup_steps": 0, "weight_decay": 0.0, "seed": 0, "max_grad_norm": 1.0}
    steps = [
        next(iter(sft_run(policy, [(prompt, target)], steps=1, batch_size=1, **settings))).target_tokens  # type: ignore[arg-type]
        for target in ("2+2</think>\\boxed{4}", "<think>2+2</think>\\boxed{4}", "<think>\n2+2</think>\\boxed{4}")
    ]
    assert len(set(steps)) == 1
