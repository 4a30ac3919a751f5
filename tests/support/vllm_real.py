"""The real vLLM server for tests, where an environment with it is given: UEC_VLM_VLLM_PYTHON=DIR/bin/python."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

from uec_vlm.rollouts.vllm_server import StartSettings

VARIABLE = "UEC_VLM_VLLM_PYTHON"
WHY_NOT = f"needs a vLLM of its own: tests/support/vllm_environment.sh DIR, then {VARIABLE}=DIR/bin/python"

# vLLM on the CPU ends when a seeded request's prompt is cut in chunks (0.32): so none is.
ON_THE_CPU = ("--enforce-eager", "--no-enable-chunked-prefill", "--max-num-batched-tokens", "4096")


@cache
def vllm_python() -> str | None:
    """The interpreter with vLLM, None where there is none. A given one that does not work is an error."""
    python = os.environ.get(VARIABLE)
    if not python:
        return None
    subprocess.run([python, "-c", "import vllm"], check=True, capture_output=True, timeout=300, env=_own_paths())
    return python


def start_settings(log: Path) -> StartSettings:
    """How the tests start a server on the CPU."""
    python = vllm_python()
    assert python is not None
    environment = {"VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "2"}
    return StartSettings(python=python, arguments=ON_THE_CPU, environment=environment, log=str(log))


def _own_paths() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
