"""A run of several processes, started by torchrun: full UEC steps on mixed problems; rank 0 writes what came out.

    torchrun ... -m tests.support.distributed_run SPECIFICATION.json

The specification names the model's folder, the engine, the number of steps, and where the outcome goes. fails: each
process writes what the rollout engine's end raised in it, beside the outcome.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedType, PartialState
from accelerate.utils import FullyShardedDataParallelPlugin
from safetensors.torch import save_file

from tests.support.tiny_models import picture
from tests.support.worlds import judge_by_parity, tiny_circle
from uec_vlm.batches import PromptReader
from uec_vlm.engine_sections import GapSection
from uec_vlm.errors import EngineError
from uec_vlm.policy import lengths, save_policy
from uec_vlm.policy.forward import backbone_of
from uec_vlm.records import Judged, Rollout, Sample
from uec_vlm.trainer import launch
from uec_vlm.trainer.build import first_state
from uec_vlm.trainer.circle import Circle
from uec_vlm.trainer.engines import halved, preflight
from uec_vlm.trainer.launch import start_accelerator
from uec_vlm.trainer.loop import Turn, train
from uec_vlm.trainer.ranks import ended_in_peace
from uec_vlm.trainer.shards import gather_moments, scatter_moments
from uec_vlm.trainer.state import TrainState, load_checkpoint, save_checkpoint

BROKEN = 11


def mixed_samples(count: int = 24) -> list[Sample]:
    """Problems with and without a picture; every sixth is one that no regular rollout solves.

    The picture of number `BROKEN`, which the second step draws, cannot be decoded.
    """
    samples = []
    for number in range(count):
        shown = number % 3 != 1
        hard = "hard" if number % 6 == 0 else "fair"
        image = picture(seed=number)[: 60 if number == BROKEN else None]
        images = (image,) if shown else ()
        samples.append(Sample(f"{hard}-{number}", "test", f"{'<image>' * shown}Find x in {number}.", "1", images))
    return samples


def judge(rollouts: Sequence[Rollout]) -> list[Judged]:
    """By parity, but a hard problem is never solved by a regular rollout, and often by an extra one."""
    out = []
    for rollout in rollouts:
        hard = rollout.prompt.sample.id.startswith("hard")
        modulus = 4 if not hard else (2 if rollout.source == "extra" else 10**9)
        out += judge_by_parity([rollout], modulus=modulus)
    return out


def circle_of(specification: dict[str, Any], checkpoint: Path | None) -> Circle:
    """The circle of a specification, under the engine that the environment and the specification ask for."""
    use_engine(specification["engine"])
    algorithm, above = specification.get("algorithm", "uec"), specification["above"]
    circle = tiny_circle(specification["model"], algorithm, checkpoint=checkpoint, **above)
    return replace(circle, prompts=PromptReader(mixed_samples(), circle.render), judge=judge)


def use_engine(engine: str) -> None:
    """Sets what `accelerate launch` would set for this engine: its name, then perhaps `offload` or `bf16`."""
    name, *parts = engine.split("_")
    if "bf16" in parts:
        os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16"
    if name == "fsdp2":
        launch.start_accelerator = _fsdp2_on_cpu
    if name.startswith("zero"):
        # Compiled anew in every environment, for a minute; without it the processes of a CPU talk by gloo.
        import deepspeed.ops

        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        stage = int(name.removeprefix("zero"))
        settings: dict[str, Any] = {"stage": stage, "stage3_param_persistence_threshold": 0}
        if "offload" in parts:
            settings["offload_optimizer"] = {"device": "cpu"}
        if "offload" in parts and stage == 3:
            settings["offload_param"] = {"device": "cpu"}
        tree = {
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 1,
            "zero_optimization": settings,
            "zero_force_ds_cpu_optimizer": False,
            "bf16": {"enabled": "bf16" in parts},
        }
        path = Path(os.environ["UEC_TEST_FOLDER"]) / f"deepspeed_{os.environ.get('RANK', '0')}.json"
        path.write_text(json.dumps(tree))
        os.environ["ACCELERATE_USE_DEEPSPEED"] = "true"
        os.environ["ACCELERATE_DEEPSPEED_CONFIG_FILE"] = str(path)


def _fsdp2_on_cpu(device: str) -> Accelerator:
    """accelerate gives FSDP2 on GPUs only: its state is told to be what it would be there; all else is its own code."""
    accelerator = start_accelerator(device)
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2, auto_wrap_policy="transformer_based_wrap", cpu_ram_efficient_loading=False
    )
    accelerator.state.__dict__.update(distributed_type=DistributedType.FSDP, fsdp_plugin=plugin)
    PartialState._shared_state["distributed_type"] = DistributedType.FSDP
    return accelerator


def outcome(circle: Circle, turns: list[Turn]) -> dict[str, Any]:
    """What must not depend on the number of processes, and which engine it was."""
    keys = ("id", "source", "text", "correct", "kept")
    first = next(parameter for parameter in circle.policy.model.parameters() if parameter.requires_grad)
    return {
        "engine": {
            "kind": circle.learner.kind,
            "distributed_type": circle.learner.accelerator.distributed_type.value,
            "root": type(circle.learner.root).__name__,
            "parameter": type(first).__name__,
            "shape": list(first.shape),
            "world": circle.ranks.world,
        },
        "metrics": [
            {k: v for k, v in turn.report.row().items() if not k.startswith(("time/", "memory/"))} for turn in turns
        ],
        "notes": [turn.report.notes for turn in turns],
        "rows": [[[row[key] for key in keys] for row in turn.rows] for turn in turns],
    }


def checked(circle: Circle) -> dict[str, Any]:
    """The preflight's gaps, and whether `halved` halves every weight."""
    gaps = preflight(circle, GapSection(prompts=3, completions=2, max_new_tokens=6))
    before = {name: value.clone() for name, value in circle.learner.weights()}
    with halved(circle.learner):
        same = [torch.equal(value * 2, before[name]) for name, value in circle.learner.weights()]
    return {"gaps": [gap.largest for gap in gaps], "halved": all(same)}


