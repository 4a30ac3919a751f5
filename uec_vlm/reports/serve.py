"""The live view: the page of a run over HTTP, made anew when the run folder has changed. It cannot write anything."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow

from uec_vlm.errors import RunError, UecError
from uec_vlm.reports.page import render_page
from uec_vlm.reports.run import load_run

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_WATCHED = ("metrics.jsonl", "evaluations.jsonl", "rollouts/step_*.parquet")


def make_server(path: str | Path, *, host: str = "127.0.0.1", port: int = 8765) -> ThreadingHTTPServer:
    """A server of the live page of a run; `serve_forever` runs it. RunError if there is no run, or the port is taken.

    host: the loopback address unless the user asks for another. port: 0 takes a free one. A request that names another
    host than the one served is refused, so that no page of the web can read the run through a name of its own.
    """
    load_run(path)
    pages = _Pages(Path(path))
    names = {*(_LOOPBACK if host in _LOOPBACK else ()), host}
    handler = _handler(pages, None if host == "0.0.0.0" else names)
    try:
        return ThreadingHTTPServer((host, port), handler)
    except OSError as error:
        raise RunError(f"{host}:{port} cannot be served: {error.strerror}. Choose another with --port.") from None


def version_of(path: Path) -> str:
    """A word that changes whenever something was written to the run."""
    files = [file for pattern in _WATCHED for file in sorted(path.glob(pattern))]
    stamps = [(file.name, stat.st_size, stat.st_mtime_ns) for file in files for stat in [file.stat()]]
    return hashlib.sha256(repr(stamps).encode()).hexdigest()[:16]


class _Pages:
    """The newest page of a run, kept until the run changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        self._version, self._page = "", b""

    def page(self) -> bytes:
        """The page; the last good one where a file is being written at this moment."""
        with self._lock:
            version = version_of(self.path)
            if version != self._version:
                try:
                    self._page = render_page(load_run(self.path), live=True).encode("utf-8", "replace")
                    self._version = version
                except (UecError, json.JSONDecodeError, pyarrow.ArrowException, OSError):
                    if not self._page:
                        raise
            return self._page


def _handler(pages: _Pages, names: set[str] | None) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version = "uec-vlm"
        sys_version = ""

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def _answer(self, *, with_body: bool) -> None:
            makers: dict[str, tuple[str, Callable[[], bytes]]] = {
                "/": ("text/html; charset=utf-8", pages.page),
                "/version": ("text/plain; charset=utf-8", lambda: version_of(pages.path).encode()),
            }
            known = makers.get(self.path.partition("?")[0])
            host = (self.headers.get("Host") or "").rpartition("]")
            name = host[0].lstrip("[") if host[1] else host[2].partition(":")[0]
            if names is not None and name not in names:
                self.send_error(403, "this host name is not served")
            elif known is None:
                self.send_error(404)
            else:
                body = known[1]()
                self.send_response(200)
                for header, value in (
                    ("Content-Type", known[0]),
                    ("Content-Length", str(len(body))),
                    ("Cache-Control", "no-store"),
                    ("X-Content-Type-Options", "nosniff"),
                    ("X-Frame-Options", "DENY"),
                    ("Referrer-Policy", "no-referrer"),
                ):
                    self.send_header(header, value)
                self.end_headers()
                if with_body:
                    self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing: the page asks every few seconds."""

    return Handler
