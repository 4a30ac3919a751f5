"""Several sets of samples drawn by weight: what comes next is a pure function of a seed and a counter."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import overload

import torch

from uec_vlm.batches.sampler import draw
from uec_vlm.batches.samples import SampleStore
from uec_vlm.records import Sample

BLOCK = 1000
"""Draws in which each part comes exactly as often as its weight says, rounded to a thousandth."""


@dataclass(frozen=True)
class Mixture(Sequence[Sample]):
    """Parts with weights; as a sequence it is the parts one after another, and `draw_places` draws by weight.

    weights: one per part, > 0; only their ratios matter.
    """

    parts: tuple[Sequence[Sample], ...]
    weights: tuple[float, ...]

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(len(part) for part in self.parts))

    def __len__(self) -> int:
        """The samples of all parts."""
        return self._ends[-1]

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        """One sample, or a list for a slice."""
        if isinstance(index, slice):
            return [self[place] for place in range(len(self))[index]]
        part, place = self.part_of(index)
        return self.parts[part][place]

    def part_of(self, index: int) -> tuple[int, int]:
        """The part that a sample belongs to, and its place in it."""
        place = range(len(self))[index]
        part = bisect_right(self._ends, place)
        return part, place - (self._ends[part] - len(self.parts[part]))

    def draw(self, *, seed: int, start: int, count: int) -> list[int]:
        """The places of the draws start, ..., start + count - 1, as `sampler.draw` gives them for one set.

        In each thousand draws (`BLOCK`) a part comes `quotas` times, in an order of its own for every thousand; within
        a part the samples come in epochs, each a permutation of all of them.
        """
        quotas = block_quotas(self.weights)
        places = []
        for position in range(start, start + count):
            block, offset = divmod(position, BLOCK)
            order = _order(quotas, seed, block)
            part = order[offset]
            rank = block * quotas[part] + order[:offset].count(part)
            [place] = draw(len(self.parts[part]), seed=_part_seed(seed, part), start=rank, count=1)
            places.append(self._ends[part] - len(self.parts[part]) + place)
        return places


def where(samples: Sequence[Sample], place: int) -> str:
    """File and row of a sample, for a message; what a generated one has instead is its number."""
    if isinstance(samples, Mixture):
        part, place = samples.part_of(place)
        return where(samples.parts[part], place)
    return samples.where(place) if isinstance(samples, SampleStore) else f"problem {place}"


def draw_places(samples: Sequence[Sample], *, seed: int, start: int, count: int) -> list[int]:
    """Which samples the draws start, start + 1, ... take: by weight from a mixture, else from the whole set."""
    if isinstance(samples, Mixture):
        return samples.draw(seed=seed, start=start, count=count)
    return draw(len(samples), seed=seed, start=start, count=count)


def block_quotas(weights: Sequence[float]) -> tuple[int, ...]:
    """Draws of each part in a block, by the largest remainder. ValueError for a part that would never come."""
    total = sum(weights)
    shares = [BLOCK * weight / total for weight in weights]
    quotas = [int(share) for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda part: (quotas[part] - shares[part], part))
    for part in by_remainder[: BLOCK - sum(quotas)]:
        quotas[part] += 1
    if min(quotas) == 0:
        part = quotas.index(0)
        raise ValueError(f"weight {weights[part]} of part {part} is below a thousandth of the sum {total}")
    return tuple(quotas)


@lru_cache(maxsize=4)
def _order(quotas: tuple[int, ...], seed: int, block: int) -> tuple[int, ...]:
    """The part of each draw of a block."""
    parts = [part for part, quota in enumerate(quotas) for _ in range(quota)]
    generator = torch.Generator().manual_seed(_hash(f"mixture/{seed}/{block}"))
    return tuple(parts[place] for place in torch.randperm(BLOCK, generator=generator).tolist())


def _part_seed(seed: int, part: int) -> int:
    return _hash(f"mixture-part/{seed}/{part}")


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
