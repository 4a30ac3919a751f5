"""Decoding of one token for many completions at a time, with each prompt's keys and values held once.

Two decoders do the same: `LeanDecoder` runs the layers itself, for the families of `layers.py`; `PlainDecoder` calls
the model's own forward on a cache that is repeated for every completion. In the lean one the completions of a prompt
are folded into the query axis of its prefix, so that a prefix is read once for all of them; attention over the prefix
and over the completion's own tokens are two softmaxes, joined exactly by their normalisers (as in Flash-Decoding, Dao
et al. 2023, and Hydragen, Juravsky et al. 2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from uec_vlm.rollouts.cache import growing_cache
from uec_vlm.rollouts.layers import Layer, TextModel

# Room for new tokens at the start; it doubles when it is full, so that the copies add up to a constant factor.
_ROOM = 64


class ReadPrompts(Protocol):
    """What `prefill` returns; `uec_vlm.policy.Prefix` is it."""

    @property
    def cache(self) -> Any: ...  # noqa: D102
    @property
    def mask(self) -> Tensor: ...  # noqa: D102
    @property
    def hidden(self) -> Tensor: ...  # noqa: D102
    @property
    def next_position(self) -> Tensor: ...  # noqa: D102


class Decoder(Protocol):
    """Rows of completions under way; all have the same number of tokens so far."""

    def step(self, tokens: Int[Tensor, " R"]) -> Float[Tensor, "R H"]:
        """Read one more token of every row; return the states that predict the next ones."""
        ...

    def keep(self, rows: Int[Tensor, " K"]) -> None:
        """Go on with these rows only, which are in rising order."""
        ...


class PlainDecoder:
    """Decodes with the model's own forward."""

    def __init__(self, policy: Any, read: ReadPrompts, index: Int[Tensor, " R"]) -> None:
        """Row r continues prompt index[r] of `read`."""
        self._policy = policy
        self._cache = growing_cache(read.cache, index)
        self._mask: Bool[Tensor, "R K"] = read.mask[index]
        self._position = read.next_position[index]

    def step(self, tokens: Int[Tensor, " R"]) -> Float[Tensor, "R H"]:
        """See `Decoder`."""
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), 1)], dim=1)
        hidden: Tensor = self._policy.extend(
            tokens.unsqueeze(1), mask=self._mask, positions=self._position.unsqueeze(1), cache=self._cache
        )
        self._position = self._position + 1
        return hidden[:, -1]

    def keep(self, rows: Int[Tensor, " K"]) -> None:
        """See `Decoder`."""
        self._mask, self._position = self._mask[rows], self._position[rows]
        self._cache.batch_select_indices(rows)


