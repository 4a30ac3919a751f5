"""Attention of prompts and of their completions, all tokens one after another in one long row without padding.

A completion attends to its prompt and to itself. The queries of all completions of a prompt, folded with those of a
group of heads, form one axis against the prompt's keys, which are never repeated; the part of the prompt and the
completion's own part are joined by their normalisers, and the backward pass takes each part with the joined result and
normaliser, which gives the exact gradient (as in Ring Attention, Liu et al. 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from uec_vlm.policy.lengths import by_length


@dataclass(frozen=True)
class Read:
    """A prompt: its keys, its own queries (all of them, or that of its last token), its completions' queries."""

    keys: slice
    queries: slice
    completions: slice
    causal: bool


@dataclass(frozen=True)
class Rows:
    """Completions of similar length as R padded rows of T tokens.

    take: for every place of the rows its token, counted among those of all completions; padding repeats the last token
    of its row. tokens, places: each token once, and where it stands. None where rows and tokens are the same.
    """

    count: int
    longest: int
    take: Int[Tensor, " RT"] | None
    tokens: Int[Tensor, " N"] | None
    places: Int[Tensor, " N"] | None


@dataclass(frozen=True)
class Layout:
    """Where prompts and completions stand. first_key, first_query: of the completions' tokens among the others."""

    reads: tuple[Read, ...]
    rows: tuple[Rows, ...]
    first_key: int
    first_query: int


@dataclass(frozen=True)
class Shape:
    """Heads of keys, heads of queries for each of them, width of a head, scale of the scores."""

    kv_heads: int
    group: int
    width: int
    scale: float


@dataclass(frozen=True)
class Rotation:
    """Cosines and sines of every token; the sine's first half has its sign."""

    cos: Float[Tensor, "M 1 d"]
    sin: Float[Tensor, "M 1 d"]

    def of(self, tokens: Int[Tensor, " N"]) -> Rotation:
        """Those of some tokens."""
        return Rotation(self.cos[tokens], self.sin[tokens])

    def turn(self, states: Float[Tensor, "M h d"], into: Float[Tensor, "M h d"], *, back: bool = False) -> None:
        """Write the turned states; `back` turns the other way, which is the gradient's."""
        half = states.shape[-1] // 2
        low, high = self.sin[..., :half], self.sin[..., half:]
        low, high = (high, low) if back else (low, high)
        torch.mul(states, self.cos, out=into)
        into[..., :half].addcmul_(states[..., half:], low)
        into[..., half:].addcmul_(states[..., :half], high)


def lay_out(prompts: Sequence[int], owners: Sequence[int], lengths: Sequence[int], *, last_only: bool) -> Layout:
    """The layout of prompts of these lengths, followed by completions in the order of their prompts.

    owners, lengths: prompt and tokens of every completion. last_only: of a prompt only the last token asks.
    """
    held = sum(prompts)
    first_query = len(prompts) if last_only else held
    following = [0] * len(prompts)
    for owner, length in zip(owners, lengths, strict=True):
        following[owner] += length
    reads, key, query, completion = [], 0, 0, first_query
    for length, own in zip(prompts, following, strict=True):
        asked = 1 if last_only else length
        reads.append(
            Read(slice(key, key + length), slice(query, query + asked), slice(completion, completion + own), asked > 1)
        )
        key, query, completion = key + length, query + asked, completion + own
    return Layout(tuple(reads), _rows(lengths), held, first_query)


def _rows(lengths: Sequence[int]) -> tuple[Rows, ...]:
    counts = torch.tensor(lengths, dtype=torch.long)
    starts = counts.cumsum(0) - counts
    whole = (counts > 0).nonzero().squeeze(1)
    if len(whole) == 0:
        return ()
    found = []
    for group in by_length(counts[whole], device=counts.device):
        members = whole[group.sort().values]
        longest = int(counts[members].max())
        step = torch.arange(longest)
        inside = step < counts[members].unsqueeze(1)
        take = starts[members].unsqueeze(1) + step.minimum(counts[members].unsqueeze(1) - 1)
        plain = bool(inside.all()) and len(members) == len(lengths)
        index = (None, None, None) if plain else (take.flatten(), take[inside], inside.flatten().nonzero().squeeze(1))
        found.append(Rows(len(members), longest, *index))
    return tuple(found)


