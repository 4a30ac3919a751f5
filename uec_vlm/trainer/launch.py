"""What `accelerate launch` asked for becomes an accelerator and a learner, or is refused with the reason."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import torch
from accelerate import Accelerator, DistributedType
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs
from torch import nn

from uec_vlm.errors import ConfigError
from uec_vlm.policy import Policy
from uec_vlm.trainer.combinations import Parallelism
from uec_vlm.trainer.fixed_order import prepare_cublas
from uec_vlm.trainer.learner import Kind, Learner, Root, ZeroLearner
from uec_vlm.trainer.ranks import Ranks

# The others wait for the first rank while it waits for servers: longer than gloo's half hour.
_PATIENCE = timedelta(hours=12)


@dataclass(frozen=True)
class Launched:
    """This process as `accelerate launch` (or a plain python) started it: the parallelism it asked for, the ranks."""

    accelerator: Accelerator
    ranks: Ranks

    @property
    def parallelism(self) -> Parallelism:
        """What accelerate runs."""
        return Parallelism(kind_of(self.accelerator), str(self.accelerator.mixed_precision), self.ranks.world)


def launch(device: str) -> Launched:
    """Joins the other processes of the run, if there are any. device: as configured. ConfigError as below."""
    prepare_cublas()
    accelerator = start_accelerator(device)
    kind_of(accelerator)
    return Launched(accelerator, ranks_of(accelerator))


def start_accelerator(device: str) -> Accelerator:
    """The accelerator of this process. device: "auto", "cpu" or "cuda", as configured.

    ConfigError where accelerate gives something else than its launcher was told (it falls back quietly on the CPU).
    """
    wants_zero = os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true"
    wants_fsdp = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
    refuse_missing_gpu(device)
    on_cpu = device == "cpu" or not torch.cuda.is_available()
    if os.environ.setdefault("ACCELERATE_DEEPSPEED_ZERO3_INIT", "false").lower() == "true":
        raise ConfigError(
            "zero3_init_flag = true loads the model in shards, and then neither the copy that samples nor that of the "
            "reference could be made. Set zero3_init_flag: false; DeepSpeed shards the weights after loading."
        )
    # Trainable weights may go without a gradient in a step (no picture in it): DDP must be told.
    handlers: list[Any] = [DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False)]
    if wants_zero and on_cpu:
        # With cpu=True accelerate would quietly run plain DDP, whatever was asked for.
        handlers.append(InitProcessGroupKwargs(backend="gloo"))
        os.environ["ACCELERATE_USE_CPU"] = "false"
        os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
        accelerator = Accelerator(kwargs_handlers=handlers)
    else:
        alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
        accelerator = Accelerator(cpu=device == "cpu" or (on_cpu and not alone), kwargs_handlers=handlers)
    _load_models_whole()
    got = accelerator.distributed_type
    for asked, wanted in ((wants_zero, DistributedType.DEEPSPEED), (wants_fsdp, DistributedType.FSDP)):
        if asked and got != wanted:
            raise ConfigError(
                f"accelerate was asked for {wanted.value} and gives {got.value}: it shards on GPUs only. Use one, "
                "or configs/accelerate/ddp.yaml on the CPU."
            )
    if accelerator.num_processes != int(os.environ.get("WORLD_SIZE", "1")):
        raise ConfigError(
            f"{os.environ['WORLD_SIZE']} processes were started and accelerate sees {accelerator.num_processes}: each "
            "would train alone. Start them with accelerate launch or torchrun, and a file of configs/accelerate/."
        )
    _refuse_accumulation(accelerator)
    return accelerator


def refuse_missing_gpu(device: str) -> None:
    """ConfigError for `model.device = cuda` where torch sees no GPU: accelerate would train on the CPU."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "model.device = cuda, and torch sees no GPU here: is it a build for the CPU, or does "
            "CUDA_VISIBLE_DEVICES hide it? Set model.device = auto to take a GPU only where there is one."
        )


def _refuse_accumulation(accelerator: Accelerator) -> None:
    """Accelerate divides every gradient by it; DeepSpeed's own is set to 1 (`_set_deepspeed`)."""
    times = accelerator.gradient_accumulation_steps
    if times != 1 and accelerator.distributed_type != DistributedType.DEEPSPEED:
        raise ConfigError(
            f"gradient_accumulation_steps = {times} for accelerate: the loop accumulates gradients by itself, over the "
            "micro-batches of an optimizer step, and they would be divided once more. Leave it away (and unset "
            "ACCELERATE_GRADIENT_ACCUMULATION_STEPS); update.micro_batch_tokens is what bounds the memory."
        )


