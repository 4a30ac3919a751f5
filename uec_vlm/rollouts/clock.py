"""Where an engine's time goes: wall seconds by phase."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn


@dataclass
class PhaseClock:
    """Adds up wall seconds by phase; on a GPU the work of a phase is waited for at its end."""

    totals: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str, device: torch.device) -> Iterator[None]:
        """Add the time of the block to a phase."""
        start = _now(device)
        try:
            yield
        finally:
            self.add(name, _now(device) - start)

    @contextmanager
    def reading(self, tower: nn.Module | None, device: torch.device) -> Iterator[None]:
        """Add the time of the block to "prefill", and what the vision tower takes of it to "vision" instead."""
        before = dict(self.totals)
        hooks = self._watch(tower, device) if tower is not None else []
        try:
            with self.phase("prefill", device):
                yield
        finally:
            for hook in hooks:
                hook.remove()
            self.add("prefill", before.get("vision", 0.0) - self.totals.get("vision", 0.0))

    def add(self, name: str, seconds: float) -> None:
        """Add seconds to a phase."""
        self.totals[name] = self.totals.get(name, 0.0) + seconds

    def _watch(self, tower: nn.Module, device: torch.device) -> list[Any]:
        started: list[float] = []

        def begin(*_: Any) -> None:
            started.append(_now(device))

        def end(*_: Any) -> None:
            self.add("vision", _now(device) - started.pop())

        return [tower.register_forward_pre_hook(begin), tower.register_forward_hook(end)]


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
