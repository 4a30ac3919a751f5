"""The loop on a tiny random model: all stages act, the same run twice is the same, and resume is exact."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.worlds import tiny_circle
from uec_vlm.config import config_folder
from uec_vlm.objective import ControllerState, PromptHistory
from uec_vlm.policy import save_policy
from uec_vlm.trainer.build import first_state
from uec_vlm.trainer.circle import Circle
from uec_vlm.trainer.loop import Turn, train
from uec_vlm.trainer.moments import named_moments, restore_moments
from uec_vlm.trainer.state import TrainState, load_checkpoint, save_checkpoint

TinyModel = Callable[[str], Path]


def _run(circle: Circle, state: TrainState, last: int) -> list[Turn]:
    torch.manual_seed(last)  # nothing may depend on the global generator
    return list(train(circle, state, last_step=last))


def _numbers(turns: list[Turn]) -> list[dict[str, float]]:
    """The measurements without the clock and the memory."""
    return [
        {name: value for name, value in turn.report.row().items() if not name.startswith(("time/", "memory/"))}
        for turn in turns
    ]


def _weights(circle: Circle) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in circle.policy.model.state_dict().items()}


def _same_weights(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def _save(folder: Path, state: TrainState, circle: Circle) -> None:
    moments = named_moments(circle.optimizer, circle.policy.model.named_parameters())
    save_checkpoint(folder, state, moments, save_weights=partial(save_policy, circle.policy))


def _load(folder: Path, circle: Circle) -> TrainState:
    state, moments = load_checkpoint(folder, render=circle.render)
    restore_moments(circle.optimizer, circle.policy.model.named_parameters(), moments)
    return state


def test_without_a_penalty_no_copy_of_the_reference_is_in_memory(tiny_model: TinyModel) -> None:
    def models_while(circle: Circle) -> int:
        gc.collect()
        kind = type(circle.policy.model)
        return sum(type(item) is kind for item in gc.get_objects())

    gc.collect()
    folder = tiny_model("qwen2_5_vl")
    without = tiny_circle(folder, "dapo")
    alone = models_while(without)
    held = tiny_circle(folder, "grpo")
    assert without.reference is None
    assert held.reference is not None
    assert models_while(held) == alone + 2  # the new policy and its reference


@pytest.fixture(scope="module")
def uninterrupted(tiny_model: TinyModel) -> tuple[list[Turn], dict[str, torch.Tensor]]:
    circle = tiny_circle(tiny_model("qwen2_5_vl"))
    turns = _run(circle, first_state(), 8)
    return turns, _weights(circle)


def test_every_stage_of_uec_acts(uninterrupted: Any) -> None:
    rows = _numbers(uninterrupted[0])
    assert sum(row["explore/hard_prompts"] for row in rows) > 0
    assert sum(row["explore/solved"] for row in rows) > 0
    assert sum(row["update/optimizer_steps"] for row in rows) > 0
    assert sum(row.get("update/trajectories_extra", 0) for row in rows) > 0
    assert sum(row.get("update/trajectories_replay", 0) for row in rows) > 0
    assert any(row["select/queue"] > 0 for row in rows)
    assert all(row["rollout/policy_gap_nats"] < 1e-4 for row in rows)


def test_weights_change_and_successive_steps_differ(uninterrupted: Any, tiny_model: TinyModel) -> None:
    turns, weights = uninterrupted
    assert not _same_weights(_weights(tiny_circle(tiny_model("qwen2_5_vl"))), weights)
    texts = [[row["text"] for row in turn.rows] for turn in turns]
    assert len({tuple(step) for step in texts}) == len(texts)


@pytest.mark.parametrize("stop", [3, 4, 5])
def test_resume_is_exact(stop: int, uninterrupted: Any, tiny_model: TinyModel, tmp_path: Path) -> None:
    whole, weights = uninterrupted
    first = tiny_circle(tiny_model("qwen2_5_vl"))
    begun = _run(first, first_state(), stop)
    state = begun[-1].state
    assert len(state.queue) + len(state.replay) > 0, "nothing to restore: the test would prove little"
    folder = tmp_path / f"step_{stop}"
    _save(folder, state, first)
    resumed = tiny_circle(tiny_model("qwen2_5_vl"), checkpoint=folder)
    again = _run(resumed, _load(folder, resumed), 8)
    assert _numbers(begun + again) == _numbers(whole)
    assert _same_weights(_weights(resumed), weights)


def test_a_state_comes_back_whole(uninterrupted: Any, tiny_model: TinyModel, tmp_path: Path) -> None:
    state: TrainState = replace(
        uninterrupted[0][-1].state,
        controller=ControllerState(temperature_scale=1.25, memory=0.1, steps=8),
        history=PromptHistory({"problem": (3, 7)}),
    )
    circle = tiny_circle(tiny_model("qwen2_5_vl"))
    folder = tmp_path / "step_8"
    _save(folder, state, circle)
    back = _load(folder, circle)
    assert (back.step, back.drawn, back.optimizer_steps) == (state.step, state.drawn, state.optimizer_steps)
    assert (back.controller, back.history) == (state.controller, state.history)
    assert len(back.queue) + len(back.replay) > 2
    assert any(t.uses > 0 for t in back.replay.trajectories)
    for mine, theirs in zip(
        (*back.queue, *back.replay.trajectories), (*state.queue, *state.replay.trajectories), strict=True
    ):
        assert (mine.born, mine.uses, mine.advantage) == (theirs.born, theirs.uses, theirs.advantage)
        assert replace(mine.judged, rollout=theirs.judged.rollout) == theirs.judged
        one, other = mine.judged.rollout, theirs.judged.rollout
        assert (one.text, one.finish, one.source, one.temperature, one.policy_version) == (
            other.text, other.finish, other.source, other.temperature, other.policy_version
        )  # fmt: skip
        assert torch.equal(one.completion_ids, other.completion_ids)
        assert torch.equal(one.behaviour_logprobs, other.behaviour_logprobs)
        assert torch.equal(one.prompt.pixel_values, other.prompt.pixel_values)
        assert one.prompt.sample == other.prompt.sample
        assert torch.equal(mine.old_logprobs, theirs.old_logprobs)
        assert torch.equal(mine.importance_weights, theirs.importance_weights)


def test_resume_without_the_optimizer_state_is_seen(uninterrupted: Any, tiny_model: TinyModel, tmp_path: Path) -> None:
    """The twin of the test above: what is left out of the checkpoint shows."""
    first = tiny_circle(tiny_model("qwen2_5_vl"))
    state = _run(first, first_state(), 4)[-1].state
    folder = tmp_path / "step_4"
    _save(folder, state, first)
    resumed = tiny_circle(tiny_model("qwen2_5_vl"), checkpoint=folder)
    _load(folder, resumed)
    _run(resumed, replace(state, queue=()), 8)
    assert not _same_weights(_weights(resumed), uninterrupted[1])


@pytest.mark.parametrize("algorithm", sorted(p.stem for p in (config_folder() / "presets").glob("*.yaml")))
def test_every_preset_turns_the_circle(algorithm: str, tiny_model: TinyModel) -> None:
    circle = tiny_circle(tiny_model("qwen2_5_vl"), algorithm)
    rows = _numbers(_run(circle, first_state(), 2))
    assert len(rows) == 2
    assert all(row.get("update/skipped", 0) == 0 for row in rows)


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen3_vl"])
def test_the_other_families_turn_the_circle(family: str, tiny_model: TinyModel) -> None:
    circle = tiny_circle(tiny_model(family), "grpo")
    before = _weights(circle)
    rows = _numbers(_run(circle, first_state(), 2))
    assert sum(row["update/optimizer_steps"] for row in rows) > 0
    assert not _same_weights(_weights(circle), before)


def test_a_frozen_vision_tower_stays_and_lora_trains_only_its_adapter(tiny_model: TinyModel) -> None:
    folder = tiny_model("qwen2_5_vl")
    frozen = tiny_circle(folder, "grpo", model={"freeze_vision": True})
    before = _weights(frozen)
    _run(frozen, first_state(), 2)
    changed = {name for name, value in _weights(frozen).items() if not torch.equal(value, before[name])}
    assert changed
    assert not [name for name in changed if "visual" in name]
    adapted = tiny_circle(folder, "grpo", model={"lora": {"rank": 4, "alpha": 8}})
    before = _weights(adapted)
    _run(adapted, first_state(), 2)
    changed = {name for name, value in _weights(adapted).items() if not torch.equal(value, before[name])}
    assert changed
    assert all("lora_" in name for name in changed)


def test_gradients_that_are_not_finite_skip_the_step_and_are_counted(tiny_model: TinyModel) -> None:
    circle = tiny_circle(tiny_model("qwen2_5_vl"), "grpo")
    before = _weights(circle)
    head = circle.policy.model.get_output_embeddings().weight
    handle = head.register_hook(lambda gradient: gradient * float("nan"))
    rows = _numbers(_run(circle, first_state(), 1))
    handle.remove()
    assert rows[0]["update/skipped"] == 2
    assert rows[0]["update/optimizer_steps"] == 0
    assert _same_weights(_weights(circle), before)
