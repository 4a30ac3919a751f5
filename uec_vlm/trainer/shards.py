"""Optimizer moments of sharded optimizers as whole tensors by parameter name, and back: a checkpoint fits any number of
processes and any engine. Each function is a common act of all ranks.

`{parameter}.master` is the float32 weight behind a parameter of lower precision, where the engine keeps one. Under
FSDP2 that is the parameter itself, while a checkpoint is loaded in the configured precision.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from uec_vlm.trainer.learner import Learner
from uec_vlm.trainer.moments import named_moments, restore_moments

_MOMENTS = ("exp_avg", "exp_avg_sq")


def gather_moments(learner: Learner) -> dict[str, Tensor]:
    """The moments of every parameter that was ever updated, whole, on the CPU."""
    if learner.kind in ("zero2", "zero3"):
        return _gather_zero(learner)
    moments = named_moments(learner.optimizer, learner.policy.model.named_parameters())
    if learner.kind != "fsdp2":
        return moments
    whole = {name: _whole(value) for name, value in moments.items()}
    if moments and learner.accelerator.mixed_precision == "bf16":  # float32 weights, which a checkpoint is read without
        whole |= {f"{name}.master": _whole(parameter.detach()) for name, parameter in _trainable(learner)}
    return whole


def scatter_moments(learner: Learner, moments: Mapping[str, Tensor]) -> None:
    """Puts the moments of a checkpoint back, each rank its part. CheckpointError where they are of another model."""
    parameters = dict(learner.policy.model.named_parameters())
    masters = {name: value for name, value in moments.items() if name.endswith(".master")}
    own = {name: value for name, value in moments.items() if name not in masters}
    if learner.kind in ("zero2", "zero3"):
        _scatter_zero(learner, own, masters)
        return
    if learner.kind == "fsdp2":
        own = {name: _like(value, parameters[name.rsplit(".", 1)[0]], name) for name, value in own.items()}
        with torch.no_grad():
            for name, value in masters.items():
                parameter = parameters[name.removesuffix(".master")]
                parameter.copy_(_like(value, parameter, name))
    restore_moments(learner.optimizer, parameters.items(), own)


def _trainable(learner: Learner) -> Iterator[tuple[str, nn.Parameter]]:
    return ((name, p) for name, p in learner.policy.model.named_parameters() if p.requires_grad)


def _gather_zero(learner: Learner) -> dict[str, Tensor]:
    from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

    states = _flat_states(learner)
    if not states or not all(state for state in states):
        return {}
    step = torch.as_tensor(states[0]["step"], dtype=torch.float32).cpu()
    moments: dict[str, Tensor] = {}
    for name, parameter in _trainable(learner):
        for key in _MOMENTS:
            moments[f"{name}.{key}"] = safe_get_full_optimizer_state(parameter, key).cpu()
        moments[f"{name}.step"] = step.clone()
        if parameter.dtype != torch.float32:
            moments[f"{name}.master"] = safe_get_full_fp32_param(parameter).cpu()
    return moments


def _scatter_zero(learner: Learner, moments: Mapping[str, Tensor], masters: Mapping[str, Tensor]) -> None:
    from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

    if not moments:
        return
    step = max(float(value) for name, value in moments.items() if name.endswith(".step"))
    for flat, state in zip(_flats(learner), _flat_states(learner), strict=True):
        state.update({key: torch.zeros_like(flat) for key in _MOMENTS}, step=torch.tensor(step))
    zero: Any = learner.root.optimizer
    if hasattr(zero, "_lazy_init_hp_params_optimizer_state"):  # stage 2 links its parameters to the states
        zero._lazy_init_hp_params_optimizer_state()
    for name, parameter in _trainable(learner):
        for key in _MOMENTS:
            if f"{name}.{key}" in moments:
                safe_set_full_optimizer_state(parameter, moments[f"{name}.{key}"], key)
        if f"{name}.master" in masters:
            safe_set_full_fp32_param(parameter, masters[f"{name}.master"])


def _flats(learner: Learner) -> list[Tensor]:
    """The flat float32 partitions that DeepSpeed's optimizer really steps."""
    zero: Any = learner.root.optimizer
    flats: list[Tensor] = (
        zero.fp32_partitioned_groups_flat if learner.kind == "zero3" else zero.single_partition_of_fp32_groups
    )
    return list(flats)


def _flat_states(learner: Learner) -> list[dict[str, Any]]:
    inner: Any = learner.root.optimizer
    return [inner.optimizer.state[flat] for flat in _flats(learner)]


def _whole(value: Tensor) -> Tensor:
    return (value.full_tensor() if hasattr(value, "full_tensor") else value).cpu()


def _like(value: Tensor, parameter: Any, name: str) -> Tensor:
    """The value sharded as its parameter is; counts stay whole."""
    if name.endswith(".step") or not hasattr(parameter, "device_mesh"):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(parameter.device), parameter.device_mesh, parameter.placements)
