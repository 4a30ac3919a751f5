"""Memory that runs out: a piece of work is halved and tried again, or the setting to lower is named."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from uec_vlm.errors import RunError

T = TypeVar("T")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: a GPU's, or the machine's."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def with_halving(attempt: Callable[[int], T], budget: int, *, least: int, again: Callable[[int], None]) -> T:
    """`attempt(budget)`; where memory runs out, with half the budget, and so on.

    least: the budget at which every piece stands alone, so that a smaller one changes nothing: failing there raises.
    again: is told the smaller budget before it is tried, and undoes what the failed attempt left.
    """
    while True:
        try:
            return attempt(budget)
        except (RuntimeError, MemoryError) as error:
            if budget <= least or not is_out_of_memory(error):
                raise
        budget = max(budget // 2, least)
        _release()
        again(budget)


@contextmanager
def memory_told() -> Iterator[None]:
    """Turns "out of memory" into a RunError that names the settings to lower."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise RunError(
            f"memory ran out ({str(error).strip().splitlines()[0] if str(error) else type(error).__name__}). Lower "
            "update.micro_batch_tokens (scoring and training) or rollout.batch_tokens (sampling), or set "
            "model.gradient_checkpointing=true; a run may go on with other values of these by --resume auto."
        ) from error


@contextmanager
def brought_to(model: nn.Module, device: torch.device | str) -> Iterator[None]:
    """The model's weights and buffers on a device meanwhile; afterwards they are those of before, and the copies go.

    For a frozen model: what would be written on the device is lost. Weights that modules share stay shared.
    """
    homes: list[tuple[dict[str, Any], str, Tensor]] = [
        (kept, name, value)
        for module in model.modules()
        for kept in (module._parameters, module._buffers)
        for name, value in kept.items()
        if value is not None
    ]
    moved = {id(value): value.detach().to(device, non_blocking=True) for _, _, value in homes}
    try:
        for kept, name, value in homes:
            there = moved[id(value)]
            kept[name] = nn.Parameter(there, requires_grad=False) if isinstance(value, nn.Parameter) else there
        del moved
        yield
    finally:
        for kept, name, value in homes:
            kept[name] = value


def _release() -> None:
    """Gives back what the failed attempt held: the error's frames are gone by now."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
