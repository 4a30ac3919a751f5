"""Two threads on one processor wait for each other in a loop: the workers take no more threads than there are."""

from __future__ import annotations

import os

import torch


def test_workers_share_the_processors() -> None:
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    assert workers * torch.get_num_threads() <= max(os.cpu_count() or 1, workers)
    assert os.environ["OMP_NUM_THREADS"] == str(torch.get_num_threads())  # what a test starts inherits it
