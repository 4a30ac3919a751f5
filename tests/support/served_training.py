"""A whole `train` command in several processes under one engine, on the CPU; started by torchrun.

    torchrun ... -m tests.support.served_training FOLDER

FOLDER/specification.json has the engine, the configuration's file, and what lies above it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
from rich.console import Console

from tests.support.distributed_run import use_engine
from uec_vlm.config import load_config
from uec_vlm.trainer.ranks import ended_in_peace
from uec_vlm.trainer.run import run_training


def main(folder: str) -> None:
    os.environ["UEC_TEST_FOLDER"] = folder
    specification = json.loads((Path(folder) / "specification.json").read_text())
    use_engine(specification["engine"])
    config = load_config(Path(specification["config"]), specification["above"])
    run_training(config, resume=None, console=Console(width=200))
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


if __name__ == "__main__":
    with ended_in_peace():
        main(sys.argv[1])
