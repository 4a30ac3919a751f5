"""Rows of similar length together, so that little is padded."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

# A new group begins where the next row is this much shorter than the longest, and both sides have tokens enough to
# keep the processor busy: a GPU wants many more.
_SHORTER, _CPU_TOKENS, _ACCELERATOR_TOKENS = 0.875, 512, 16_384


def by_length(lengths: Int[Tensor, " B"], *, device: torch.device) -> list[Int[Tensor, " _"]]:
    """Rows of similar length together; no group so small that its products are. device: where they are computed."""
    least = _CPU_TOKENS if device.type == "cpu" else _ACCELERATOR_TOKENS
    order = lengths.argsort(descending=True, stable=True)
    sorted_lengths: list[int] = lengths[order].tolist()
    left, groups, start = sum(sorted_lengths), [], 0
    for end, length in enumerate(sorted_lengths, start=1):
        left -= length
        enough = (end - start) * sorted_lengths[start] >= least and left >= least
        shorter = end < len(order) and sorted_lengths[end] <= _SHORTER * sorted_lengths[start]
        if end == len(order) or (enough and shorter):
            groups.append(order[start:end])
            start = end
    return groups
