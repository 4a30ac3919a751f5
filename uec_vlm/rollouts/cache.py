"""A key-value cache with room to grow: writing a token copies a token, not the whole cache."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

_ROOM = 64


class GrowingLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values of one layer, in buffers with room; `keys` and `values` are views of the part in use."""

    def __init__(self, keys: Float[Tensor, "B h L d"], values: Float[Tensor, "B h L d"]) -> None:
        """Start with these keys and values; they are copied at the first growth."""
        super().__init__()
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self._buffers = (keys, values)
        self._show(keys.shape[2])

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append new states and return all."""
        held, length = self.keys.shape[2], key_states.shape[2]
        if held + length > self._buffers[0].shape[2]:
            self._buffers = (_roomier(self.keys, length), _roomier(self.values, length))
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, held : held + length] = states
        self._show(held + length)
        return self.keys, self.values

    def batch_select_indices(self, indices: Int[Tensor, " B"]) -> None:
        """Keep these rows."""
        held = self.keys.shape[2]
        self._buffers = (self._buffers[0][indices], self._buffers[1][indices])
        self._show(held)

    def _show(self, held: int) -> None:
        self.keys, self.values = self._buffers[0][:, :, :held], self._buffers[1][:, :, :held]


def growing_cache(cache: Any, index: Int[Tensor, " B"]) -> DynamicCache:
    """A cache of the rows `index` of another one, ready for decoding."""
    grown = DynamicCache()
    for layer in cache.layers:
        grown.layers.append(GrowingLayer(layer.keys.index_select(0, index), layer.values.index_select(0, index)))
    return grown


def _roomier(states: Tensor, length: int) -> Tensor:
    """Copy into a buffer with room for a third more, so that the copies add up to a constant factor."""
    rows, heads, held, width = states.shape
    room = max(length, _ROOM, held // 3)
    buffer = torch.empty(rows, heads, held + room, width, dtype=states.dtype, device=states.device)
    buffer[:, :, :held] = states
    return buffer