def ranks_of(accelerator: Accelerator) -> Ranks:
    """The processes that were launched, with a group of their own for small records."""
    if accelerator.num_processes == 1:
        return Ranks()
    import torch.distributed as dist

    group = dist.new_group(backend="gloo", timeout=_PATIENCE)
    return Ranks(accelerator.process_index, accelerator.num_processes, group)


def kind_of(accelerator: Accelerator) -> Kind:
    """Which parallelism accelerate runs. ConfigError for one that the loop does not know."""
    got = accelerator.distributed_type
    if got == DistributedType.NO:
        return "one"
    if got in (DistributedType.MULTI_CPU, DistributedType.MULTI_GPU):
        return "ddp"
    if got == DistributedType.DEEPSPEED:
        stage = int(accelerator.state.deepspeed_plugin.zero_stage)
        if stage in (2, 3):
            return "zero2" if stage == 2 else "zero3"
        raise ConfigError(f"DeepSpeed ZeRO stage {stage}: the loop drives stages 2 and 3; see configs/accelerate/.")
    if got == DistributedType.FSDP and accelerator.is_fsdp2:
        return "fsdp2"
    raise ConfigError(
        f"accelerate runs {got.value}: the loop drives DDP, DeepSpeed ZeRO and FSDP2; see configs/accelerate/."
    )


def build_learner(
    launched: Launched,
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    *,
    max_grad_norm: float,
    outside: bool = False,
) -> Learner:
    """Puts policy and optimizer under accelerate's engine. outside: whether servers sample, and not the model here."""
    accelerator, ranks = launched.accelerator, launched.ranks
    kind = kind_of(accelerator)
    root = Root(policy.model)
    if kind == "one":
        return Learner(policy, root, accelerator.prepare(optimizer), accelerator, ranks, kind, outside=outside)
    if kind in ("zero2", "zero3"):
        _set_deepspeed(accelerator.state.deepspeed_plugin.deepspeed_config, max_grad_norm)
    sampling = ranks.first or not outside
    device = torch.device("cpu") if outside else policy.device
    replica = _copy(policy, device) if kind in ("zero3", "fsdp2") and sampling else None
    prepared, wrapped = accelerator.prepare(root, optimizer)
    _load_models_whole()
    made = ZeroLearner if kind in ("zero2", "zero3") else Learner
    if kind == "zero3":
        _keep_head_whole(root)
    prepared.train()
    policy.model.eval()
    return made(policy, prepared, wrapped, accelerator, ranks, kind, replica, outside)


def _load_models_whole() -> None:
    """Under ZeRO-3 accelerate tells transformers to load every model in shards, whatever its init flag says."""
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    unset_hf_deepspeed_config()


def _copy(policy: Policy, device: torch.device) -> Policy:
    """A whole copy of the policy, which samples or is written for servers: shards can be neither decoded nor written.

    Its weights are made on the device at once, so that a GPU never holds two policies for a copy on the CPU.
    """
    there: dict[int, Any] = {
        id(weight): nn.Parameter(weight.detach().to(device, copy=True), requires_grad=False)
        for weight in policy.model.parameters()
    }
    model = copy.deepcopy(policy.model, there).to(device)
    return replace(policy, model=model.eval())


def _set_deepspeed(config: dict[str, Any], max_grad_norm: float) -> None:
    """What our configuration decides, and DeepSpeed wants to know beforehand."""
    config["train_micro_batch_size_per_gpu"] = 1
    config["gradient_accumulation_steps"] = 1
    config["gradient_clipping"] = max_grad_norm
    if config.get("bf16", {}).get("enabled"):
        config["bf16"]["check_grad_overflow"] = True  # a step that is not finite is skipped, and said to be


def _keep_head_whole(root: Root) -> None:
    """The head is used chunk by chunk, in numbers that differ between ranks: it stays gathered for a whole forward."""
    import deepspeed

    head: Any = root.model.get_output_embeddings()  # type: ignore[operator]
    deepspeed.zero.register_external_parameter(root, head.weight)
