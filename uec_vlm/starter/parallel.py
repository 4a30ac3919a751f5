"""The same training step in several processes of one machine, each with one thread, on equal weights.

On a shared laptop two processes that meet once a step lose less than two threads that meet at every matrix product.
"""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from torch import Tensor

from uec_vlm.trainer.sft import rate_share

LOG_FORMAT = "%(asctime)s %(message)s"


def in_processes(work: Callable[..., None], count: int, *arguments: Any) -> None:
    """Run `work(rank, count, *arguments)` in `count` processes that can exchange tensors."""
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{Path(folder) / 'meeting'}"
        settings: dict[str, Any] = {"args": (count, meeting, work, arguments), "nprocs": count}
        multiprocessing.spawn(_enter, **settings)  # type: ignore[attr-defined, no-untyped-call]


def _enter(rank: int, count: int, meeting: str, work: Callable[..., None], arguments: Sequence[Any]) -> None:
    torch.set_num_threads(1)
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=count)
    try:
        work(rank, count, *arguments)
    finally:
        dist.destroy_process_group()


def descend(
    loss_of: Callable[[int], Tensor],
    groups: Sequence[tuple[Sequence[Tensor], float]],
    *,
    steps: int,
    warmup_steps: int,
    weight_decay: float = 0.01,
    max_grad_norm: float = 1.0,
    floor: float = 0.03,
) -> Iterator[float]:
    """AdamW on `groups` of (weights, learning rate) with gradients averaged over the processes; yields own losses.

    `loss_of(step)` is what this process makes of its part of the step's batch; parts are equally large.
    """
    optimizer = torch.optim.AdamW(
        [{"params": list(weights), "lr": rate} for weights, rate in groups],
        betas=(0.9, 0.98),
        weight_decay=weight_decay,
    )
    everything = [weight for weights, _ in groups for weight in weights]
    for step in range(1, steps + 1):
        share = rate_share(step, steps=steps, warmup_steps=warmup_steps, floor=floor)
        for group, (_, rate) in zip(optimizer.param_groups, groups, strict=True):
            group["lr"] = rate * share
        loss = loss_of(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        _average([weight.grad for weight in everything if weight.grad is not None])
        norm = torch.nn.utils.clip_grad_norm_(everything, max_grad_norm)
        if math.isfinite(float(norm)):
            optimizer.step()
        yield float(loss.detach())


def _average(gradients: Sequence[Tensor]) -> None:
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    start = 0
    for gradient in gradients:
        gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()
