"""A run of several processes, started by torchrun: full UEC steps on mixed problems; rank 0 writes what came out.

    torchrun ... -m tests.support.distributed_run SPECIFICATION.json

The specification names the model's folder, the engine, the number of steps, and where the outcome goes.
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
from uec_vlm.records import Judged, Rollout, Sample
from uec_vlm.trainer import launch
from uec_vlm.trainer.build import first_state
from uec_vlm.trainer.circle import Circle
from uec_vlm.trainer.launch import start_accelerator
from uec_vlm.trainer.loop import Turn, train


def mixed_samples(count: int = 24) -> list[Sample]:
    """Problems with and without a picture; every sixth is one that no regular rollout solves."""
    samples = []
    for number in range(count):
        shown = number % 3 != 1
        hard = "hard" if number % 6 == 0 else "fair"
        images = (picture(seed=number),) if shown else ()
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


def circle_of(specification: dict[str, Any]) -> Circle:
    """The circle of a specification, under the engine that the environment and the specification ask for."""
    use_engine(specification["engine"])
    circle = tiny_circle(specification["model"], specification.get("algorithm", "uec"), **specification["above"])
    return replace(circle, samples=mixed_samples(), judge=judge)


def use_engine(engine: str) -> None:
    """Sets what `accelerate launch` would set for this engine."""
    if engine == "fsdp2":
        launch.start_accelerator = _fsdp2_on_cpu
    if engine.startswith("zero"):
        stage, _, offload = engine.removeprefix("zero").partition("_")
        os.environ["ACCELERATE_USE_DEEPSPEED"] = "true"
        settings: dict[str, Any] = {"stage": int(stage), "stage3_param_persistence_threshold": 0}
        if offload:
            settings["offload_optimizer"] = {"device": "cpu"}
        tree = {
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 1,
            "zero_optimization": settings,
            "zero_force_ds_cpu_optimizer": False,
        }
        path = Path(os.environ["UEC_TEST_FOLDER"]) / f"deepspeed_{os.environ.get('RANK', '0')}.json"
        path.write_text(json.dumps(tree))
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
        "rows": [[[row[key] for key in keys] for row in turn.rows] for turn in turns],
    }


def main(path: str) -> None:
    import faulthandler

    faulthandler.dump_traceback_later(150)
    specification = json.loads(Path(path).read_text())
    os.environ["UEC_TEST_FOLDER"] = str(Path(path).parent)
    torch.manual_seed(int(os.environ.get("RANK", "0")))  # nothing may depend on the global generator
    circle = circle_of(specification)
    turns = list(train(circle, first_state(), last_step=specification["steps"]))
    weights = {name: value.cpu().clone() for name, value in circle.learner.weights()}
    if circle.ranks.first:
        out = Path(specification["out"])
        save_file(weights, out.with_suffix(".safetensors"))
        out.write_text(json.dumps(outcome(circle, turns)))
    if circle.ranks.world > 1:
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
