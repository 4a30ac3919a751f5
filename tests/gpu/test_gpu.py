"""What is done otherwise on a GPU gives what the CPU gives, and a run there repeats. Skipped without a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.readings import prompts_for, random_batch
from tests.support.tiny_models import TEXT_FAMILIES, VISION_FAMILIES
from uec_vlm.policy import load_policy, prefill, score
from uec_vlm.rollouts import SamplingSettings
from uec_vlm.rollouts.hf import HFEngine

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")

TinyModel = Callable[[str], Path]
FAMILIES = [family for family in (*VISION_FAMILIES, *TEXT_FAMILIES) if not family.endswith("_moe")]


def sampled(folder: Path, device: str, *, completions: int, **settings: Any) -> list[Any]:
    policy = load_policy(folder, device=device, dtype="float64")
    engine = HFEngine(policy, prefill, **settings)
    prompts = (prompts_for(policy) * 4)[:4]
    made = engine.generate(
        prompts,
        completions=completions,
        sampling=SamplingSettings(temperature=1.0, max_new_tokens=150),
        seeds=list(range(len(prompts))),
    )
    return [rollout for group in made for rollout in group]


@pytest.mark.parametrize("family", FAMILIES)
def test_recorded_steps_sample_what_the_cpu_samples(tiny_model: TinyModel, family: str) -> None:
    """Beyond the first room for tokens, and with more rows than are few, of which some leave."""
    folder = tiny_model(family)
    expected = sampled(folder, "cpu", completions=30)
    for graphs in (True, False):
        found = sampled(folder, "cuda", completions=30, graphs=graphs)
        same = [
            torch.equal(one.completion_ids, other.completion_ids) for one, other in zip(found, expected, strict=True)
        ]
        assert sum(same) >= len(same) - 1  # a number may fall on the border of two tokens
        for one, other, equal in zip(found, expected, same, strict=True):
            if equal:
                torch.testing.assert_close(one.behaviour_logprobs, other.behaviour_logprobs, rtol=0, atol=1e-4)


def test_recordings_share_their_memory(tiny_model: TinyModel) -> None:
    policy = load_policy(tiny_model("qwen2_5_vl"), device="cuda")
    engine, prompts = HFEngine(policy, prefill, graphs=True), prompts_for(policy)
    held = []
    for turn in range(30):
        sampling = SamplingSettings(temperature=1.0, max_new_tokens=100 + turn)
        engine.generate(prompts, completions=30, sampling=sampling, seeds=[turn] * len(prompts))
        held.append(torch.cuda.memory_reserved())
    assert held[-1] <= 1.5 * held[4]


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_and_gradients_are_those_of_the_cpu(tiny_model: TinyModel, family: str) -> None:
    found = {}
    for device in ("cpu", "cuda"):
        policy = load_policy(tiny_model(family), device=device, dtype="float64", freeze_vision=True, picture_mib=16)
        scores = score(policy, random_batch(prompts_for(policy), per_prompt=5, longest=30), temperature=0.9)
        scores.logprobs.sum().backward()
        gradients = [p.grad.cpu() for p in policy.model.parameters() if p.grad is not None]
        found[device] = [scores.logprobs.detach().cpu(), scores.entropy.cpu(), *gradients]
    for one, other in zip(found["cuda"], found["cpu"], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5 * max(1.0, float(other.abs().max())))


def trained(folder: Path, device: str, *more: str, steps: int = 4, again: bool = False) -> list[dict[str, Any]]:
    arguments = [
        "train", "configs/quickstart.yaml", f"run.dir={folder}", f"model.device={device}", f"run.steps={steps}",
        "run.trackers=[]", "rollout.prompts_per_step=8", "update.sequences_per_optimizer_step=40", "evaluate.every=0",
        "evaluate.validation_problems=2", "evaluate.validation_samples=1", "evaluate.test_problems=2",
        "evaluate.test_samples=1", *more,
    ]  # fmt: skip
    command = [sys.executable, "-m", "uec_vlm.cli", *arguments, *(["--resume", "auto"] if again else [])]
    done = subprocess.run(command, capture_output=True, text=True)  # accelerate keeps to one device in a process
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if not k.startswith(("time/", "memory/"))} for row in rows]


def test_a_run_repeats_bit_for_bit_resumes_exactly_and_begins_as_on_the_cpu(tmp_path: Path) -> None:
    first, second = (trained(tmp_path / name, "cuda") for name in ("first", "second"))
    assert first == second
    trained(tmp_path / "cut", "cuda", steps=2)
    assert trained(tmp_path / "cut", "cuda", again=True) == first
    cpu = trained(tmp_path / "cpu", "cpu", steps=2)
    for key in ("rollout/accuracy", "rollout/sampled_tokens"):
        assert first[1][key] == cpu[1][key]
    assert first[1]["rollout/entropy"] == pytest.approx(cpu[1]["rollout/entropy"], abs=1e-5)


def test_what_a_checkpoint_makes_again_is_made_by_the_same_kernels(tmp_path: Path) -> None:
    """In bfloat16, where torch has several kernels for attention to choose from."""
    keys = ("model.dtype=bfloat16", "model.lora={rank: 4, alpha: 8}", "model.gradient_checkpointing=true")
    last = trained(tmp_path / "run", "cuda", *keys, "update.share_forward=false", steps=2)[-1]
    assert last["step"] == 2
    assert last["update/grad_norm"] > 0
