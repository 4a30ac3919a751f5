"""Log-probability, entropy and moment straight from hidden states and the head's weight, in constant memory.

The logits of M positions over V tokens never exist: blocks of positions by tokens are formed in two buffers that are
used again and again, each position keeps running sums, and the backward pass forms the blocks a second time. Beyond
its inputs and their gradients this needs two blocks, whatever M and V are. Formulas: with s = logits - their running
maximum, S = sum e^s, E = sum s e^s, Q = sum e^2s and R = sum s e^2s,

    log-probability = s_target - log S       entropy = log S - E / S       moment = (R - Q E / S) / S^2

and the gradient of the logits is pi_a (-g - h (log pi_a + entropy)), plus g at the target, for gradients g of the
log-probability and h of the entropy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

# Positions and tokens of a block. On a CPU two blocks stay in the cache, where an element-wise pass costs a tenth of
# one through memory; an accelerator wants large products.
_CPU_BLOCK = (1024, 1024)
_ACCELERATOR_BLOCK = (4096, 8192)
# Stands for minus infinity: the exponential of its distance to any logit is 0, and 0 times it is still 0.
_LOWEST = -1e30


@dataclass(frozen=True)
class HeadSettings:
    """What is scored.

    temperature: divides the logits, > 0. banned_ids: tokens outside the support. entropy_gradient: whether the entropy
    carries a gradient. want_entropy: False leaves entropy and moment at 0. chunk: positions of a block; None: what
    suits the device. parts: where the head can only be called, into how many calls positions are cut (None: `chunk`).
    """

    temperature: float
    banned_ids: tuple[int, ...]
    entropy_gradient: bool
    want_entropy: bool
    chunk: int | None = None
    parts: int | None = None


def score_from_states(
    states: Float[Tensor, "M H"],
    weight: Float[Tensor, "V H"],
    bias: Float[Tensor, " V"] | None,
    targets: Int[Tensor, " M"],
    settings: HeadSettings,
) -> tuple[Float[Tensor, " M"], Float[Tensor, " M"], Float[Tensor, " M"]]:
    """Log-probability of the targets (nats, <= 0), exact entropy (nats) and its moment, float32 or float64.

    Gradients reach `states`, `weight` and `bias` where they want one. No target may be banned.
    """
    logprobs, entropy, moment = _HeadScores.apply(states, weight, bias, targets, settings)
    return logprobs, entropy, moment


class _HeadScores(torch.autograd.Function):
    """The autograd node of `score_from_states`."""

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, settings: HeadSettings
    ) -> tuple[Tensor, Tensor, Tensor]:
        blocks = _Blocks(states, weight, bias, settings)
        sums = _Sums(states, blocks.dtype, settings.want_entropy)
        for place in blocks.places():
            logits, spare = blocks.logits(place)
            sums.add(place, logits, spare, targets)
        total = sums.maximum + sums.exp.log()
        logprobs = sums.target - total
        entropy, moment = sums.entropy_and_moment()
        ctx.settings = settings
        ctx.save_for_backward(states, weight, bias, targets, total, entropy)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*([moment] if settings.entropy_gradient else [entropy, moment]))
        return logprobs, entropy, moment

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        states, weight, bias, targets, total, entropy = ctx.saved_tensors
        of_logprobs, of_entropy = grads[:2]
        if of_logprobs is None:
            of_logprobs = torch.zeros_like(total)
        blocks = _Blocks(states, weight, bias, ctx.settings)
        into = _Gradients(blocks, ctx.needs_input_grad[:3])
        for place in blocks.places():
            logits, spare = blocks.logits(place)
            rows = place.rows
            logits.sub_(total[rows].unsqueeze(1))
            if of_entropy is None:
                logits.exp_().mul_(of_logprobs[rows].neg().unsqueeze(1))
            else:
                torch.exp(logits, out=spare)
                logits.add_(entropy[rows].unsqueeze(1)).mul_(of_entropy[rows].neg().unsqueeze(1))
                logits.sub_(of_logprobs[rows].unsqueeze(1)).mul_(spare)
            column, inside = place.find(targets)
            logits.scatter_add_(1, column, (of_logprobs[rows] * inside).unsqueeze(1))
            into.add(place, logits)
        return *into.finish(), None, None


@dataclass(frozen=True)
class _Place:
    """A block: its positions and its tokens."""

    rows: slice
    tokens: slice

    def find(self, targets: Int[Tensor, " M"]) -> tuple[Tensor, Tensor]:
        """Where in the block each position's target is (column "m 1"), and whether it is there."""
        column = targets[self.rows] - self.tokens.start
        inside = (column >= 0) & (column < self.tokens.stop - self.tokens.start)
        return column.clamp(0, self.tokens.stop - self.tokens.start - 1).unsqueeze(1), inside


