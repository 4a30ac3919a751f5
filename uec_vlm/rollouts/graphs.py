"""Decoding on a GPU as one launch a token: the kernels of a token are recorded once, and then replayed.

A small model's step is hundreds of kernels that each take less time than Python needs to ask for them. A CUDA graph
holds them all. What a replay reads must lie where it lay when the graph was recorded: so the place of the new token is
a number on the device, and a row's own keys are read at their full width under a mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from uec_vlm.rollouts.decode import LeanDecoder, ReadPrompts, attend
from uec_vlm.rollouts.layers import TextModel


class StaticDecoder(LeanDecoder):
    """The lean decoder, each of whose steps is the same kernels on the same memory until rows leave or room is made."""

    def __init__(self, model: TextModel, read: ReadPrompts, index: Int[Tensor, " R"], *, new_tokens: int) -> None:
        """See `LeanDecoder`."""
        super().__init__(model, read, index, new_tokens=new_tokens)
        self._at = torch.zeros(1, dtype=torch.long, device=index.device)

    @property
    def is_full(self) -> bool:
        """Whether the next step makes room, so that a recorded one cannot be replayed."""
        return self._length >= self._own[0][0].shape[2]

    def replayed(self) -> None:
        """Tell that a recorded step has run again."""
        self._length += 1

    def recorded(self) -> None:
        """Tell that a step was recorded, which does not run it."""
        self._length -= 1

    def _turns(self) -> tuple[Float[Tensor, "R 1 d"], Float[Tensor, "R 1 d"]]:
        return self._cos.index_select(1, self._at).squeeze(1), self._sin.index_select(1, self._at).squeeze(1)

    def _move_on(self) -> None:
        super()._move_on()
        self._at.add_(1)

    def _write(self, held: Float[Tensor, "R h T d"], new: Float[Tensor, "R h d"]) -> None:
        held.index_copy_(2, self._at, new.unsqueeze(2).to(held))

    def _attend_own(
        self, query: Float[Tensor, "R h g d"], keys: Float[Tensor, "R h T d"], values: Float[Tensor, "R h T d"]
    ) -> tuple[Float[Tensor, "R h g d"], Float[Tensor, "R h g"]]:
        later = torch.arange(keys.shape[2], device=keys.device) > self._at
        bias = torch.zeros(later.shape, dtype=keys.dtype, device=keys.device).masked_fill(later, float("-inf"))
        return attend(query, keys, values, bias[None, None, None], scale=self._model.scale)

    def _fresh(self, like: Tensor, shape: Sequence[int]) -> Tensor:
        # What is masked is still multiplied, by 0: it must be a number.
        return like.new_zeros(shape)


class Tape:
    """The stream on which an engine records, and its newest recording: the next one is made in that one's memory.

    A recording keeps the memory it needs for itself; without a common one, every recording would add its own.
    """

    def __init__(self, device: torch.device) -> None:
        """Take the GPU."""
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.newest: torch.cuda.CUDAGraph | None = None

    def record(self, work: Callable[[], object]) -> torch.cuda.CUDAGraph:
        """Record what `work` asks the GPU for, without doing it; older recordings must not be replayed any more."""
        graph = torch.cuda.CUDAGraph()
        memory = None if self.newest is None else self.newest.pool()
        graph.capture_begin(memory, capture_error_mode="thread_local")
        try:
            work()
        finally:
            graph.capture_end()
        self.newest = graph
        return graph


class Recorder:
    """Runs a step again and again, from a recording where there is one; a class because it holds that."""

    def __init__(self, work: Callable[[], object], decoder: StaticDecoder, tape: Tape) -> None:
        """Take what a step does, which takes nothing and works in place, and where it is recorded."""
        self._work = work
        self._decoder = decoder
        self._tape = tape
        self._graph: torch.cuda.CUDAGraph | None = None

    def step(self) -> None:
        """Replay the step; the first one after a change runs as it is, and is recorded behind it."""
        if self._graph is not None and not self._decoder.is_full:
            self._graph.replay()
            self._decoder.replayed()
            return
        self._graph = None
        stream = self._tape.stream
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._work()
            if not self._decoder.is_full:
                self._graph = self._tape.record(self._work)
                self._decoder.recorded()
        torch.cuda.current_stream().wait_stream(stream)

    def changed(self) -> None:
        """Tell that rows have left, so that other memory is worked on."""
        self._graph = None
