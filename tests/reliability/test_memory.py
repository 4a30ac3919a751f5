"""Memory that really runs out in an update: under a limit of the kernel, in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(900)
def test_a_micro_batch_that_does_not_fit_is_halved_and_the_gradient_is_the_same(
    tiny_model: Callable[[str], Path],
) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "tests.reliability.out_of_memory", str(tiny_model("qwen2"))],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    found = json.loads(shown.stdout.splitlines()[-1])
    assert found["whole"]["peak"] > 1.5 * found["small"]["peak"], "there must be something to save"
    assert found["whole"]["halved"] == 0
    assert found["limited"]["halved"] >= 1
    assert "done again with at most 8000 tokens in each" in found["limited"]["notes"][0]
    assert found["limited"]["steps"] == 1
    assert found["limited"]["moved"] == pytest.approx(found["whole"]["moved"], rel=1e-5)
    assert found["gap"] < 1e-5, "the order of a sum, and no more"
