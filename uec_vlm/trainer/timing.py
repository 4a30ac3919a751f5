"""Wall time by phase, added to the report of the step."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from uec_vlm.metrics import StepReport


@contextmanager
def timed(report: StepReport, phase: str) -> Iterator[None]:
    """Adds the wall time of the block to `time/<phase>`."""
    start = time.perf_counter()
    try:
        yield
    finally:
        report.add(f"time/{phase}", time.perf_counter() - start)
