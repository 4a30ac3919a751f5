"""Starts a module in one process or, by torchrun, in several, and waits for its end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 270  # seconds; a launch takes ten on an idle machine


def launched(command: list[str], world: int) -> list[str]:
    if world == 1:
        return [sys.executable, "-m", *command]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    here = ["--nnodes", "1", "--nproc-per-node", str(world), "--master-addr", "127.0.0.1", "--master-port", str(port)]
    return [sys.executable, "-m", "torch.distributed.run", *here, "-m", *command]


def end_in_time(command: list[str], limit: float = LIMIT) -> str:
    """Runs it and returns what it printed; a hang or a failure fails the test."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TORCHDYNAMO_DISABLE": "1"}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        shown, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.terminate()  # torchrun ends its processes, which are in sessions of their own
        shown, _ = process.communicate()
        raise AssertionError(f"no end after {limit} s:\n{shown[-3000:]}") from None
    assert process.returncode == 0, shown[-5000:]
    return shown