def attend(
    query: Float[Tensor, "Q h*g*d"],
    key: Float[Tensor, "M h*d"],
    value: Float[Tensor, "M h*d"],
    layout: Layout,
    rotations: tuple[Rotation, Rotation],
    shape: Shape,
) -> Float[Tensor, "Q h*g*d"]:
    """Rotary positions and attention; the heads of a group stand beside each other. rotations: of queries, of keys."""
    mixed: Tensor = _Attention.apply(query, key, value, layout, rotations, shape)
    return mixed


class _Attention(torch.autograd.Function):
    """The autograd node of `attend`. Inside it states are "h Q g d": heads of keys, tokens, heads of a group."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        layout: Layout,
        rotations: tuple[Rotation, Rotation],
        shape: Shape,
    ) -> Tensor:
        q, k = _turned(query, rotations[0], shape), _turned(key, rotations[1], shape).squeeze(2)
        v = value.view(len(value), shape.kv_heads, shape.width).transpose(0, 1).contiguous()
        out, weight = torch.empty_like(q), q.new_empty(q.shape[:3])
        for read in layout.reads:
            mixed, normaliser = _flash(*_own(q, k, v, read.queries, read.keys), read.causal, shape.scale)
            out[:, read.queries], weight[:, read.queries] = mixed.transpose(1, 2), normaliser.transpose(1, 2)
            if read.completions.stop > read.completions.start:
                mixed, normaliser = _flash(*_folded(q, k, v, read), False, shape.scale)
                part = out[:, read.completions]
                part.copy_(mixed[0].view(part.shape))
                weight[:, read.completions] = normaliser[0].view(part.shape[:3])
        for rows in layout.rows:
            mixed, normaliser = _flash(*_padded(q, k, v, layout, rows), True, shape.scale)
            own, own_weight = _unpadded(mixed, rows, shape.kv_heads), _unpadded(normaliser, rows, shape.kv_heads)
            _join(out[:, layout.first_query :], weight[:, layout.first_query :], own, own_weight, rows)
        ctx.save_for_backward(q, k, v, out, weight)
        ctx.plan = layout, rotations, shape
        return out.permute(1, 0, 2, 3).reshape(len(query), -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, weight = ctx.saved_tensors
        layout, rotations, shape = ctx.plan
        grad = grads[0].view(-1, shape.kv_heads, shape.group, shape.width).transpose(0, 1).contiguous()
        of_q, of_k, of_v = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        for read in layout.reads:
            result = [part[:, read.queries].transpose(1, 2) for part in (out, weight)]
            own = _own(q, k, v, read.queries, read.keys)
            found = _flash_backward(grad[:, read.queries].transpose(1, 2), own, result, read.causal, shape.scale)
            of_q[:, read.queries] = found[0].transpose(1, 2)
            of_k[:, read.keys], of_v[:, read.keys] = found[1].sum(1), found[2].sum(1)
            if read.completions.stop > read.completions.start:
                folded = [_fold(part[:, read.completions]) for part in (grad, out, weight)]
                found = _flash_backward(folded[0], _folded(q, k, v, read), folded[1:], False, shape.scale)
                of_q[:, read.completions] = found[0][0].view(of_q[:, read.completions].shape)
                of_k[:, read.keys] += found[1][0]
                of_v[:, read.keys] += found[2][0]
        for rows in layout.rows:
            of_out = _pad(grad[:, layout.first_query :], rows, zero=True)
            result = [_pad(part[:, layout.first_query :], rows) for part in (out, weight)]
            found = _flash_backward(of_out, _padded(q, k, v, layout, rows), result, True, shape.scale)
            own_q = of_q[:, layout.first_query :]
            _put(own_q, _unpadded(found[0], rows, shape.kv_heads), rows, add=True)
            for whole, part in ((of_k, found[1]), (of_v, found[2])):
                summed = part.sum(1, keepdim=True)
                _put(whole[:, layout.first_key :], _unpadded(summed, rows, shape.kv_heads).squeeze(2), rows, add=False)
        flat_v = of_v.transpose(0, 1).reshape(v.shape[1], -1)
        return _turned_back(of_q, rotations[0]), _turned_back(of_k.unsqueeze(2), rotations[1]), flat_v, None, None, None


def _turned(states: Float[Tensor, "M h*g*d"], rotation: Rotation, shape: Shape) -> Float[Tensor, "h M g d"]:
    split = states.view(len(states), shape.kv_heads, -1, shape.width)
    turned = split.new_empty(split.shape[1], len(split), *split.shape[2:])
    _by_head(rotation).turn(split, turned.transpose(0, 1))
    return turned


def _turned_back(gradient: Float[Tensor, "h M g d"], rotation: Rotation) -> Float[Tensor, "M h*g*d"]:
    split = gradient.transpose(0, 1)
    turned = gradient.new_empty(split.shape)
    _by_head(rotation).turn(split, turned, back=True)
    return turned.flatten(1)


def _by_head(rotation: Rotation) -> Rotation:
    return Rotation(rotation.cos.unsqueeze(1), rotation.sin.unsqueeze(1))


def _flash(query: Tensor, key: Tensor, value: Tensor, causal: bool, scale: float) -> tuple[Tensor, Tensor]:
    """Mixed values "B H T d" and the logarithm of the normaliser "B H T"."""
    mixed, normaliser = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, 0.0, causal, scale=scale
    )
    return mixed, normaliser


def _flash_backward(
    grad: Tensor,
    inputs: tuple[Tensor, Tensor, Tensor],
    result: Sequence[Tensor],
    causal: bool,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The part of the gradient that comes through these keys, where `result` is that of all keys together."""
    found = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
        grad, *inputs, *result, 0.0, causal, scale=scale
    )
    return found[0], found[1], found[2]


