"""Four-bit weights under an adapter, and a reference that lies in host memory: the real libraries, on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from tests.reliability.kill_test import SETTINGS, differences
from tests.support.readings import prompts_for, random_batch
from tests.support.worlds import tiny_circle
from uec_vlm.cli import app
from uec_vlm.config import config_folder
from uec_vlm.policy import LoraSettings, Policy, count_of, load_policy, prefill, save_policy, score
from uec_vlm.rollouts import SamplingSettings
from uec_vlm.rollouts.hf import HFEngine
from uec_vlm.runlog import read_run
from uec_vlm.trainer.build import first_state
from uec_vlm.trainer.loop import train
from uec_vlm.trainer.memory import brought_to

bitsandbytes = pytest.importorskip("bitsandbytes")
TinyModel = Callable[[str], Path]
LORA = LoraSettings(rank=4, alpha=8.0)
QUICKSTART = str(config_folder() / "quickstart.yaml")


def scores_of(policy: Policy) -> torch.Tensor:
    batch = random_batch(prompts_for(policy), per_prompt=2, longest=6)
    return score(policy, batch, temperature=1.0).logprobs


def shaken(policy: Policy) -> Policy:
    """The adapter's second matrices, which begin at zero, get values."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in policy.model.named_parameters():
        if "lora_B" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.05
    return policy


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3"])
def test_the_layers_under_the_adapter_are_in_four_bits_and_nothing_else(family: str, tiny_model: TinyModel) -> None:
    whole = load_policy(tiny_model(family), lora=LORA)
    policy = load_policy(tiny_model(family), lora=LORA, quantization="nf4")
    packed = {name for name, module in policy.model.named_modules() if isinstance(module, bitsandbytes.nn.Linear4bit)}
    adapted = {f"{name}.base_layer" for name, module in whole.model.named_modules() if hasattr(module, "lora_A")}
    assert packed == adapted and len(packed) > 0
    counts = [sum(count_of(p) for p in one.model.parameters()) for one in (whole, policy)]
    assert counts[0] == counts[1], "packed weights are counted as what they stand for"
    sizes = [
        sum(p.numel() * p.element_size() for name, p in one.model.named_parameters() if "base_layer.weight" in name)
        for one in (whole, policy)
    ]
    assert sizes[1] * 8 == sizes[0], "half a byte for four"
    assert not [name for name, p in policy.model.named_parameters() if p.requires_grad and "lora_" not in name]


def test_what_is_written_is_what_was_trained_over(tiny_model: TinyModel, tmp_path: Path) -> None:
    """Merged weights: the four-bit base as the numbers it stands for, and the adapter added."""
    policy = shaken(load_policy(tiny_model("qwen2_5_vl"), lora=LORA, quantization="nf4"))
    plain = load_policy(save_policy(policy, tmp_path / "saved"))
    assert not plain.has_adapter
    with torch.no_grad():
        own, written, original = scores_of(policy), scores_of(plain), scores_of(load_policy(tiny_model("qwen2_5_vl")))
    torch.testing.assert_close(written, own, rtol=0, atol=2e-5)
    assert (original - own).abs().max() > 1e-3, "four bits and an adapter are another function than the original"


def test_sampling_scoring_and_training_see_the_same_weights(tiny_model: TinyModel) -> None:
    policy = shaken(load_policy(tiny_model("qwen2_5_vl"), lora=LORA, quantization="nf4"))
    policy.model.train()
    with_gradient = scores_of(policy)
    with_gradient.sum().backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad for name, p in policy.model.named_parameters() if "lora_" in name]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)
    policy.model.eval()
    with torch.no_grad():
        torch.testing.assert_close(scores_of(policy), with_gradient.detach(), rtol=0, atol=1e-5)
    prompts = prompts_for(policy)
    groups = HFEngine(policy, prefill).generate(
        prompts, completions=2, sampling=SamplingSettings(max_new_tokens=6), seeds=range(len(prompts))
    )
    from uec_vlm.batches import collate_completions

    rollouts = [rollout for group in groups for rollout in group]
    batch = collate_completions([r.completion_ids for r in rollouts], [r.prompt for r in rollouts])
    with torch.no_grad():
        found = score(policy, batch, temperature=1.0).logprobs
    for row, rollout in zip(found, rollouts, strict=True):
        torch.testing.assert_close(row[: len(rollout.completion_ids)], rollout.behaviour_logprobs, rtol=0, atol=1e-5)


def _train(folder: Path, steps: int, *more: str) -> Any:
    own = ["model.lora={rank: 4}", "model.quantization=nf4", "update.learning_rate=1e-3", f"run.steps={steps}"]
    own += [
        "rollout.max_new_tokens=40",
        "evaluate.every=0",
        "objective.accumulate=false",
        "evaluate.validation_problems=1",
        "evaluate.test_problems=1",
    ]
    command = ["train", QUICKSTART, f"run.dir={folder}", *SETTINGS, *own, "checkpoint.every=1", *more]
    return CliRunner().invoke(app, command, catch_exceptions=False)


@pytest.mark.slow  # on the CPU every forward unpacks every matrix
def test_a_run_in_four_bits_trains_its_adapter_and_goes_on_exactly(tmp_path: Path) -> None:
    result = _train(tmp_path / "whole", 3)
    assert result.exit_code == 0, result.output
    assert sum(row["update/optimizer_steps"] for row in read_run(tmp_path / "whole").metrics()[1:]) > 0
    assert _train(tmp_path / "halves", 2).exit_code == 0
    result = _train(tmp_path / "halves", 3, "--resume")
    assert result.exit_code == 0, result.output
    found = differences(tmp_path / "whole", tmp_path / "halves", checkpoints="step_3")
    assert [name for name in found if name != "evaluations.jsonl"] == [], "but the test split at the end of the half"
    load_policy(tmp_path / "whole" / "checkpoints" / "step_3")


def test_an_offloaded_reference_changes_no_number(tiny_model: TinyModel) -> None:
    found = {}
    for place in ("resident", "offloaded"):
        circle = tiny_circle(tiny_model("qwen2_5_vl"), "grpo", model={"reference": place}, update={"epochs": 2})
        assert circle.reference is not None
        turns = list(train(circle, first_state(), last_step=2))
        found[place] = [
            {k: v for k, v in turn.report.row().items() if not k.startswith(("time/", "memory/"))} for turn in turns
        ]
    assert found["resident"] == found["offloaded"]
    assert any(row.get("objective/kl_loss", 0.0) > 0 for row in found["offloaded"]), sorted(found["offloaded"][-1])


def test_weights_are_brought_to_the_device_and_put_back_where_they_lay() -> None:
    """The device is one without storage, so that its presence shows; what lay in host memory is not copied back."""
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4)).requires_grad_(False)
    homes = {name: value.data_ptr() for name, value in model.state_dict().items()}
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(RuntimeError, match="a failing pass"), brought_to(model, "meta"):
        assert {value.device.type for value in model.state_dict().values()} == {"meta"}
        raise RuntimeError("a failing pass")
    assert {name: value.data_ptr() for name, value in model.state_dict().items()} == homes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
