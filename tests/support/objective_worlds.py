"""Small worlds for the tests of the objective: judged completions, micro-batches, table policies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from uec_vlm.objective import ControllerState, Objective, StepContext, StepTotals, build_objective, step_context
from uec_vlm.records import (
    CompletionBatch,
    FinishReason,
    Judged,
    Prompt,
    Rollout,
    Sample,
    Source,
    TokenScores,
    TrainBatch,
    Trajectory,
    Verdict,
)

PLAIN: dict[str, Any] = {
    "advantage": "group_normalised",
    "policy_loss": "clipped_ratio",
    "reduction": "token_mean",
}


def objective(**sections: Any) -> Objective:
    """A plain objective (group-normalised advantage, clipped ratio, token mean) with some sections replaced."""
    return build_objective(PLAIN | sections)


def judged(
    accuracy: float,
    *,
    source: Source = "regular",
    finish: FinishReason = "stop",
    length: int = 3,
    behaviour: Tensor | None = None,
    reward: float | None = None,
    name: str = "problem",
) -> Judged:
    """One judged completion; its reward is its accuracy unless given."""
    nothing = torch.zeros(0, dtype=torch.long)
    prompt = Prompt(Sample(name, "world", "", ""), "", nothing, torch.zeros(0, 1), nothing.reshape(0, 3))
    logprobs = torch.full((length,), -1.0) if behaviour is None else behaviour
    rollout = Rollout(prompt, "", torch.arange(length), logprobs, finish, source, 1.0, 0)
    value = accuracy if reward is None else reward
    return Judged(rollout, Verdict(accuracy > 0, "", None), accuracy, 1.0, value)


def group(right: int, of: int, **settings: Any) -> list[Judged]:
    """`of` completions of a prompt, the first `right` of them right."""
    return [judged(float(index < right), **settings) for index in range(of)]


def trajectory(advantage: float, *, born: int = 0, uses: int = 0, name: str = "problem", length: int = 3) -> Trajectory:
    """A trajectory with that advantage."""
    item = judged(float(advantage > 0), name=name, length=length)
    return Trajectory(item, advantage, item.rollout.behaviour_logprobs, torch.ones(length), born, uses)


def train_batch(
    advantages: Sequence[float], old_logprobs: Tensor, mask: Tensor, weights: Tensor | None = None
) -> TrainBatch:
    """A micro-batch around these tensors, sampled by the old policy; ids and prompts stay empty of meaning."""
    ids = torch.zeros(mask.shape, dtype=torch.long)
    completions = CompletionBatch((), torch.zeros(len(mask), dtype=torch.long), ids, mask)
    ones = torch.ones_like(old_logprobs) if weights is None else weights
    return TrainBatch(completions, torch.tensor(advantages, dtype=old_logprobs.dtype), old_logprobs, ones, old_logprobs)


class Step:
    """A random optimizer step of ragged sequences, cut and ordered at will.

    logprobs, old_logprobs, entropy, moment, reference: one unpadded tensor per sequence, in float64.
    """

    def __init__(self, *, seed: int, lengths: Sequence[int], drift: float = 0.3) -> None:
        generator = torch.Generator().manual_seed(seed)

        def rows(scale: float = 1.0, shift: float = 0.0) -> list[Tensor]:
            return [torch.rand(length, generator=generator, dtype=torch.float64) * scale + shift for length in lengths]

        self.lengths = list(lengths)
        self.logprobs = [-2.0 * row - 0.05 for row in rows()]
        self.old_logprobs = [
            row + drift * (2.0 * noise - 1.0) for row, noise in zip(self.logprobs, rows(), strict=True)
        ]
        self.reference = [row + 0.4 * (noise - 0.5) for row, noise in zip(self.logprobs, rows(), strict=True)]
        self.entropy = [row.requires_grad_(True) for row in rows(1.5)]
        self.moment = rows(0.2, -0.1)
        self.weights = rows(1.0, 0.5)
        signs = torch.randn(len(lengths), generator=generator, dtype=torch.float64)
        self.advantages = [float(value) for value in signs]
        self.context: StepContext = step_context(
            self.logprobs, self.old_logprobs, self.advantages, self.entropy, generator=generator
        )

    @property
    def totals(self) -> StepTotals:
        """Tokens and sequences of the whole step."""
        return StepTotals(tokens=sum(self.lengths), sequences=len(self.lengths))

    def micro_batch(
        self, rows: Sequence[int], leaves: Sequence[Tensor], *, width: int | None = None, padding: float = 0.0
    ) -> tuple[TokenScores, TrainBatch, Tensor]:
        """The rows as padded tensors; `leaves` are the log-probabilities per sequence that carry the gradient."""
        width = max([self.lengths[row] for row in rows], default=0) if width is None else width

        def padded(parts: Sequence[Tensor], fill: float) -> Tensor:
            return torch.stack(
                [torch.nn.functional.pad(parts[row], (0, width - self.lengths[row]), value=fill) for row in rows]
            )

        mask = torch.tensor([[place < self.lengths[row] for place in range(width)] for row in rows])
        scores = TokenScores(padded(leaves, padding), padded(self.entropy, padding), padded(self.moment, padding))
        batch = train_batch(
            [self.advantages[row] for row in rows],
            padded(self.old_logprobs, padding),
            mask,
            padded(self.weights, 1.0 if padding == 0.0 else padding),
        )
        return scores, batch, padded(self.reference, padding)


CONTROLLED = ControllerState(entropy_coef=0.01, asymmetry=0.3)