def _own(q: Tensor, k: Tensor, v: Tensor, queries: slice, keys: slice) -> tuple[Tensor, Tensor, Tensor]:
    """A prompt by itself: heads of keys as the batch, heads of a group as the heads, whose keys are the same."""
    query = q[:, queries].transpose(1, 2)
    return query, _shared(k[:, keys], query.shape[1]), _shared(v[:, keys], query.shape[1])


def _shared(states: Float[Tensor, "B T d"], group: int) -> Float[Tensor, "B g T d"]:
    return states.unsqueeze(1).expand(-1, group, -1, -1)


def _folded(q: Tensor, k: Tensor, v: Tensor, read: Read) -> tuple[Tensor, Tensor, Tensor]:
    """All completions of a prompt against it."""
    return _fold(q[:, read.completions]), k[:, read.keys].unsqueeze(0), v[:, read.keys].unsqueeze(0)


def _fold(states: Float[Tensor, "h N g ..."]) -> Float[Tensor, "1 h N*g ..."]:
    return states.flatten(1, 2).unsqueeze(0)


def _padded(q: Tensor, k: Tensor, v: Tensor, layout: Layout, rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
    """Completions by themselves: heads of keys and rows as the batch."""
    query = _pad(q[:, layout.first_query :], rows)
    key, value = (_pad(part[:, layout.first_key :].unsqueeze(2), rows).squeeze(1) for part in (k, v))
    return query, _shared(key, query.shape[1]), _shared(value, query.shape[1])


def _pad(states: Float[Tensor, "h C g ..."], rows: Rows, *, zero: bool = False) -> Float[Tensor, "h*R g T ..."]:
    """The tokens in rows; zero: what stands on padding is 0 and not that of the row's last token."""
    if rows.take is not None:
        assert rows.tokens is not None and rows.places is not None
        if zero:
            room = states.new_zeros(len(states), len(rows.take), *states.shape[2:])
            states = room.index_copy_(1, rows.places, states.index_select(1, rows.tokens))
        else:
            states = states.index_select(1, rows.take)
    return states.reshape(-1, rows.longest, *states.shape[2:]).transpose(1, 2)


def _unpadded(states: Float[Tensor, "h*R g T ..."], rows: Rows, heads: int) -> Float[Tensor, "h N g ..."]:
    """The way back, for the tokens of these rows."""
    flat = states.transpose(1, 2).reshape(heads, rows.count * rows.longest, states.shape[1], *states.shape[3:])
    return flat if rows.places is None else flat.index_select(1, rows.places)


def _join(out: Tensor, weight: Tensor, own: Tensor, own_weight: Tensor, rows: Rows) -> None:
    """Join the completions' own part with what they have from their prompts, in place."""
    seen, seen_weight = (out, weight) if rows.tokens is None else (out[:, rows.tokens], weight[:, rows.tokens])
    share = torch.sigmoid(own_weight - seen_weight).unsqueeze(-1)
    _put(out, torch.lerp(seen, own, share), rows, add=False)
    _put(weight, torch.logaddexp(seen_weight, own_weight), rows, add=False)


def _put(whole: Tensor, part: Tensor, rows: Rows, *, add: bool) -> None:
    """Write what belongs to the tokens of these rows, or add it."""
    if rows.tokens is None:
        whole.add_(part) if add else whole.copy_(part)
    elif add:
        whole.index_add_(1, rows.tokens, part)
    else:
        whole.index_copy_(1, rows.tokens, part)
