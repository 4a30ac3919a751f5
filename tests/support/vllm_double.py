"""A small real HTTP server that speaks vLLM's protocol as recorded from vLLM 0.32, for faults that one cannot order.

It stands for the foreign server, never for code of ours. Its "model" samples tokens that tell which weights, which
prompt and which seed they come from, so that a test can see whether an answer is stale, lost or repeated.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

MODEL = "/models/served"
# A fault takes the handler, answers (or does not) in its way, and returns True if that was all.
Fault = Callable[["_Handler"], bool]


class VLLMDouble:
    """One server on one port; `stop` and `start` are a crash and a restart, which loses the weights.

    reads: the token ids it makes of a prompt's text. delay_s: how long an answer takes. asked, answered: prompts'
    texts by how often. faults, changes (of replies): taken one by one by the next completions.
    """

    def __init__(self, reads: dict[str, list[int]], *, end_id: int, port: int = 0, delay_s: float = 0.0) -> None:
        self.reads, self.end_id, self.delay_s, self.port = reads, end_id, delay_s, port
        self.logprobs_mode, self.dev_mode = "processed_logprobs", True
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.calls: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.faults: deque[Fault] = deque()
        self.changes: deque[Callable[[dict[str, Any]], dict[str, Any]]] = deque()
        self.load_error = ""
        self._lock = threading.Lock()
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.version, self.mark = "default", 0  # the weights that it was started with
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _Handler)
        self._server.double = self  # type: ignore[attr-defined]
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._open: list[Any] = []
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        """As a killed process: the port is closed, and so are the connections in use."""
        self._server.shutdown()
        self._server.server_close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(2)

    def load(self, folder: str) -> None:
        self.mark = int((Path(folder) / "mark").read_text())

    def completion(self, body: dict[str, Any]) -> dict[str, Any]:
        text = body["messages"][0]["content"][-1]["text"]
        with self._lock:
            self.asked[text] += 1
            self.bodies.append(body)
        mark, n, limit = self.mark, body["n"], body["max_completion_tokens"]
        time.sleep(self.delay_s)
        choices = []
        for index in range(n):
            ids = [mark, (body["seed"] + index) % 97, (body["seed"] + index) // 97 % 97]
            ids = [*ids, self.end_id] if limit > 3 else ids[:limit]
            finish = "stop" if limit > 3 else "length"
            content = [{"token": "x", "logprob": -0.5 - mark, "bytes": [120], "top_logprobs": []} for _ in ids]
            message = {"role": "assistant", "content": "x", "refusal": None}
            choices.append(
                {"index": index, "message": message, "logprobs": {"content": content}, "finish_reason": finish,
                 "stop_reason": None, "token_ids": ids}
            )  # fmt: skip
        with self._lock:
            self.answered[text] += 1
        return {
            "id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": MODEL, "choices": choices,
            "usage": {"prompt_tokens": len(self.reads[text])}, "prompt_token_ids": self.reads[text],
        }  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def double(self) -> VLLMDouble:
        return self.server.double  # type: ignore[attr-defined,no-any-return]

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def setup(self) -> None:
        super().setup()
        self.double._open.append(self.connection)

    def log_message(self, *_: Any) -> None:
        pass

    def handle(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # the client has gone, or we have
            super().handle()

    def reply(self, status: int, body: Any) -> None:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def refuse(self, status: int, message: str) -> None:
        self.reply(status, {"error": {"message": message, "type": "Error", "param": None, "code": status}})

    def do_GET(self) -> None:
        double, path = self.double, urlparse(self.path).path
        if path == "/v1/models":
            self.reply(200, {"object": "list", "data": [{"id": MODEL, "root": MODEL, "max_model_len": 512}]})
        elif path == "/server_info" and double.dev_mode:
            settings = {"model_config": {"logprobs_mode": double.logprobs_mode}, "weight_transfer_config": None}
            self.reply(200, {"vllm_config": settings, "vllm_env": {}, "system_env": {}})
        elif path == "/weight_info" and double.dev_mode:
            self.reply(200, {"weight_version": double.version})
        else:
            self.reply(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        double, path = self.double, urlparse(self.path).path
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        double.calls.append(path)
        if path == "/v1/chat/completions":
            self._complete(body)
        elif not double.dev_mode:
            self.reply(404, {"detail": "Not Found"})
        elif path == "/collective_rpc":
            self._load(body)
        elif path == "/update_weight_version":
            double.version = body["new_version"]
            self.reply(200, {"success": True, "new_version": body["new_version"]})
        elif path == "/reset_prefix_cache":
            self.reply(200, {"success": True})
        elif path in ("/reset_mm_cache", "/reset_encoder_cache"):
            self.reply(200, None)
        elif path in ("/pause", "/resume"):
            self.reply(200, {"status": path})
        else:
            self.reply(404, {"detail": "Not Found"})

    def _load(self, body: dict[str, Any]) -> None:
        if self.double.load_error:
            self.refuse(500, self.double.load_error)
            return
        self.double.load(body["kwargs"]["weights_path"])
        self.reply(200, {"results": [None]})

    def _complete(self, body: dict[str, Any]) -> None:
        try:
            fault = self.double.faults.popleft()
        except IndexError:
            fault = None
        if fault is not None and fault(self):
            return
        if body["temperature"] == 0.0 and body["n"] > 1:
            self.refuse(400, f"n must be 1 when using greedy sampling, got {body['n']}.")
            return
        reply = self.double.completion(body)
        self.reply(200, self.double.changes.popleft()(reply) if self.double.changes else reply)
