"""Two real processes: what the first does for both, and that a failure of one is told to both and hangs neither."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.processes import end_in_time, launched

# What each of the two gets, or what is raised in it.
EXPECTED = {
    "answers": ([0, 14], [2]),
    "answers inside": (["a", "b", "c"],) * 2,
    "the first fails": ("EngineError: no server", "EngineError: process 0 of 2 stopped: no server"),
    "the first fails inside": ("EngineError: no server", "EngineError: process 0 of 2 stopped: no server"),
    "one fails before": ("RunError: process 1 of 2 stopped: no such picture", "DataError: no such picture"),
    "one fails in making": ("RunError: process 1 of 2 stopped: no such picture", "DataError: no such picture"),
    "one fails deep inside": ("RunError: process 1 of 2 stopped: no such picture", "DataError: no such picture"),
    "one fails behind": ("RunError: process 1 of 2 stopped: no such picture", "DataError: no such picture"),
    "still in step": ([0, 1], [0, 1]),
}


@pytest.mark.timeout(150)
def test_what_happens_to_one_is_known_to_both(tmp_path: Path) -> None:
    end_in_time(launched(["tests.support.ranks_run", str(tmp_path)], 2), limit=120)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert "zip() argument 2 is shorter" in first.pop("too few answers")
    assert second.pop("too few answers").startswith("RunError: process 0 of 2 stopped: ValueError")
    assert {name: (first[name], second[name]) for name in first} == EXPECTED


@pytest.mark.timeout(150)
@pytest.mark.parametrize("failing", [False, True])
def test_a_process_ends_in_peace_right_behind_its_last_word(failing: bool) -> None:
    """gloo's threads hold the last records: without the pause three of five runs were aborted."""
    for _ in range(4):
        told = end_in_time(
            launched(["tests.support.ends_run", *(["fail"] if failing else [])], 2), limit=120, code=int(failing)
        )
        assert "terminate called" not in told and "SIGABRT" not in told
        assert ("exitcode  : 75" in told) == failing
