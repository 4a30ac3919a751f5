"""A vLLM server of the benchmark's own: started from another environment, asked over HTTP, stopped between turns.

The server keeps what it knows of prompts and pictures; a training step has new weights, so every round begins by
dropping that (`/reset_*_cache`, which need VLLM_SERVER_DEV_MODE). It listens on this machine only.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uec_vlm.records import IMAGE_PLACEHOLDER, Prompt

_START_SECONDS = 600.0
_ANSWER_SECONDS = 300.0


@dataclass(frozen=True)
class Server:
    """A running server. banned_ids: tokens that are never sampled."""

    process: subprocess.Popen[bytes]
    address: str
    banned_ids: tuple[int, ...]

    def sample(
        self, prompts: Sequence[Prompt], *, completions: int, new_tokens: int, temperature: float = 1.0
    ) -> list[list[list[int]]]:
        """Token ids of the completions of every prompt, all asked for at once; known prompts are forgotten before."""
        for cache in ("prefix", "mm", "encoder"):
            self._post(f"reset_{cache}_cache", None)
        settings = {
            "model": "policy",
            "n": completions,
            "temperature": temperature,
            "max_tokens": new_tokens,
            "ignore_eos": True,
            "logprobs": True,
            "return_token_ids": True,
            "logit_bias": {str(token): -100 for token in self.banned_ids},
        }
        with ThreadPoolExecutor(len(prompts)) as pool:
            answers = list(
                pool.map(lambda p: self._post("v1/chat/completions", {**settings, "messages": _messages(p)}), prompts)
            )
        for prompt, answer in zip(prompts, answers, strict=True):
            if answer["prompt_token_ids"] != prompt.token_ids.tolist():
                raise RuntimeError(f"the server reads '{prompt.sample.id}' as other tokens than the policy does")
        return [[choice["token_ids"] for choice in answer["choices"]] for answer in answers]

    def pause(self) -> None:
        """Stop its processes, so that they take nothing from what is measured meanwhile."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it run again."""
        os.killpg(self.process.pid, signal.SIGCONT)

    def _post(self, route: str, body: dict[str, Any] | None) -> Any:
        data = b"" if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}/{route}", data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{route}: the server answers {error.code}: {error.read().decode()[:500]}") from None
        return json.loads(text) if text.strip() else None


@contextmanager
def serving(python: Path, folder: Path, banned_ids: tuple[int, ...], log: Path) -> Iterator[Server]:
    """Serve a checkpoint folder with the vLLM of another environment; it ends with the block. Its words go to `log`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), "--port", str(port)]
    command += ["--host", "127.0.0.1", "--served-model-name", "policy", "--dtype", "float32", "--max-model-len", "1280"]
    command += ["--enforce-eager", "--logprobs-mode", "processed_logprobs", "--limit-mm-per-prompt", '{"image": 1}']
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"VLLM_SERVER_DEV_MODE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as words:
        process = subprocess.Popen(command, stdout=words, stderr=words, env=environment, start_new_session=True)
    server = Server(process, f"http://127.0.0.1:{port}", banned_ids)
    try:
        _wait_until_ready(server, log)
        yield server
    finally:
        server.go_on()
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def _wait_until_ready(server: Server, log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        if server.process.poll() is not None:
            raise RuntimeError(f"the vLLM server ended with status {server.process.returncode}; see {log}")
        try:
            with urllib.request.urlopen(f"{server.address}/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(1.0)
    raise RuntimeError(f"the vLLM server was not ready after {_START_SECONDS:.0f} s; see {log}")


def _messages(prompt: Prompt) -> list[dict[str, Any]]:
    """The sample as a chat with its pictures as data URLs, in the order of the prompt."""
    pictures = iter(prompt.sample.images)
    first, *rest = prompt.sample.problem.split(IMAGE_PLACEHOLDER)
    content: list[dict[str, Any]] = [{"type": "text", "text": first}] if first else []
    for text in rest:
        url = "data:image/png;base64," + base64.b64encode(next(pictures)).decode()
        content.append({"type": "image_url", "image_url": {"url": url}})
        content += [{"type": "text", "text": text}] if text else []
    return [{"role": "user", "content": content}]
