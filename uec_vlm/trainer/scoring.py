"""Scoring of completions by the policy and by the reference; the ranks share the work and all get the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from uec_vlm.batches import collate_completions, cut_for_ranks
from uec_vlm.policy import Policy, head_calls, score
from uec_vlm.records import CompletionBatch, Prompt, Rollout, Sample, TokenScores, Trajectory
from uec_vlm.trainer.blank import with_blank
from uec_vlm.trainer.exchange import light
from uec_vlm.trainer.fixed_order import fixed_order
from uec_vlm.trainer.ranks import Ranks

Forward = Callable[[Callable[[], Any]], Any]


@dataclass(frozen=True)
class SequenceScores:
    """What the policy says of one completion, on the CPU (see `TokenScores`)."""

    logprobs: Float[Tensor, " T"]
    entropy: Float[Tensor, " T"]
    moment: Float[Tensor, " T"]


@dataclass(frozen=True)
class Scorer:
    """Scores micro-batches by a policy.

    run: how its forward is called (`Learner.run`). together: whether the ranks' forwards are one act (training, or
    weights that are sharded): then each forward has the same form on every rank. around: what holds during a forward
    (an adapter switched off). during: what holds while many are scored (weights brought to the GPU). most: where
    weights are sharded, the largest of the numbers that the ranks give it. deterministic: whether gradients on a GPU
    are the same at every run; then forwards, too, choose their kernels as backward passes do, in which checkpointing
    makes them again.
    """

    policy: Policy
    temperature: float
    run: Forward = field(default=lambda work: work())
    together: bool = False
    around: Callable[[], AbstractContextManager[Any]] = nullcontext
    during: Callable[[], AbstractContextManager[Any]] = nullcontext
    most: Callable[[int], int] | None = None
    deterministic: bool = True

    def __call__(
        self,
        batch: CompletionBatch | None,
        *,
        pictured: bool,
        entropy_gradient: bool = False,
        want_entropy: bool = True,
    ) -> TokenScores:
        """The scores of a micro-batch. None: a rank without one takes part, and gets scores of no completion.

        pictured: whether any rank may have pictures in this round.
        """
        asked = with_blank(self.policy, batch, pictured=pictured) if self.together or batch is None else batch
        parts = self.most(head_calls(asked)) if self.most is not None else None

        def work() -> tuple[Tensor, Tensor, Tensor]:
            with self.around():
                scores = score(
                    self.policy,
                    asked,
                    temperature=self.temperature,
                    entropy_gradient=entropy_gradient,
                    want_entropy=want_entropy,
                    parts=parts,
                )
            return scores.logprobs, scores.entropy, scores.moment

        rows, width = batch.completion_ids.shape if batch is not None else (0, 0)
        with fixed_order(self.policy.device, wanted=self.deterministic):
            return TokenScores(*(values[:rows, :width] for values in self.run(work)))


@dataclass(frozen=True)
class Sharing:
    """What is needed to share out forwards: the ranks, how a prompt's pictures are made again, the token budget."""

    ranks: Ranks
    render: Callable[[Sample], Prompt]
    budget: int

    def micro_batches(self, rollouts: Sequence[Rollout]) -> list[list[int]]:
        """This rank's micro-batches as places; as many as on every rank, perhaps empty ones at the end."""
        return cut_for_ranks(rollouts, budget=self.budget, ranks=self.ranks.world)[self.ranks.rank]

    def whole(self, prompt: Prompt) -> Prompt:
        """The prompt with its pictures, which are not kept where several ranks share the work."""
        stripped = len(prompt.image_grid_thw) > 0 and len(prompt.pixel_values) == 0
        return self.render(prompt.sample) if stripped else prompt

    def remember(self, sample: Sample) -> Prompt:
        """The prompt of a sample as it is kept: without pictures where several ranks share the work."""
        prompt = self.render(sample)
        return light(prompt) if self.ranks.world > 1 else prompt

    def whole_trajectory(self, trajectory: Trajectory) -> Trajectory:
        """The trajectory with the pictures of its prompt."""
        rollout = trajectory.judged.rollout
        prompt = self.whole(rollout.prompt)
        if prompt is rollout.prompt:
            return trajectory
        return replace(trajectory, judged=replace(trajectory.judged, rollout=replace(rollout, prompt=prompt)))

    def collate(self, rollouts: Sequence[Rollout]) -> CompletionBatch:
        """The micro-batch of these rollouts."""
        return collate_completions([r.completion_ids for r in rollouts], [self.whole(r.prompt) for r in rollouts])


def has_pictures(rollouts: Sequence[Rollout]) -> bool:
    """Whether any of their prompts has a picture."""
    return any(len(rollout.prompt.image_grid_thw) > 0 for rollout in rollouts)


@torch.no_grad()
def score_rollouts(scorer: Scorer, rollouts: Sequence[Rollout], *, sharing: Sharing) -> list[SequenceScores]:
    """Log-probabilities, exact entropy and moment of every rollout, by the weights of now."""
    return [SequenceScores(*parts) for parts in _scored(scorer, rollouts, sharing, want_entropy=True)]


def score_with_graph(
    scorer: Scorer, rollouts: Sequence[Rollout], *, sharing: Sharing, entropy_gradient: bool
) -> tuple[list[SequenceScores], TokenScores] | None:
    """As `score_rollouts`, and the padded scores with their graph; None where they are more than one micro-batch."""
    if len(sharing.micro_batches(rollouts)) != 1:
        return None
    batch = sharing.collate(rollouts)
    scores = scorer(batch, pictured=has_pictures(rollouts), entropy_gradient=entropy_gradient)
    parts = [values.detach().cpu() for values in (scores.logprobs, scores.entropy, scores.moment)]
    lengths = batch.completion_mask.sum(1).tolist()
    return [SequenceScores(*(p[row, :n].clone() for p in parts)) for row, n in enumerate(lengths)], scores


@torch.no_grad()
def score_logprobs(scorer: Scorer, rollouts: Sequence[Rollout], *, sharing: Sharing) -> list[Float[Tensor, " T"]]:
    """Log-probabilities alone (of the reference policy, say)."""
    return [parts[0] for parts in _scored(scorer, rollouts, sharing, want_entropy=False)]


def _scored(
    scorer: Scorer, rollouts: Sequence[Rollout], sharing: Sharing, *, want_entropy: bool
) -> list[tuple[Tensor, ...]]:
    mine: dict[int, tuple[Tensor, ...]] = {}
    pictured = has_pictures(rollouts)
    with scorer.during():
        for places in sharing.micro_batches(rollouts):
            if not places and not scorer.together:
                continue
            batch = sharing.collate([rollouts[place] for place in places]) if places else None
            scores = scorer(batch, pictured=pictured, want_entropy=want_entropy)
            kept = (scores.logprobs, scores.entropy, scores.moment) if want_entropy else (scores.logprobs,)
            parts = [values.cpu() for values in kept]
            for row, place in enumerate(places):
                length = len(rollouts[place].completion_ids)
                mine[place] = tuple(values[row, :length].clone() for values in parts)
    found = sharing.ranks.joined(mine)
    return [found[place] for place in range(len(rollouts))]
