"""Every random number of a run is a pure function of the run's seed and of where it is used."""

import hashlib

import torch


def seed_for(*place: int | str) -> int:
    """A 63-bit seed from the run's seed and a place, such as ("rollout", step, position)."""
    digest = hashlib.sha256("/".join(str(part) for part in place).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator_for(*place: int | str) -> torch.Generator:
    """A CPU generator seeded by `seed_for`."""
    return torch.Generator().manual_seed(seed_for(*place))
