"""SIGTERM and SIGINT end a run at a consistent point; a second signal ends it at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from uec_vlm.errors import RunStopped

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopper:
    """Remembers that the run was asked to end. Outside `finishing` there is nothing to lose: it ends where it is."""

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self.asked: int | None = None
        self._finishing = False

    @contextmanager
    def finishing(self) -> Iterator[None]:
        """Within the block the first signal is only remembered: the block looks at `asked` and saves."""
        self._finishing = True
        try:
            yield
        finally:
            self._finishing = False

    def receive(self, number: int, frame: FrameType | None = None) -> None:
        """The signal handler. RunStopped outside `finishing`; the process ends at once at the second signal."""
        if self.asked is not None:
            os._exit(128 + number)
        self.asked = number
        name = signal.Signals(number).name
        if not self._finishing:
            raise RunStopped(f"stopped by {name} outside a step: {HOW_TO_GO_ON}", signal=number)
        # Not the console: a signal may come while it is printing.
        note = f"\nuec-vlm: {name}: this step is finished and saved, then the run ends; a second signal ends it now\n"
        os.write(2, note.encode())


HOW_TO_GO_ON = "give the same command with --resume auto to go on."


@contextmanager
def listening() -> Iterator[Stopper]:
    """Installs the handlers for the time of the block (in the main thread; elsewhere signals do not arrive)."""
    stopper = Stopper()
    if threading.current_thread() is not threading.main_thread():
        yield stopper
        return
    before = {number: signal.signal(number, stopper.receive) for number in _SIGNALS}
    try:
        yield stopper
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
