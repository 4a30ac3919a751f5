"""Rows of similar length together, so that little is padded."""

from __future__ import annotations

from jaxtyping import Int
from torch import Tensor

# A new group begins where the next row is this much shorter than the longest, and both sides have tokens enough to
# keep the processor busy.
_SHORTER, _GROUP_TOKENS = 0.875, 512


def by_length(lengths: Int[Tensor, " B"]) -> list[Int[Tensor, " _"]]:
    """Rows of similar length together; no group so small that its products are."""
    order = lengths.argsort(descending=True, stable=True)
    groups: list[Int[Tensor, " _"]] = []
    start = 0
    for end in range(1, len(order) + 1):
        longest, left = int(lengths[order[start]]), int(lengths[order[end:]].sum())
        enough = (end - start) * longest >= _GROUP_TOKENS and left >= _GROUP_TOKENS
        shorter = end < len(order) and int(lengths[order[end]]) <= _SHORTER * longest
        if end == len(order) or (enough and shorter):
            groups.append(order[start:end])
            start = end
    return groups
