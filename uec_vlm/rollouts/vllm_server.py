"""A vLLM server that the run starts and stops itself, on this machine."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from uec_vlm.errors import EngineError

# The kernel ends the server when the run is gone, however it went (kill -9 included). For the kernel that is when the
# *thread* that started the server ends, so a thread of its own starts it, which ends with the run.
_LAUNCHER = (
    "import ctypes, os, signal, sys\nctypes.CDLL(None).prctl(1, signal.SIGTERM)\nos.execvp(sys.argv[1], sys.argv[1:])\n"
)
_HAS_VLLM = "import importlib.util, sys; sys.exit(importlib.util.find_spec('vllm') is None)"
_LAST_LINES = 15


@dataclass(frozen=True)
class StartSettings:
    """How a server is started.

    python: interpreter of the environment that vLLM is installed in (it pins its own torch, so seldom ours).
    port: 0 takes a free one. arguments: more of the server's own, after ours, so that they win.
    environment: variables beside the inherited ones. log: file for its output; None keeps it beside the weights.
    """

    python: str = "python"
    port: int = 0
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    log: str | None = None


class VLLMServer:
    """A server process; it is a class because the process is a thing that must be ended."""

    def __init__(
        self, model: str, settings: StartSettings, *, dtype: str, max_model_len: int, images: int, log: Path
    ) -> None:
        """Take what to serve: `images` per prompt at most, 0 for a text-only model. Nothing is started yet."""
        self._port = settings.port or _free_port()
        self._settings = settings
        self._log = log
        self.url = f"http://127.0.0.1:{self._port}"
        self.command = _command(
            settings, model=model, port=self._port, dtype=dtype, max_model_len=max_model_len, images=images
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="vllm-server")

    @property
    def running(self) -> bool:
        """Whether the process is there (it may still be loading)."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process, or start it again after it has ended.

        EngineError at once if the interpreter is not there or has no vLLM: no waiting would mend that.
        """
        if self.running:
            return
        if self._process is None:
            self._check_interpreter()
        try:
            self._process = self._starter.submit(self._spawn).result()
        except OSError as error:
            raise EngineError(f"the vLLM server cannot be started ({error}); command: {self.command}.") from error
        atexit.register(self.stop)

    def _check_interpreter(self) -> None:
        python = self._settings.python
        remedy = "Give rollout.vllm.start.python the interpreter of an environment with vLLM (docs/vllm.md)."
        if shutil.which(python) is None:
            raise EngineError(f"rollout.vllm.start.python = {python}: there is no such interpreter. {remedy}")
        found = subprocess.run([python, "-c", _HAS_VLLM], env=self._environment(), capture_output=True)
        if found.returncode != 0:
            raise EngineError(f"rollout.vllm.start.python = {python}: vllm is not installed there. {remedy}")

    def _environment(self) -> dict[str, str]:
        # Our own PYTHONPATH would put other versions of its libraries in front of the server's.
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return {**inherited, "VLLM_SERVER_DEV_MODE": "1", **self._settings.environment}

    def _spawn(self) -> subprocess.Popen[bytes]:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", _LAUNCHER, *self.command],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self, *, patience_s: float = 20.0) -> None:
        """End the process and its workers: politely, then by force."""
        process, self._process = self._process, None
        atexit.unregister(self.stop)
        if process is None:
            return
        for sign, wait in ((signal.SIGTERM, patience_s), (signal.SIGKILL, 10.0)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(wait)
                break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    def last_lines(self) -> str:
        """The end of its log, for an error message."""
        if not self._log.is_file():
            return ""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]
        return f" The end of its log {self._log}:\n" + "\n".join(lines)


def _command(
    settings: StartSettings, *, model: str, port: int, dtype: str, max_model_len: int, images: int
) -> Sequence[str]:
    """The command line; `vllm serve` fails in the CPU build, so the module is called."""
    limit = ["--limit-mm-per-prompt", f'{{"image": {images}}}', "--trust-request-mm-kwargs"] if images else []
    return [
        settings.python, "-m", "vllm.entrypoints.openai.api_server",
        "--model", model, "--host", "127.0.0.1", "--port", str(port),
        "--dtype", dtype, "--max-model-len", str(max_model_len),
        "--logprobs-mode", "processed_logprobs", "--trust-request-chat-template",
        *limit, *settings.arguments,
    ]  # fmt: skip


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