class LeanDecoder:
    """Decodes with the layers themselves; it is a class because it holds their keys and values."""

    def __init__(self, model: TextModel, read: ReadPrompts, index: Int[Tensor, " R"], *, new_tokens: int) -> None:
        """Row r continues prompt index[r] of `read`, by at most `new_tokens` tokens; `index` is in rising order."""
        self._model = model
        self._prefix = [(layer.keys, layer.values) for layer in read.cache.layers]
        self._mask: Bool[Tensor, "P L"] = read.mask
        self._prompt = index
        self._length, self._limit = 0, new_tokens
        keys = self._prefix[0][0]
        room = (len(index), model.kv_heads, min(_ROOM, new_tokens), model.head_width)
        self._own = [(self._fresh(keys, room), self._fresh(keys, room)) for _ in self._prefix]
        positions = read.next_position[index].unsqueeze(1) + torch.arange(new_tokens, device=index.device)
        self._cos, self._sin = _rotations(model, positions, keys)
        self._arrange()

    def step(self, tokens: Int[Tensor, " R"]) -> Float[Tensor, "R H"]:
        """See `Decoder`."""
        self._make_room()
        cos, sin = self._turns()
        hidden: Tensor = self._model.embed(tokens.unsqueeze(1)).squeeze(1)
        for place, layer in enumerate(self._model.layers):
            query = self._project(place, layer, layer.norm(hidden), cos, sin)
            hidden = layer.add_out(hidden, self._attend(place, query))
            gate, up = layer.gate_up(layer.mlp_norm(hidden)).chunk(2, dim=-1)
            hidden = layer.add_down(hidden, layer.activate(gate) * up)
        self._move_on()
        last: Tensor = self._model.last_norm(hidden)
        return last

    def keep(self, rows: Int[Tensor, " K"]) -> None:
        """See `Decoder`."""
        self._own = [(self._kept(keys, rows), self._kept(values, rows)) for keys, values in self._own]
        self._cos, self._sin, self._prompt = self._cos[rows], self._sin[rows], self._prompt[rows]
        self._arrange()

    def _arrange(self) -> None:
        """Drop prompts without rows, and lay out which row stands where among the completions of its prompt."""
        alive, self._prompt, counts = torch.unique_consecutive(self._prompt, return_inverse=True, return_counts=True)
        if len(alive) < len(self._mask):
            longest = int(self._mask[alive].sum(-1).max())
            self._mask = self._mask[alive][:, :longest]
            self._prefix = [(k[alive][:, :, :longest], v[alive][:, :, :longest]) for k, v in self._prefix]
        full = bool(self._mask.all())
        bias = torch.zeros(self._mask.shape, dtype=self._cos.dtype, device=self._mask.device)
        self._bias = None if full else bias.masked_fill_(~self._mask, float("-inf"))[:, None, None]
        self._most = int(counts.max())
        first = counts.cumsum(0) - counts
        rank = torch.arange(len(self._prompt), device=counts.device) - first[self._prompt]
        even = self._most * len(counts) == len(self._prompt)
        self._places = None if even else self._prompt * self._most + rank

    def _project(
        self, place: int, layer: Layer, states: Float[Tensor, "R H"], cos: Tensor, sin: Tensor
    ) -> Float[Tensor, "R h g d"]:
        """Append the rows' keys and values; return their queries, g of them for each of the h key heads."""
        model = self._model
        joined = layer.qkv(states).view(len(states), -1, model.head_width)
        turning, values = joined[:, : model.heads + model.kv_heads], joined[:, model.heads + model.kv_heads :]
        if layer.query_norm is not None and layer.key_norm is not None:
            query, key = turning[:, : model.heads], turning[:, model.heads :]
            turning = torch.cat([layer.query_norm(query), layer.key_norm(key)], dim=1)
        turned = _rotated(turning, cos, sin)
        for held, new in zip(self._own[place], (turned[:, model.heads :], values), strict=True):
            self._write(held, new)
        return turned[:, : model.heads].view(len(states), model.kv_heads, -1, model.head_width)

    def _attend(self, place: int, query: Float[Tensor, "R h g d"]) -> Float[Tensor, "R K"]:
        """Attention over the prefix, read once per prompt, and over the row's own tokens."""
        keys, values = self._prefix[place]
        seen, weight = attend(self._folded(query), keys, values, self._bias, scale=self._model.scale)
        own, own_weight = self._attend_own(query, *self._own[place])
        seen, weight = self._unfolded(seen), self._unfolded(weight)
        # The part of the prefix is exp(weight) / (exp(weight) + exp(own_weight)).
        share = torch.sigmoid(weight - own_weight).to(own.dtype).unsqueeze(-1)
        return torch.lerp(own, seen, share).flatten(1)

    def _turns(self) -> tuple[Float[Tensor, "R 1 d"], Float[Tensor, "R 1 d"]]:
        """Cosine and sine of the place of the new tokens."""
        return self._cos[:, self._length], self._sin[:, self._length]

    def _move_on(self) -> None:
        self._length += 1

    def _write(self, held: Float[Tensor, "R h T d"], new: Float[Tensor, "R h d"]) -> None:
        """Keys or values of the new tokens."""
        held[:, :, self._length] = new

    def _attend_own(
        self, query: Float[Tensor, "R h g d"], keys: Float[Tensor, "R h T d"], values: Float[Tensor, "R h T d"]
    ) -> tuple[Float[Tensor, "R h g d"], Float[Tensor, "R h g"]]:
        """Attention over the row's own tokens, the new one included."""
        so_far = slice(0, self._length + 1)
        return attend(query, keys[:, :, so_far], values[:, :, so_far], None, scale=self._model.scale)

    def _fresh(self, like: Tensor, shape: Sequence[int]) -> Tensor:
        """Room for keys or values, which is never read before it is written."""
        return like.new_empty(shape)

    def _folded(self, query: Float[Tensor, "R h g d"]) -> Float[Tensor, "P h Q d"]:
        """The queries of a prompt's rows beside each other, Q = rows x g; a prompt with fewer rows is filled up."""
        if self._places is not None:
            room = query.new_zeros(len(self._mask) * self._most, *query.shape[1:])
            query = room.index_copy_(0, self._places, query)
        return query.view(-1, self._most, *query.shape[1:]).transpose(1, 2).flatten(2, 3)

    def _unfolded(self, states: Float[Tensor, "P h Q ..."]) -> Float[Tensor, "R h g ..."]:
        """The way back."""
        prompts, heads, queries, *rest = states.shape
        rows = states.view(prompts, heads, self._most, queries // self._most, *rest).transpose(1, 2).flatten(0, 1)
        return rows if self._places is None else rows[self._places]

    def _make_room(self) -> None:
        held = self._own[0][0].shape[2]
        if self._length < held:
            return
        room = min(2 * held, self._limit)
        self._own = [(self._roomier(keys, room), self._roomier(values, room)) for keys, values in self._own]

    def _kept(self, states: Float[Tensor, "R h T d"], rows: Int[Tensor, " K"]) -> Float[Tensor, "K h T d"]:
        kept = self._fresh(states, (len(rows), *states.shape[1:]))
        kept[:, :, : self._length] = states[:, :, : self._length].index_select(0, rows)
        return kept

    def _roomier(self, states: Float[Tensor, "R h T d"], room: int) -> Float[Tensor, "R h T d"]:
        rows, heads, held, width = states.shape
        roomier = self._fresh(states, (rows, heads, room, width))
        roomier[:, :, :held] = states
        return roomier


def attend(
    query: Float[Tensor, "B h q d"],
    keys: Float[Tensor, "B h k d"],
    values: Float[Tensor, "B h k d"],
    bias: Float[Tensor, "B 1 1 k"] | None,
    *,
    scale: float,
) -> tuple[Float[Tensor, "B h q d"], Float[Tensor, "B h q"]]:
    """Softmax attention, and the logarithm of its normaliser, by which two parts of it can be joined."""
    if query.device.type == "cpu":
        mixed, normaliser = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, keys, values, attn_mask=bias, scale=scale
        )
        return mixed, normaliser
    return attend_plainly(query, keys, values, bias, scale=scale)


