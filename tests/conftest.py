"""Fixtures shared by all tests: tiny models of every family, built once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.support.tiny_models import build_model_folder


def pytest_configure(config: pytest.Config) -> None:
    """Workers share the processors: each takes its part of the threads, and so does what it starts.

    The process that starts the workers sets nothing: they would inherit its number, two threads each on two processors,
    which wait for each other in a loop (a test of 1.3 s took 18 s).
    """
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        return
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    threads = max((os.cpu_count() or 1) // workers, 1)
    torch.set_num_threads(int(os.environ.setdefault("OMP_NUM_THREADS", str(threads))))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules of whole runs go first, so that at the end no processor waits for a long one."""
    long = ("reliability", "integration", "contracts")
    items.sort(key=lambda item: next((place for place, name in enumerate(long) if name in item.path.parts), len(long)))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function from a family to the folder of its tiny random model; each is built once."""
    folders: dict[str, Path] = {}

    def folder_of(family: str) -> Path:
        if family not in folders:
            folders[family] = build_model_folder(tmp_path_factory.mktemp(family), family)
        return folders[family]

    return folder_of
