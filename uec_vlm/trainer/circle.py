"""The stations of one run, bound and ready: what the loop is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from uec_vlm.batches import PromptReader
from uec_vlm.objective import Objective
from uec_vlm.policy import Policy
from uec_vlm.records import Judged, Prompt, Rollout, Sample
from uec_vlm.rollouts import RolloutEngine, SamplingSettings
from uec_vlm.trainer.learner import Learner
from uec_vlm.trainer.ranks import Ranks
from uec_vlm.trainer.scoring import Scorer, Sharing


@dataclass(frozen=True)
class StepSettings:
    """The numbers of one step.

    prompts: P. completions: G. sequences: completions per optimizer step. micro_batch_tokens: of one forward.
    realised_dh_every, realised_dh_rollouts: how often, and on how many rollouts, the realised change of entropy is
    measured (0: never). share_forward: whether the update may begin with the forward that scored the rollouts.
    deterministic: whether gradients on a GPU are the same at every run.
    """

    seed: int
    prompts: int
    completions: int
    sampling: SamplingSettings
    epochs: int
    sequences: int
    micro_batch_tokens: int
    learning_rate: float
    warmup_steps: int
    max_grad_norm: float
    realised_dh_every: int
    realised_dh_rollouts: int
    share_forward: bool = True
    deterministic: bool = True


@dataclass(frozen=True)
class Circle:
    """Stations and settings of a run.

    learner: the policy under the engine that trains it. reference: the reference policy, None where none is used.
    prompts: of the training samples, by place, those of the next step made ahead.
    """

    learner: Learner
    engine: RolloutEngine
    render: Callable[[Sample], Prompt]
    prompts: PromptReader
    judge: Callable[[Sequence[Rollout]], list[Judged]]
    objective: Objective
    reference: Scorer | None
    settings: StepSettings

    @property
    def samples(self) -> Sequence[Sample]:
        """The training samples."""
        return self.prompts.samples

    @property
    def policy(self) -> Policy:
        """The policy, whose weights may be shards."""
        return self.learner.policy

    @property
    def optimizer(self) -> Any:
        """The optimizer, as accelerate prepared it."""
        return self.learner.optimizer

    @property
    def ranks(self) -> Ranks:
        """The processes of the run."""
        return self.learner.ranks

    @property
    def scorer(self) -> Scorer:
        """Scores by the policy at the training temperature."""
        settings = self.settings
        return self.learner.scorer(settings.sampling.temperature, deterministic=settings.deterministic)

    @property
    def sharing(self) -> Sharing:
        """How forwards are shared out."""
        return Sharing(self.ranks, self.render, self.settings.micro_batch_tokens)

    def refill_engine(self, version: int) -> None:
        """The rollout engine samples with the weights of now."""
        self.engine.load_weights(self.learner.sampler(), version=version)
