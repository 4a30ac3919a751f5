"""The linters and the type checker pass, in the same versions as the tests."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=280)


def test_ruff_finds_nothing() -> None:
    shown = _run("ruff", "check", "--no-cache", ".")
    assert shown.returncode == 0, shown.stdout


def test_the_code_is_formatted() -> None:
    shown = _run("ruff", "format", "--check", "--no-cache", ".")
    assert shown.returncode == 0, shown.stdout


def test_mypy_strict_finds_nothing() -> None:
    shown = _run("mypy")
    assert shown.returncode == 0, shown.stdout
