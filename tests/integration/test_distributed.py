"""Real processes: the same run in one, two and four of them, under every engine, and a resume with another number.

Each launch asserts the engine that it really got, and ends in time or fails.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.support.processes import ABOVE, LIMIT, Outcome, assert_really, assert_same, run

TinyModel = Callable[[str], Path]


@pytest.fixture(scope="module")
def alone(tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    outcome = run(tmp_path_factory.mktemp("alone"), tiny_model("qwen2_5_vl"), "one", 1)
    rows = outcome.metrics
    assert outcome.engine["kind"] == "one"
    assert sum(row["explore/solved"] for row in rows) > 0, "no hard prompt was solved: the test would prove little"
    # One hard prompt in a step: with several ranks, one has all the extra rollouts and the others have none.
    assert any(row["explore/hard_prompts"] == 1 for row in rows)
    # A last optimizer step of fewer sequences than ranks leaves a rank without any.
    assert any(0 < row["update/trajectories"] % 8 < 4 for row in rows)
    pictured = [[len(name) > 0 and int(name.rsplit("-", 1)[1]) % 3 != 1 for name, *_ in step] for step in outcome.rows]
    assert any(any(step) and not all(step) for step in pictured), "no step mixes text and pictures"
    assert [row.get("data/skipped", 0) for row in rows] == [0, 1, 0]
    assert "picture 1: the picture cannot be decoded" in outcome.notes[1][0]
    return outcome


@pytest.mark.timeout(LIMIT + 30)
@pytest.mark.parametrize("engine", ["ddp", "zero2", "zero3", "fsdp2"])
def test_two_processes_are_one(engine: str, alone: Outcome, tiny_model: TinyModel, tmp_path: Path) -> None:
    """The preflight halves the weights and undoes it: nothing of it is left in the run."""
    outcome = run(tmp_path, tiny_model("qwen2_5_vl"), engine, 2, preflight=True)
    assert_really(outcome, engine, 2)
    assert outcome.preflight["halved"]
    assert len(outcome.preflight["gaps"]) == 2 and max(outcome.preflight["gaps"]) < 1e-4
    assert_same(alone, outcome)


@pytest.mark.slow
@pytest.mark.timeout(2 * LIMIT)
@pytest.mark.parametrize("engine", ["ddp", "zero2", "zero3", "fsdp2"])
def test_four_processes_are_one(engine: str, alone: Outcome, tiny_model: TinyModel, tmp_path: Path) -> None:
    outcome = run(tmp_path, tiny_model("qwen2_5_vl"), engine, 4)
    assert_really(outcome, engine, 4)
    assert_same(alone, outcome)


@pytest.mark.slow
@pytest.mark.timeout(LIMIT + 30)
@pytest.mark.parametrize("engine", ["zero2_offload", "zero3_offload"])
def test_the_optimizer_may_lie_on_the_cpu(engine: str, alone: Outcome, tiny_model: TinyModel, tmp_path: Path) -> None:
    outcome = run(tmp_path, tiny_model("qwen2_5_vl"), engine, 2)
    assert_really(outcome, engine, 2)
    assert_same(alone, outcome)


@pytest.mark.slow
@pytest.mark.timeout(LIMIT + 30)
def test_another_seed_is_another_run(alone: Outcome, tiny_model: TinyModel, tmp_path: Path) -> None:
    """The twin of difference: what is compared above can tell runs apart."""
    outcome = run(tmp_path, tiny_model("qwen2_5_vl"), "one", 1, above={**ABOVE, "run": {"seed": 1}})
    assert outcome.rows != alone.rows


@pytest.mark.slow
@pytest.mark.timeout(2 * LIMIT)
@pytest.mark.parametrize(("engine", "algorithm"), [("ddp", "grpo"), ("zero3", "kl_cov"), ("fsdp2", "grpo")])
def test_a_reference_and_a_step_context_are_shared_too(
    engine: str, algorithm: str, tiny_model: TinyModel, tmp_path: Path
) -> None:
    above = {**ABOVE, "objective": {}, "model": {"device": "cpu", "lora": {"rank": 4, "alpha": 8}}}
    mine = run(tmp_path / "one", tiny_model("qwen2_5_vl"), "one", 1, above=above, algorithm=algorithm, steps=2)
    theirs = run(tmp_path / "two", tiny_model("qwen2_5_vl"), engine, 2, above=above, algorithm=algorithm, steps=2)
    assert_same(mine, theirs)


@pytest.mark.slow
@pytest.mark.timeout(2 * LIMIT)
@pytest.mark.parametrize("engine", ["ddp", "zero2", "zero3", "fsdp2"])
def test_a_reference_that_is_put_away_is_the_same_in_every_process(
    engine: str, tiny_model: TinyModel, tmp_path: Path
) -> None:
    """Against one process that keeps its reference: both are held whole, beside weights that may be shards."""
    model, objective = tiny_model("qwen2_5_vl"), {**ABOVE["objective"], "kl": {"name": "k3", "coef": 0.05}}
    places = ("resident", "offloaded")
    kept, away = ({**ABOVE, "objective": objective, "model": {"device": "cpu", "reference": place}} for place in places)
    mine = run(tmp_path / "one", model, "one", 1, above=kept, steps=2)
    theirs = run(tmp_path / "two", model, engine, 2, above=away, steps=2)
    assert_really(theirs, engine, 2)
    assert mine.metrics[-1]["objective/reference_kl"] > 0, "the reference is what the policy began with"
    assert_same(mine, theirs)


@pytest.mark.slow
@pytest.mark.timeout(2 * LIMIT)
def test_four_bit_weights_are_whole_in_every_process(tiny_model: TinyModel, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    model = {"device": "cpu", "lora": {"rank": 4, "alpha": 8}, "quantization": "nf4"}
    above = {**ABOVE, "objective": {}, "model": model}
    mine = run(tmp_path / "one", tiny_model("qwen2_5_vl"), "one", 1, above=above, algorithm="grpo", steps=2)
    theirs = run(tmp_path / "two", tiny_model("qwen2_5_vl"), "ddp", 2, above=above, algorithm="grpo", steps=2)
    assert_really(theirs, "ddp", 2)
    assert sum(row["update/optimizer_steps"] for row in mine.metrics) > 0
    assert_same(mine, theirs)


@pytest.mark.slow
@pytest.mark.timeout(3 * LIMIT)
@pytest.mark.parametrize("engine", ["ddp", "zero2", "zero3", "fsdp2"])
def test_gradients_that_are_not_finite_on_one_rank_skip_the_step_on_all(
    engine: str, tiny_model: TinyModel, tmp_path: Path
) -> None:
    outcome = run(tmp_path, tiny_model("qwen2_5_vl"), engine, 2, steps=2, broken_rank=1)
    assert sum(row.get("update/skipped", 0) for row in outcome.metrics) > 0
    assert sum(row["update/optimizer_steps"] for row in outcome.metrics) == 0
    assert all(torch.isfinite(weight).all() for weight in outcome.weights.values())


@pytest.mark.slow
@pytest.mark.timeout(3 * LIMIT)
@pytest.mark.parametrize("engine", ["zero2_bf16", "zero3_bf16", "fsdp2_bf16"])
def test_the_float32_weights_behind_bfloat16_ones_survive_a_resume(
    engine: str, tiny_model: TinyModel, tmp_path: Path
) -> None:
    """A resume that began from the rounded weights would be another run: an update is smaller than their last place."""
    model, checkpoint = tiny_model("qwen2_5_vl"), tmp_path / "checkpoint" / "step_1"
    above = {**ABOVE, "model": {"device": "cpu", "dtype": "bfloat16"}, "update": {"learning_rate": 1e-5}}
    whole = run(tmp_path / "whole", model, engine, 2, above=above, steps=2)
    assert_really(whole, engine, 2)
    exact = [value for name, value in whole.weights.items() if name.endswith(".master") or engine.startswith("fsdp2")]
    assert exact and all(value.dtype == torch.float32 for value in exact)
    assert any((value != value.bfloat16()).any() for value in exact), "nothing that rounding would lose"
    begun = run(tmp_path / "begun", model, engine, 2, above=above, steps=1, save=str(checkpoint))
    resumed = run(tmp_path / "resumed", model, engine, 2, above=above, steps=2, resume=str(checkpoint))
    assert begun.rows + resumed.rows == whole.rows
    assert begun.metrics + resumed.metrics == whole.metrics
    assert all(torch.equal(resumed.weights[name], value) for name, value in whole.weights.items())


@pytest.mark.slow
@pytest.mark.timeout(3 * LIMIT)
@pytest.mark.parametrize(("before", "after"), [(("one", 1), ("ddp", 2)), (("zero3", 2), ("one", 1)),
                                               (("fsdp2", 2), ("zero2", 2))])  # fmt: skip
def test_a_run_is_resumed_with_other_processes(
    before: tuple[str, int], after: tuple[str, int], alone: Outcome, tiny_model: TinyModel, tmp_path: Path
) -> None:
    model, checkpoint = tiny_model("qwen2_5_vl"), tmp_path / "checkpoint" / "step_1"
    begun = run(tmp_path / "begun", model, *before, steps=1, save=str(checkpoint))
    resumed = run(tmp_path / "resumed", model, *after, steps=3, resume=str(checkpoint))
    whole = Outcome(
        resumed.engine,
        begun.metrics + resumed.metrics,
        begun.notes + resumed.notes,
        begun.rows + resumed.rows,
        resumed.weights,
    )
    assert_same(alone, whole)
