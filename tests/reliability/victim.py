"""A training in a process of its own that can be watched and killed: the real command, with its phases on a board."""

from __future__ import annotations

import mmap
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

PHASES = ("other", "data", "rollout", "verify", "score", "explore", "update", "replay", "evaluate", "save")


class Board:
    """Shared memory: which phase the victim is in, how often each was entered, and how long it took in all."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Takes memory of its own: what was shared with other processes until now no longer is."""
        memory = mmap.mmap(-1, 4096)  # shared with forked children
        self.now = np.frombuffer(memory, dtype=np.uint8, count=1, offset=0)
        self.entered = np.frombuffer(memory, dtype=np.uint32, count=len(PHASES), offset=64)
        self.seconds = np.frombuffer(memory, dtype=np.float64, count=len(PHASES), offset=512)

    def clear(self) -> None:
        self.now[:], self.entered[:], self.seconds[:] = 0, 0, 0.0

    @property
    def phase(self) -> str:
        return PHASES[int(self.now[0])]

    @contextmanager
    def within(self, phase: str) -> Iterator[None]:
        place = PHASES.index(phase) if phase in PHASES else 0
        outer, start = int(self.now[0]), time.perf_counter()
        self.now[0] = place
        self.entered[place] += 1
        try:
            yield
        finally:
            self.seconds[place] += time.perf_counter() - start
            self.now[0] = outer


def load(board: Board) -> None:
    """Imports everything that a training needs, with the phases shown on the board. Nothing is computed yet."""
    from uec_vlm.trainer import state, timing

    timed, save = timing.timed, state.save_checkpoint

    @contextmanager
    def shown(report: Any, phase: str) -> Iterator[None]:
        with board.within(phase), timed(report, phase):
            yield

    def shown_save(*args: Any, **settings: Any) -> None:
        with board.within("save"):
            save(*args, **settings)

    timing.timed, state.save_checkpoint = shown, shown_save  # type: ignore[assignment]
    import transformers.models.auto.modeling_auto
    import transformers.models.qwen2_5_vl.modeling_qwen2_5_vl  # noqa: F401

    import uec_vlm.trainer.run  # noqa: F401


@dataclass(frozen=True)
class Ending:
    """How a victim ended. status: of the process, negative for the signal that killed it."""

    status: int
    said: str
    phase: str


def run(arguments: Sequence[str], log: Path, strike: Callable[[int], None] = lambda pid: None) -> Ending:
    """Forks a process that runs `uec-vlm ARGUMENTS`, lets `strike` at it, and waits until it ends."""
    with log.open("wb") as out:
        child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
            os._exit(_command(arguments))
    try:
        strike(child)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        _, status = os.waitpid(child, 0)
    return Ending(os.waitstatus_to_exitcode(status), log.read_text(errors="replace"), "")


def _command(arguments: Sequence[str]) -> int:
    import sys
    import traceback

    from uec_vlm.cli import app

    try:
        app(list(arguments), prog_name="uec-vlm")
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0
