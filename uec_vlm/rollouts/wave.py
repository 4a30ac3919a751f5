"""Completions that are sampled together: what is drawn for each, and which of them go on."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from uec_vlm.rollouts.decode import Decoder
from uec_vlm.rollouts.engine import SamplingSettings
from uec_vlm.rollouts.sampling import choose


class Wave:
    """The rows under way. All of it is changed in place, token by token, so that a step can be recorded."""

    def __init__(
        self,
        policy: Any,
        decoder: Decoder,
        hidden: Float[Tensor, "R H"],
        uniforms: Float[Tensor, "R T"],
        sampling: SamplingSettings,
    ) -> None:
        """Take the states that predict each row's first token, and the numbers that decide its tokens."""
        device = hidden.device
        self._policy, self._decoder, self._sampling = policy, decoder, sampling
        self._hidden, self._uniforms = hidden, uniforms
        self._ends = torch.tensor(policy.end_ids, device=device)
        self._banned: Bool[Tensor, " V"] | None = None
        self._at = torch.zeros(1, dtype=torch.long, device=device)
        self._rows = torch.arange(len(hidden), device=device)
        self._alive = torch.ones(len(hidden), dtype=torch.bool, device=device)
        self._tokens = torch.zeros(uniforms.shape, dtype=torch.long, device=device)
        self._logprobs = torch.zeros(uniforms.shape, dtype=torch.float32, device=device)
        self._lengths = torch.zeros(len(hidden), dtype=torch.long, device=device)

    def __len__(self) -> int:
        """Rows that are decoded, those that have ended and not left among them."""
        return len(self._rows)

    @property
    def going_on(self) -> int:
        """Rows that have not ended."""
        return int(self._alive.sum())

    def draw(self) -> Int[Tensor, " R"]:
        """Draw the next token of every row.

        A row that has ended goes on until it leaves; what it makes is cut off by its length.
        """
        logits = self._policy.logits(self._hidden)
        if self._banned is None:
            self._banned = _banned_mask(self._policy.banned_ids, logits)
        rows, at, sampling = self._rows, self._at, self._sampling
        tokens, logprobs = choose(
            logits, self._uniforms[rows, at], self._banned, temperature=sampling.temperature, top_p=sampling.top_p
        )
        self._tokens[rows, at], self._logprobs[rows, at] = tokens, logprobs
        self._lengths[rows] += self._alive
        self._alive.logical_and_((tokens.unsqueeze(1) != self._ends).all(1))
        at.add_(1)
        return tokens

    def read(self, tokens: Int[Tensor, " R"]) -> None:
        """Let the decoder read the tokens that were drawn."""
        self._hidden.copy_(self._decoder.step(tokens))

    def draw_and_read(self) -> None:
        """A whole step."""
        self.read(self.draw())

    def leave(self, tokens: Int[Tensor, " R"] | None = None) -> Int[Tensor, " K"] | None:
        """Take the rows that have ended out; returns the tokens of those that stay."""
        keep = self._alive.nonzero().squeeze(-1)
        self._rows, self._alive, self._hidden = self._rows[keep], self._alive[keep], self._hidden[keep]
        self._decoder.keep(keep)
        return None if tokens is None else tokens[keep]

    def drawn(self) -> list[tuple[Int[Tensor, " _"], Float[Tensor, " _"]]]:
        """The tokens of every row with the log-probabilities they were drawn with, on the CPU."""
        cut = zip(self._tokens.cpu(), self._logprobs.cpu(), self._lengths.tolist(), strict=True)
        return [(tokens[:length].clone(), logprobs[:length].clone()) for tokens, logprobs, length in cut]


def _banned_mask(banned_ids: tuple[int, ...], logits: Float[Tensor, "B V"]) -> Bool[Tensor, " V"]:
    banned = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
    banned[list(banned_ids)] = True
    return banned
