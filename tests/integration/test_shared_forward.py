"""The forward that scores a step's rollouts serves its update: the same training with one forward less."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.records import bare_prompt
from tests.support.worlds import tiny_circle
from uec_vlm.records import Rollout, TokenScores
from uec_vlm.trainer import observe, scoring
from uec_vlm.trainer.build import first_state
from uec_vlm.trainer.circle import Circle
from uec_vlm.trainer.forward_kept import KeptForward, keeps_forward
from uec_vlm.trainer.learner import Learner
from uec_vlm.trainer.loop import train

TinyModel = Callable[[str], Path]
WHOLE: dict[str, Any] = {"sequences_per_optimizer_step": None, "micro_batch_tokens": 8192}


def circle_of(folder: Path, algorithm: str = "grpo", **update: Any) -> Circle:
    """In float64, where a sum in another order is no different number."""
    circle = tiny_circle(folder, algorithm, update=WHOLE | update, log={"realised_dh_every": 0})
    for policy in (circle.policy, *([circle.reference.policy] if circle.reference is not None else [])):
        policy.model.double()
    return circle


def run(circle: Circle, steps: int = 2) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    rows = [turn.report.row() for turn in train(circle, first_state(), last_step=steps)]
    return rows, {name: value.clone() for name, value in circle.policy.model.state_dict().items()}


def largest_difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return max(float((value - other[name]).abs().max()) for name, value in one.items())


@pytest.fixture(scope="module")
def apart(tiny_model: TinyModel) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    """Two steps with a forward for the scores and another for the update."""
    return run(circle_of(tiny_model("qwen2_5_vl"), share_forward=False))


@pytest.mark.parametrize("algorithm", ["grpo", "entropy_adv"])
def test_one_forward_less_and_the_same_training(
    algorithm: str, tiny_model: TinyModel, apart: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_model("qwen2_5_vl")
    expected = apart if algorithm == "grpo" else run(circle_of(folder, algorithm, share_forward=False))
    graphs: list[bool] = []
    real = scoring.score

    def counted(*args: Any, **settings: Any) -> TokenScores:
        found = real(*args, **settings)
        graphs.append(found.logprobs.requires_grad)
        return found

    monkeypatch.setattr(scoring, "score", counted)
    circle = circle_of(folder, algorithm)
    start = {name: value.clone() for name, value in circle.policy.model.state_dict().items()}
    rows, weights = run(circle)
    # A forward with a graph in each step, and the reference's without one where there is a reference.
    assert graphs.count(True) == 2 and graphs.count(False) == (2 if circle.reference is not None else 0)
    assert largest_difference(weights, start) > 1e-4
    assert largest_difference(weights, expected[1]) < 1e-9
    for row, other in zip(rows, expected[0], strict=True):
        for name in ("update/loss", "update/grad_norm", "rollout/entropy", "update/trajectories"):
            assert row[name] == pytest.approx(other[name], abs=1e-7), name


def test_where_memory_runs_out_for_the_graph_the_scores_are_made_without(
    tiny_model: TinyModel, apart: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(observe, "score_with_graph", full)
    rows, weights = run(circle_of(tiny_model("qwen2_5_vl")))
    assert largest_difference(weights, apart[1]) == 0.0
    assert "update/out_of_memory" not in rows[0]


def test_where_memory_runs_out_on_the_way_back_the_update_makes_its_own_forward(
    tiny_model: TinyModel, apart: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = Learner.backward, []

    def failing_once(self: Learner, loss: torch.Tensor) -> None:
        calls.append(loss)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("no room")
        real(self, loss)

    monkeypatch.setattr(Learner, "backward", failing_once)
    rows, weights = run(circle_of(tiny_model("qwen2_5_vl")))
    assert rows[0]["update/out_of_memory"] == 1 and len(calls) == 3
    assert largest_difference(weights, apart[1]) < 1e-9


def test_it_is_for_steps_that_train_on_all_they_scored(tiny_model: TinyModel) -> None:
    folder = tiny_model("qwen2_5_vl")
    circle = circle_of(folder)
    assert keeps_forward(circle)
    assert not keeps_forward(replace(circle, settings=replace(circle.settings, share_forward=False)))
    assert not keeps_forward(replace(circle, settings=replace(circle.settings, sequences=8)))
    assert not keeps_forward(circle_of(folder, "uec"))
    assert not keeps_forward(circle_of(folder, "dapo"))
    checkpointed = {"path": str(folder), "gradient_checkpointing": True}
    assert not keeps_forward(tiny_circle(folder, "grpo", model=checkpointed, update=WHOLE))


@pytest.mark.parametrize("algorithm", ["grpo", "uec"])
def test_a_frozen_tower_sees_each_picture_once_for_sampler_policy_and_reference(
    algorithm: str, tiny_model: TinyModel
) -> None:
    folder = tiny_model("qwen2_5_vl")
    runs = []
    for mib in (64, 0):
        model = {"path": str(folder), "freeze_vision": True, "picture_mib": mib}
        circle = tiny_circle(folder, algorithm, model=model, log={"realised_dh_every": 0})
        tower = circle.policy.model.model.visual
        assert circle.reference is not None and circle.reference.policy.model.model.visual is tower
        seen: list[int] = []
        tower.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(len(args[0])))
        runs.append((seen, run(circle, steps=3)[0]))
    (once, rows), (often, others) = runs
    assert len(once) == 3 * 4 and sum(once) < 0.5 * sum(often)  # 4 prompts a step
    assert rows[0]["rollout/entropy"] == pytest.approx(others[0]["rollout/entropy"], abs=1e-5)
    assert rows[0]["rollout/accuracy"] == others[0]["rollout/accuracy"]


def _scored(count: int) -> tuple[list[Rollout], TokenScores, KeptForward]:
    prompt = bare_prompt("p", 3)
    ids = [torch.arange(length) for length in range(1, count + 1)]
    rollouts = [Rollout(prompt, "", own, torch.zeros(len(own)), "stop", "regular", 1.0, 0) for own in ids]
    values = torch.arange(count * count, dtype=torch.float32).view(count, count).requires_grad_()
    scores = TokenScores(values * 1.0, values * 2.0, values * 3.0)
    return rollouts, scores, KeptForward(rollouts, scores)


def test_rows_come_in_the_order_asked_for_and_once() -> None:
    rollouts, scores, kept = _scored(4)
    found = kept.take([rollouts[2], rollouts[0], rollouts[1]])
    assert found is not None and found.logprobs.requires_grad
    assert torch.equal(found.logprobs, scores.logprobs[[2, 0, 1], :3])
    assert torch.equal(found.moment, scores.moment[[2, 0, 1], :3])
    assert kept.take(rollouts) is None


@pytest.mark.parametrize("asked", [[0, 1], [0, 1, 2, None]], ids=["too few", "one that was not scored"])
def test_other_rollouts_make_a_forward_of_their_own_and_the_graph_is_let_go(asked: list[int | None]) -> None:
    rollouts, _, kept = _scored(4)
    stranger = replace(rollouts[0])
    assert kept.take([stranger if place is None else rollouts[place] for place in asked]) is None
    assert kept.take(rollouts) is None
