"""Every random number of a run is a pure function of the run's seed and of where it is used."""

import hashlib
import random

import numpy as np
import torch


def seed_for(*place: int | str) -> int:
    """A 63-bit seed from the run's seed and a place, such as ("rollout", step, position)."""
    digest = hashlib.sha256("/".join(str(part) for part in place).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator_for(*place: int | str) -> torch.Generator:
    """A CPU generator seeded by `seed_for`."""
    return torch.Generator().manual_seed(seed_for(*place))


def set_global_generators(*place: int | str) -> None:
    """Seeds the generators of Python, NumPy and torch, all devices, for what takes none as an argument.

    Ours all do; an adapter's first weights, dropout, and a user's reward functions may not. Set for each step from the
    run's seed and the step's number, they need no place in a checkpoint.
    """
    seed = seed_for(*place)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