def attend_plainly(
    query: Float[Tensor, "B h q d"],
    keys: Float[Tensor, "B h k d"],
    values: Float[Tensor, "B h k d"],
    bias: Float[Tensor, "B 1 1 k"] | None,
    *,
    scale: float,
) -> tuple[Float[Tensor, "B h q d"], Float[Tensor, "B h q"]]:
    """The same as `attend` on any device; the softmax is taken in float32 at least."""
    scores = torch.matmul(query * scale, keys.transpose(-1, -2))
    scores = scores if scores.dtype == torch.float64 else scores.float()
    scores = scores if bias is None else scores + bias
    normaliser = scores.logsumexp(-1)
    weights = (scores - normaliser.unsqueeze(-1)).exp_().to(values.dtype)
    return torch.matmul(weights, values), normaliser


def _rotations(
    model: TextModel, positions: Int[Tensor, "R T"], like: Tensor
) -> tuple[Float[Tensor, "R T 1 d"], Float[Tensor, "R T 1 d"]]:
    """Cosines and sines of text, whose position is the same on every axis; the sine's first half has its sign."""
    cos, sin = model.rotary(like, positions)
    cos, sin = cos.view(*positions.shape, 1, -1), sin.view(*positions.shape, 1, -1).clone()
    sin[..., : model.head_width // 2].neg_()
    return cos, sin


def _rotated(states: Float[Tensor, "R n d"], cos: Tensor, sin: Tensor) -> Float[Tensor, "R n d"]:
    first, second = states.chunk(2, dim=-1)
    return torch.addcmul(states * cos, torch.cat((second, first), dim=-1), sin)
