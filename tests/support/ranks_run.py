"""What several processes agree on, whatever happens to one of them; started by torchrun.

    torchrun ... -m tests.support.ranks_run FOLDER

Each process writes what it got or what was raised in it, scene by scene, to FOLDER/RANK.json.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch.distributed as dist

from uec_vlm.errors import DataError, EngineError
from uec_vlm.trainer.ranks import Ranks, ended_in_peace


def stop(error: Exception) -> Any:
    raise error


def scenes(ranks: Ranks) -> dict[str, Callable[[], Any]]:
    rank = ranks.rank

    def doubled(shares: list[list[int]]) -> list[list[int]]:
        return [[2 * number for number in share] for share in shares]

    def second_fails(make: Callable[[], Any]) -> Any:
        return stop(DataError("no such picture")) if rank == 1 else make()

    def asked_by_all(work: Callable[[list[list[int]]], Any]) -> Any:
        return ranks.first_does(lambda: [rank, 7][: 2 - rank], work)

    gone = EngineError("no server")
    return {
        "answers": lambda: asked_by_all(doubled),
        "answers inside": lambda: ranks.spread("abc", lambda mine: ranks.first_does(lambda: mine, lambda all_: all_)),
        "the first fails": lambda: asked_by_all(lambda _: stop(gone)),
        "the first fails inside": lambda: ranks.collect(lambda: asked_by_all(lambda _: stop(gone))),
        "one fails before": lambda: ranks.collect(lambda: second_fails(lambda: asked_by_all(doubled))),
        "one fails in making": lambda: ranks.first_does(lambda: second_fails(lambda: 1), doubled),
        "one fails deep inside": lambda: ranks.collect(
            lambda: ranks.collect(lambda: ranks.collect(lambda: second_fails(lambda: 1)))
        ),
        "one fails behind": lambda: ranks.collect(lambda: (asked_by_all(doubled), second_fails(lambda: 1))),
        "too few answers": lambda: asked_by_all(lambda _: [[1]]),
        "still in step": lambda: ranks.collect(lambda: rank),
    }


def main(folder: str) -> None:
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    ranks = Ranks(dist.get_rank(), dist.get_world_size(), dist.group.WORLD)
    told = {}
    for name, scene in scenes(ranks).items():
        try:
            told[name] = scene()
        except Exception as error:
            told[name] = f"{type(error).__name__}: {error}"
    (Path(folder) / f"{ranks.rank}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    with ended_in_peace():
        main(sys.argv[1])
