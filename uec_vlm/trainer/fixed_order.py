"""Gradients on a GPU that are the same bit for bit at every run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


def prepare_cublas() -> None:
    """Tell cuBLAS, before it is first used, to give its products the workspace with which they are repeatable."""
    os.environ.setdefault(_CUBLAS, ":4096:8")


@contextmanager
def fixed_order(device: torch.device, *, wanted: bool) -> Iterator[None]:
    """Inside, kernels that add numbers up on a GPU do so in an order that does not depend on chance.

    Backward passes need it; forwards and sampling are repeatable anyway. But inside, other kernels are chosen (never
    cuDNN's attention): a forward that a checkpoint makes again in the backward pass must have been made inside too. On
    the CPU everything is repeatable.
    """
    if not wanted or device.type == "cpu":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    filling: Any = torch.utils.deterministic
    fills = filling.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    filling.fill_uninitialized_memory = False  # nothing here reads what it has not written
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        filling.fill_uninitialized_memory = fills
