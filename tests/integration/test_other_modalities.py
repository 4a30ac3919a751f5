"""Text-only models, and text and pictures mixed, go through the same loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from tests.support.worlds import tiny_circle
from uec_vlm.batches import PromptReader
from uec_vlm.records import Sample
from uec_vlm.trainer.build import first_state
from uec_vlm.trainer.circle import Circle
from uec_vlm.trainer.loop import train

TinyModel = Callable[[str], Path]
SUMS = [Sample(str(n), "sums", f"What is {n} + {n}?", str(2 * n)) for n in range(12)]


def _trains(circle: Circle, samples: Sequence[Sample]) -> bool:
    before = {name: value.clone() for name, value in circle.policy.model.state_dict().items()}
    circle = replace(circle, prompts=PromptReader(samples, circle.render))
    rows = [turn.report.row() for turn in train(circle, first_state(), last_step=2)]
    after = circle.policy.model.state_dict()
    assert all(row["rollout/policy_gap_nats"] < 1e-4 for row in rows)
    return any(not torch.equal(value, after[name]) for name, value in before.items())


def test_a_text_only_model_trains(tiny_model: TinyModel) -> None:
    circle = tiny_circle(tiny_model("qwen2"), "grpo")
    assert _trains(circle, SUMS)


def test_text_and_pictures_mixed_train(tiny_model: TinyModel) -> None:
    circle = tiny_circle(tiny_model("qwen2_5_vl"), "grpo")
    pictured = [circle.samples[place] for place in range(6)]
    assert _trains(circle, [sample for pair in zip(SUMS, pictured, strict=False) for sample in pair])
