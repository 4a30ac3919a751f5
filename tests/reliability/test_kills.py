"""A few kills of a training in the ordinary suite; `python -m tests.reliability.kill_test` makes many."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(900)
def test_a_killed_training_goes_on_as_if_nothing_had_happened() -> None:
    asked = ["--kills", "3", "--stops", "1", "--steps", "4", "--seed", "1"]
    shown = subprocess.run(
        [sys.executable, "-m", "tests.reliability.kill_test", *asked],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "3 kills in" in shown.stdout
    assert "| SIGTERM |" in shown.stdout
