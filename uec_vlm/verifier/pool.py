"""Killable worker processes for comparisons that may take for ever.

Works from any thread and any process: workers are fresh interpreters behind pipes (no fork of a threaded parent, no
signals), each answer has a hard limit after which its worker is killed and replaced, and a forked child gets a pool of
its own. Starting a worker takes about a second; that time is not the answer's and has its own limit.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import queue
import selectors
import subprocess
import sys
import threading
import time
from pathlib import Path

from uec_vlm.verifier.nodes import Node
from uec_vlm.verifier.wire import encode

TIMEOUT_S = 0.5  # per comparison
START_TIMEOUT_S = 60.0  # for a fresh interpreter to load sympy, on a busy machine too
_ROOT = str(Path(__file__).resolve().parents[2])
_CODE = "import sys; sys.path.insert(0, sys.argv[1]); from uec_vlm.verifier.worker import main; main()"


class WorkerTimeout(Exception):
    """A comparison did not end within its limit; its worker was killed."""


class WorkerFailure(Exception):
    """A worker could not be started, or died."""


class _Worker:
    """One process and its pipes."""

    def __init__(self) -> None:
        environment = dict(os.environ, OMP_NUM_THREADS="1", PYTHONDONTWRITEBYTECODE="1")
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _CODE, _ROOT],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        except OSError as problem:
            raise WorkerFailure(str(problem)) from problem
        self.buffer = b""
        if self.read(START_TIMEOUT_S) != "ready":
            self.kill()
            raise WorkerFailure("the worker did not start")

    def ask(self, gold: Node, answer: Node, timeout_s: float) -> bool | None:
        """The worker's answer. Raises WorkerTimeout or WorkerFailure; the worker is dead then."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write((json.dumps([encode(gold), encode(answer)]) + "\n").encode())
            self.process.stdin.flush()
        except OSError as problem:
            self.kill()
            raise WorkerFailure(str(problem)) from problem
        reply = self.read(timeout_s)
        return reply if isinstance(reply, bool) else None

    def read(self, timeout_s: float) -> object:
        """One line of JSON within the limit."""
        assert self.process.stdout is not None
        end = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self.buffer:
                left = end - time.monotonic()
                if left <= 0 or not selector.select(left):
                    self.kill()
                    raise WorkerTimeout
                data = os.read(self.process.stdout.fileno(), 1 << 16)
                if not data:
                    self.kill()
                    raise WorkerFailure("the worker died")
                self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def kill(self) -> None:
        """End the process now; idempotent."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


class Pool:
    """Up to `size` workers, started when they are needed."""

    def __init__(self, size: int = 2) -> None:
        """Start nothing yet."""
        self.process_id = os.getpid()
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(size):
            self._idle.put(None)

    def same(self, gold: Node, answer: Node, *, timeout_s: float = TIMEOUT_S) -> bool | None:
        """Whether two trees say the same, by symbolic algebra: None if it cannot tell.

        Waits for a free worker. Raises WorkerTimeout after `timeout_s` of work. A worker that dies is replaced, and the
        new one asked again, once; WorkerFailure when that one fails too.
        """
        try:
            return self._ask(gold, answer, timeout_s)
        except WorkerFailure:
            return self._ask(gold, answer, timeout_s)

    def _ask(self, gold: Node, answer: Node, timeout_s: float) -> bool | None:
        worker = self._idle.get()
        try:
            worker = worker or _Worker()
            verdict = worker.ask(gold, answer, timeout_s)
        except (WorkerTimeout, WorkerFailure):
            worker = None
            raise
        finally:
            self._idle.put(worker)
        return verdict

    def warm_up(self) -> None:
        """Start one worker now, so that the first comparison does not wait for it."""
        worker = self._idle.get()
        try:
            worker = worker or _Worker()
        finally:
            self._idle.put(worker)

    def close(self) -> None:
        """Kill the idle workers (a forked child leaves its parent's alone)."""
        if self.process_id != os.getpid():
            return
        workers: list[_Worker | None] = []
        while not self._idle.empty():
            workers.append(self._idle.get())
        for worker in workers:
            if worker is not None:
                worker.kill()
            self._idle.put(None)


_shared: Pool | None = None
_lock = threading.Lock()


def shared_pool() -> Pool:
    """The pool of this process, made at the first call and closed at exit."""
    global _shared
    with _lock:
        if _shared is None or _shared.process_id != os.getpid():
            _shared = Pool()
            atexit.register(_shared.close)
        return _shared
