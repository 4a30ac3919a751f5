"""The process of a server that the run starts: it lives as long as the run, not longer and not shorter."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from uec_vlm.errors import EngineError
from uec_vlm.rollouts.vllm_server import StartSettings, VLLMServer


@pytest.fixture
def sleeper(tmp_path: Path) -> str:
    """Stands for the interpreter of the server: it says who it is, and waits."""
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exit 0\necho $$ > {tmp_path / "pid"}\nexec sleep 300\n')
    script.chmod(0o755)
    return str(script)


def server(python: str, folder: Path) -> VLLMServer:
    settings = StartSettings(python=python)
    return VLLMServer("model", settings, dtype="float32", max_model_len=64, images=1, log=folder / "log" / "server.log")


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(holds: object, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:  # type: ignore[operator]
        time.sleep(0.02)
    return bool(holds())  # type: ignore[operator]


def test_it_outlives_the_thread_that_asked_for_it_and_ends_when_told(sleeper: str, tmp_path: Path) -> None:
    """A round of rollouts runs in a thread of its own, and it is there that a dead server is started again."""
    started = server(sleeper, tmp_path)

    def ask() -> None:
        started.start()
        wait_for((tmp_path / "pid").is_file)

    asking = threading.Thread(target=ask)
    asking.start()
    asking.join()
    time.sleep(0.5)
    assert started.running
    pid = int((tmp_path / "pid").read_text())
    assert is_there(pid)
    started.stop()
    assert not started.running
    assert not is_there(pid)


def test_it_ends_with_a_run_that_is_killed(sleeper: str, tmp_path: Path) -> None:
    code = (
        "import pathlib, time\nfrom tests.unit.rollouts.test_vllm_server import server\n"
        f"server({sleeper!r}, pathlib.Path({str(tmp_path)!r})).start()\ntime.sleep(300)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[3])
    assert wait_for(lambda: (tmp_path / "pid").is_file() and (tmp_path / "pid").read_text(), 60)
    pid = int((tmp_path / "pid").read_text())
    assert is_there(pid)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    assert wait_for(lambda: not is_there(pid))


def test_a_log_that_cannot_be_written_is_told(sleeper: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file in the place of the folder")
    with pytest.raises(EngineError, match="cannot be started"):
        server(sleeper, tmp_path).start()


@pytest.mark.parametrize(
    ("python", "told"),
    [("/opt/none/bin/python", "there is no such interpreter"), (sys.executable, "vllm is not installed there")],
)
def test_an_interpreter_that_cannot_serve_is_told_at_once(python: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=rf"rollout.vllm.start.python = {python}: {told}"):
        server(python, tmp_path).start()
