"""Which samples come next: a pure function of a seed and a counter, so that a resumed run replays nothing."""

from __future__ import annotations

import hashlib

import torch


def draw(count_of_samples: int, *, seed: int, start: int, count: int) -> list[int]:
    """Return the places of the draws start, start + 1, ..., start + count - 1.

    Each epoch (count_of_samples draws) is a permutation of all samples, of its own for every epoch; a draw may reach
    over the end of an epoch. `draw(n, start=a, count=b + c)` is `draw(n, start=a, count=b) + draw(n, start=a + b,
    count=c)`.
    """
    if count_of_samples < 1:
        raise ValueError(f"count_of_samples = {count_of_samples}: there is nothing to draw from")
    if start < 0 or count < 0:
        raise ValueError(f"start = {start}, count = {count}: both must be 0 or more")
    drawn: list[int] = []
    position = start
    while len(drawn) < count:
        epoch, offset = divmod(position, count_of_samples)
        order = _permutation(count_of_samples, seed, epoch)
        part = order[offset : offset + count - len(drawn)]
        drawn += part
        position += len(part)
    return drawn


def _permutation(size: int, seed: int, epoch: int) -> list[int]:
    digest = hashlib.blake2b(f"sampler/{seed}/{epoch}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
    order: list[int] = torch.randperm(size, generator=generator).tolist()
    return order
