"""Wall time by phase, added to the report of the step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from uec_vlm.metrics import StepReport
from uec_vlm.rollouts import RolloutEngine, TimesPhases


@contextmanager
def timed(report: StepReport, phase: str) -> Iterator[None]:
    """Adds the wall time of the block to `time/<phase>`."""
    start = time.perf_counter()
    try:
        yield
    finally:
        report.add(f"time/{phase}", time.perf_counter() - start)


@contextmanager
def timed_rollout(report: StepReport, phase: str, engine: RolloutEngine) -> Iterator[None]:
    """As `timed`; beside it the engine's own phases (`time/vision`, `time/prefill`, `time/decode`) where it has any."""
    before = dict(engine.seconds) if isinstance(engine, TimesPhases) else {}
    with timed(report, phase):
        yield
    if isinstance(engine, TimesPhases):
        for name, seconds in engine.seconds.items():
            report.add(f"time/{name}", seconds - before.get(name, 0.0))
