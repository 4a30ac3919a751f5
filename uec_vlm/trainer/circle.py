"""The stations of one run, bound and ready: what the loop is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor

from uec_vlm.objective import Objective
from uec_vlm.policy import Policy
from uec_vlm.records import CompletionBatch, Judged, Prompt, Rollout, Sample
from uec_vlm.rollouts import RolloutEngine, SamplingSettings


@dataclass(frozen=True)
class StepSettings:
    """The numbers of one step.

    prompts: P. completions: G. sequences: completions per optimizer step. micro_batch_tokens: of one forward.
    realised_dh_every, realised_dh_rollouts: how often, and on how many rollouts, the realised change of entropy is
    measured (0: never).
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


@dataclass(frozen=True)
class Circle:
    """Stations and settings of a run. reference: log-probabilities of the reference policy, None where none is used."""

    policy: Policy
    engine: RolloutEngine
    samples: Sequence[Sample]
    render: Callable[[Sample], Prompt]
    judge: Callable[[Sequence[Rollout]], list[Judged]]
    objective: Objective
    reference: Callable[[CompletionBatch], Tensor] | None
    optimizer: torch.optim.Optimizer
    accelerator: Accelerator
    settings: StepSettings
