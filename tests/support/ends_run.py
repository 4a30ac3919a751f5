"""A process that ends right behind the last thing it told the others; started by torchrun.

torchrun ... -m tests.support.ends_run [fail]
"""

from __future__ import annotations

import sys

import torch.distributed as dist

from uec_vlm.trainer.ranks import Ranks, ended_in_peace

with ended_in_peace():
    dist.init_process_group("gloo")
    ranks = Ranks(dist.get_rank(), dist.get_world_size(), dist.new_group(backend="gloo"))
    for _ in range(30):
        ranks.collect(lambda: "x" * 1000)
    if "fail" in sys.argv:
        sys.exit(75)
