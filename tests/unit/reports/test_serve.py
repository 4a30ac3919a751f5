"""The live view: it shows a run that goes on, to the loopback only, and can write nothing."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.run_folders import HEALTHY, make_run, rollout_row
from uec_vlm.errors import RunError
from uec_vlm.reports.serve import make_server
from uec_vlm.runlog import RunFolder


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[RunFolder, int]]:
    run = make_run(tmp_path / "run", steps=3)
    server = make_server(run.path, port=0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield run, server.server_port
    server.shutdown()
    server.server_close()


def _ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), dict(answer.headers)


def test_the_page_follows_the_run(served: Any) -> None:
    run, port = served
    status, page, headers = _ask(port, "/")
    assert (status, headers["X-Content-Type-Options"]) == (200, "nosniff")
    assert "connect-src &#39;self&#39;" in page
    assert "3 of 3" in page
    before = _ask(port, "/version")[1]
    assert _ask(port, "/version")[1] == before
    run.append_metrics(4, HEALTHY)
    assert _ask(port, "/version")[1] != before
    assert "4 of 3" in _ask(port, "/")[1]
    version = _ask(port, "/version")[1]
    run.write_rollouts(4, [rollout_row(1)])
    assert _ask(port, "/version")[1] != version
    assert 'id="index"' in _ask(port, "/")[1]


def test_a_line_that_is_being_written_leaves_the_last_page(served: Any) -> None:
    run, port = served
    first = _ask(port, "/")[1]
    with (run.path / "evaluations.jsonl").open("a") as out:
        out.write('{"split": "valid')
    status, page, _ = _ask(port, "/")
    assert status == 200
    assert len(page) > 0.9 * len(first)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_written(served: Any, method: str) -> None:
    assert _ask(served[1], "/", method)[0] == 501


@pytest.mark.parametrize("path", ["/../config.yaml", "/config.yaml", "/metrics.jsonl", "//etc/passwd", "/%2e%2e/x"])
def test_no_file_of_the_disk_is_served(served: Any, path: str) -> None:
    assert _ask(served[1], path)[0] == 404


def test_another_host_name_is_refused(served: Any) -> None:
    assert _ask(served[1], "/version", Host="evil.example")[0] == 403
    assert _ask(served[1], "/version", Host=f"localhost:{served[1]}")[0] == 200


def test_head_has_no_body_and_the_address_is_the_loopback(served: Any) -> None:
    status, body, headers = _ask(served[1], "/version", "HEAD")
    assert (status, body, headers["Content-Length"]) == (200, "", "16")


def test_no_run_and_a_taken_port_are_told(served: Any, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run folder"):
        make_server(tmp_path / "none")
    with pytest.raises(RunError, match="--port"):
        make_server(served[0].path, port=served[1])
