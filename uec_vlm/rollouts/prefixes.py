"""Prompts that the regular rollouts have read, kept for the extra ones of the same weights, within a byte budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from uec_vlm.records import Prompt
from uec_vlm.rollouts.decode import ReadPrompts

Read = Callable[[Sequence[Prompt]], ReadPrompts]


@dataclass(frozen=True)
class _Layer:
    """Keys and values of one layer."""

    keys: Float[Tensor, "P h L d"]
    values: Float[Tensor, "P h L d"]


@dataclass(frozen=True)
class _Cache:
    layers: tuple[_Layer, ...]


@dataclass(frozen=True)
class _Gathered:
    """Prompts put together from several readings; see `ReadPrompts`."""

    cache: _Cache
    mask: Bool[Tensor, "P L"]
    hidden: Float[Tensor, "P H"]
    next_position: Int[Tensor, " P"]


@dataclass(frozen=True)
class _Kept:
    """One reading. stamp: of the weights it was made with. size: its keys and values, in bytes."""

    prompts: tuple[Prompt, ...]
    read: ReadPrompts
    stamp: tuple[Any, ...]
    size: int


class PrefixStore:
    """Keeps the newest readings; a prompt is known again by its identity, weights by their versions and places."""

    def __init__(self, budget: int) -> None:
        """Take the bytes that may be kept, 0 for nothing."""
        self._budget = budget
        self._kept: list[_Kept] = []

    @property
    def size(self) -> int:
        """Bytes of keys and values that are kept."""
        return sum(kept.size for kept in self._kept)

    def keep(self, prompts: Sequence[Prompt], read: ReadPrompts, model: nn.Module) -> None:
        """Keep a reading; the oldest ones go where the budget is exceeded."""
        size = sum(
            states.numel() * states.element_size()
            for layer in read.cache.layers
            for states in (layer.keys, layer.values)
        )
        self._kept.append(_Kept(tuple(prompts), read, weight_stamp(model), size))
        while self._kept and self.size > self._budget:
            self._kept.pop(0)

    def drop(self) -> None:
        """Forget everything."""
        self._kept.clear()

    def recall(self, prompts: Sequence[Prompt], model: nn.Module, read: Read) -> ReadPrompts:
        """These prompts, of which only those that are not kept, or were read by other weights, are read anew."""
        places = self._places(weight_stamp(model))
        missing = [prompt for prompt in prompts if id(prompt) not in places]
        if len(missing) == len(prompts):
            return read(prompts)
        if missing:
            fresh = read(missing)
            places |= {id(prompt): (fresh, row) for row, prompt in enumerate(missing)}
        return _gather([places[id(prompt)] for prompt in prompts])

    def _places(self, stamp: tuple[Any, ...]) -> dict[int, tuple[ReadPrompts, int]]:
        return {
            id(prompt): (kept.read, row)
            for kept in self._kept
            if kept.stamp == stamp
            for row, prompt in enumerate(kept.prompts)
        }


def weight_stamp(model: nn.Module) -> tuple[Any, ...]:
    """Another one for other weights: every parameter's storage, and how often it was changed in place."""
    return tuple((parameter.data_ptr(), parameter._version) for parameter in model.parameters())


def _gather(rows: Sequence[tuple[ReadPrompts, int]]) -> _Gathered:
    """The rows side by side, padded on the right to the longest of them."""
    masks = [read.mask[row] for read, row in rows]
    longest = max(int(mask.sum()) for mask in masks)

    def padded(states: Sequence[Tensor], axis: int) -> Tensor:
        shape = list(states[0].shape)
        shape[axis] = longest
        joined = states[0].new_zeros(len(states), *shape)
        for place, part in enumerate(states):
            width = min(longest, part.shape[axis])
            joined[place].narrow(axis, 0, width).copy_(part.narrow(axis, 0, width))
        return joined

    layers = tuple(
        _Layer(
            padded([read.cache.layers[place].keys[row] for read, row in rows], 1),
            padded([read.cache.layers[place].values[row] for read, row in rows], 1),
        )
        for place in range(len(rows[0][0].cache.layers))
    )
    hidden = torch.stack([read.hidden[row] for read, row in rows])
    return _Gathered(
        _Cache(layers), padded(masks, 0), hidden, torch.stack([read.next_position[row] for read, row in rows])
    )
