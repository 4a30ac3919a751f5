"""Processor time that a block takes, told apart from what the rest of the test session does."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def at_most(seconds: float, what: str = "") -> Iterator[None]:
    """Fails where the block takes more processor time of this thread.

    Other threads do not count, and the collector waits: one pass over the heap of a long session takes a second.
    """
    collects = gc.isenabled()
    gc.disable()
    start = time.thread_time()
    try:
        yield
        spent = time.thread_time() - start
    finally:
        if collects:
            gc.enable()
    assert spent < seconds, f"{what} took {spent:.2f} s of processor time, more than {seconds} s"