class _Blocks:
    """Forms blocks of scaled logits in two buffers; a class because it holds them."""

    def __init__(self, states: Tensor, weight: Tensor, bias: Tensor | None, settings: HeadSettings) -> None:
        self.states, self.weight, self.bias = states, weight, bias
        self.scale = 1.0 / settings.temperature
        self.dtype = torch.float64 if weight.dtype == torch.float64 else torch.float32
        rows, tokens = _CPU_BLOCK if weight.device.type == "cpu" else _ACCELERATOR_BLOCK
        self.height = max(1, min(settings.chunk or rows, len(states)))
        self.width = min(tokens, len(weight))
        size, device = self.height * self.width, weight.device
        self._logits, self._spare = (torch.empty(size, dtype=self.dtype, device=device) for _ in range(2))
        # A block in the head's own precision, where that is a narrow one.
        self.narrow = torch.empty(size, dtype=weight.dtype, device=device) if weight.dtype != self.dtype else None
        self._banned = _by_block(settings.banned_ids, self.width, weight.device)

    def places(self) -> Iterator[_Place]:
        """All blocks; those of the same tokens follow each other, so that their weights stay near."""
        for start in range(0, len(self.weight), self.width):
            tokens = slice(start, min(start + self.width, len(self.weight)))
            for first in range(0, len(self.states), self.height):
                yield _Place(slice(first, min(first + self.height, len(self.states))), tokens)

    def logits(self, place: _Place) -> tuple[Float[Tensor, "m v"], Float[Tensor, "m v"]]:
        """The block's logits over the temperature, banned ones at the lowest, and a buffer of the same shape."""
        states, weight = self.states[place.rows], self.weight[place.tokens]
        logits, spare = (self.view(buffer, place) for buffer in (self._logits, self._spare))
        if self.narrow is None:
            torch.addmm(logits, states, weight.t(), beta=0, alpha=self.scale, out=logits)
        else:
            narrow = self.view(self.narrow, place)
            torch.mm(states, weight.t(), out=narrow)
            logits.copy_(narrow).mul_(self.scale)
        if self.bias is not None:
            logits.add_(self.bias[place.tokens].to(self.dtype), alpha=self.scale)
        columns = self._banned.get(place.tokens.start // self.width)
        if columns is not None:
            logits.index_fill_(1, columns, _LOWEST)
        return logits, spare

    def view(self, buffer: Tensor, place: _Place) -> Tensor:
        """A buffer in the block's shape."""
        shape = (place.rows.stop - place.rows.start, place.tokens.stop - place.tokens.start)
        return buffer[: shape[0] * shape[1]].view(shape)


class _Sums:
    """Running sums of every position about its running maximum; a class because they are updated in place."""

    def __init__(self, states: Tensor, dtype: torch.dtype, want_entropy: bool) -> None:
        def zeros() -> Tensor:
            return torch.zeros(len(states), dtype=dtype, device=states.device)

        self.want_entropy = want_entropy
        self.maximum, self.target = zeros().fill_(_LOWEST), zeros()
        # S, E, Q and R of the module's formulas.
        self.exp, self.weighted, self.square, self.weighted_square = zeros(), zeros(), zeros(), zeros()

    def add(self, place: _Place, logits: Tensor, spare: Tensor, targets: Tensor) -> None:
        """Take a block in; both buffers are overwritten."""
        rows = place.rows
        column, inside = place.find(targets)
        self.target[rows] = torch.where(inside, logits.gather(1, column).squeeze(1), self.target[rows])
        self._move(rows, torch.maximum(self.maximum[rows], logits.amax(1)))
        logits.sub_(self.maximum[rows].unsqueeze(1))
        if not self.want_entropy:
            self.exp[rows] += logits.exp_().sum(1)
            return
        torch.exp(logits, out=spare)
        self.exp[rows] += spare.sum(1)
        self.weighted[rows] += logits.mul_(spare).sum(1)
        self.weighted_square[rows] += logits.mul_(spare).sum(1)
        self.square[rows] += spare.mul_(spare).sum(1)

    def _move(self, rows: slice, maximum: Tensor) -> None:
        """Refer the sums of these positions to a new maximum."""
        change = self.maximum[rows] - maximum
        factor = change.exp()
        self.weighted[rows] = factor * (self.weighted[rows] + change * self.exp[rows])
        self.weighted_square[rows] = factor.square() * (self.weighted_square[rows] + change * self.square[rows])
        self.exp[rows] *= factor
        self.square[rows] *= factor.square()
        self.maximum[rows] = maximum

    def entropy_and_moment(self) -> tuple[Tensor, Tensor]:
        """Of every position; zeros where they are not wanted."""
        if not self.want_entropy:
            return torch.zeros_like(self.exp), torch.zeros_like(self.exp)
        mean = self.weighted / self.exp
        return self.exp.log() - mean, (self.weighted_square - self.square * mean) / self.exp.square()


class _Gradients:
    """The gradients of states, weight and bias, added up in wide precision; None where none is wanted."""

    def __init__(self, blocks: _Blocks, wanted: Sequence[bool]) -> None:
        self._blocks = blocks
        states, weight, bias, dtype = blocks.states, blocks.weight, blocks.bias, blocks.dtype
        self._states = torch.zeros_like(states, dtype=dtype) if wanted[0] else None
        self._weight = torch.zeros_like(weight) if wanted[1] else None
        self._bias = torch.zeros_like(bias, dtype=dtype) if wanted[2] and bias is not None else None
        # The weight's rows of the current tokens.
        self._rows = torch.empty(blocks.width, weight.shape[1], dtype=dtype, device=weight.device)

    def add(self, place: _Place, block: Float[Tensor, "m v"]) -> None:
        """Take the gradient of a block of logits in."""
        blocks, scale = self._blocks, self._blocks.scale
        factor = block if blocks.narrow is None else blocks.view(blocks.narrow, place).copy_(block)
        if self._states is not None:
            _add_product(self._states[place.rows], factor, blocks.weight[place.tokens], scale)
        if self._weight is not None:
            rows = self._rows[: place.tokens.stop - place.tokens.start]
            if place.rows.start == 0:
                rows.zero_()
            _add_product(rows, factor.t(), blocks.states[place.rows], scale)
            if place.rows.stop == len(blocks.states):
                self._weight[place.tokens] = rows
        if self._bias is not None:
            self._bias[place.tokens].add_(block.sum(0), alpha=scale)

    def finish(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The three gradients in the precision of what they belong to."""
        dtype = self._blocks.weight.dtype
        states, bias = (None if found is None else found.to(dtype) for found in (self._states, self._bias))
        return states, self._weight, bias


def _add_product(into: Tensor, left: Tensor, right: Tensor, scale: float) -> None:
    """`into += scale left @ right`, where `into` may be wider than the factors."""
    if into.dtype == left.dtype:
        into.addmm_(left, right, alpha=scale)
    else:
        into.add_(left @ right, alpha=scale)


def _by_block(banned_ids: Sequence[int], width: int, device: torch.device) -> dict[int, Int[Tensor, " X"]]:
    """The banned tokens as columns of the block that holds them."""
    columns: dict[int, list[int]] = {}
    for token in banned_ids:
        columns.setdefault(token // width, []).append(token % width)
    return {block: torch.tensor(found, device=device) for block, found in columns.items()}