def cut_finely() -> None:
    """Groups of a few tokens and head calls of a few positions, so that the processes would need different numbers."""
    lengths._CPU_TOKENS = 8
    sys.modules["uec_vlm.policy.score"]._HEAD_ROWS = 8  # type: ignore[attr-defined]  # the package names the function so


def main(path: str) -> None:
    cut_finely()
    specification = json.loads(Path(path).read_text())
    os.environ["UEC_TEST_FOLDER"] = str(Path(path).parent)
    torch.manual_seed(int(os.environ.get("RANK", "0")))  # nothing may depend on the global generator
    resume = Path(specification["resume"]) if "resume" in specification else None
    circle = circle_of(specification, resume)
    state = first_state()
    if resume is not None:
        state, moments = load_checkpoint(resume, render=circle.sharing.remember)
        scatter_moments(circle.learner, moments)
    if specification.get("broken_rank") == circle.ranks.rank:
        break_backward(circle)
    found = checked(circle) if specification.get("preflight") else {}
    out = Path(specification["out"])
    try:
        turns = list(train(circle, state, last_step=specification["steps"]))
    except EngineError as error:
        if not specification.get("fails"):
            raise
        out.with_suffix(f".{circle.ranks.rank}.txt").write_text(str(error))
        return
    if "save" in specification:
        save(circle, turns[-1].state, Path(specification["save"]))
    weights = {name: value.cpu().clone() for name, value in circle.learner.weights()}
    weights |= {name: value for name, value in gather_moments(circle.learner).items() if name.endswith(".master")}
    if circle.ranks.first:
        save_file(weights, out.with_suffix(".safetensors"))
        out.write_text(json.dumps({**outcome(circle, turns), "preflight": found}))
    if circle.ranks.world > 1:
        torch.distributed.barrier()


def break_backward(circle: Circle) -> None:
    """The gradients of this rank become nan, those of the others stay as they are."""

    def poison(module: torch.nn.Module, given: Any, out: torch.Tensor) -> None:
        if out.requires_grad:
            out.register_hook(lambda gradient: gradient * float("nan"))

    backbone_of(circle.policy.model).language_model.norm.register_forward_hook(poison)


def save(circle: Circle, state: TrainState, folder: Path) -> None:
    weights, moments = circle.learner.gathered(), gather_moments(circle.learner)

    def write() -> None:
        save_checkpoint(
            folder, state, moments, save_weights=lambda out: save_policy(circle.policy, out, state_dict=weights)
        )

    circle.ranks.from_first(write)


if __name__ == "__main__":
    with ended_in_peace():
        main(sys.argv[1])
