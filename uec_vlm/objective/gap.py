"""How far the sampler's log-probabilities are from the policy's: the sign of wrong or old weights in the sampler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Gap:
    """Absolute differences of the log-probabilities of the same tokens, in nats per token; total over all tokens."""

    tokens: int
    total: float
    median: float
    p99: float
    largest: float


def gap_of(behaviour: Sequence[Float[Tensor, " _"]], policy: Sequence[Float[Tensor, " _"]]) -> Gap:
    """The gap between what tokens were drawn with and what the policy gives them, one entry per completion.

    median, p99: the smallest difference that half, or 99 of 100, of the tokens do not exceed. 0 without any token.
    """
    pairs = zip(behaviour, policy, strict=True)
    apart = torch.cat([torch.zeros(0), *((ours - theirs).abs().float() for theirs, ours in pairs)]).sort().values
    if len(apart) == 0:
        return Gap(0, 0.0, 0.0, 0.0, 0.0)
    median, p99 = (float(apart[-(-len(apart) * share // 100) - 1]) for share in (50, 99))
    return Gap(len(apart), float(apart.sum()), median, p99, float(apart[-1]))
