"""Station 5: rewards in, advantages and kept trajectories out; token scores in, a loss and named measurements out.

Pure functions on literal registries, one per axis; the keyword-only parameters of an entry are its settings. Imports
torch and nothing of the model world, so it serves any training loop (`docs/objective.md`). An algorithm is one choice
on each axis: `build_objective` binds the choices of a configuration, `configs/presets/` holds the known ones.
"""

from uec_vlm.objective.advantages import ADVANTAGES
from uec_vlm.objective.compose import Objective, build_objective, resolved
from uec_vlm.objective.context import StepContext, step_context
from uec_vlm.objective.control import CONTROLLERS, ControllerState
from uec_vlm.objective.entropy import ENTROPY_TERMS, EntropyTerm, predicted_dh, pull_on_logprobs
from uec_vlm.objective.exploration import (
    EMPTY_HISTORY,
    EXPLORATION,
    PromptHistory,
    choose_prompts,
    importance_weights,
    record_exploration,
)
from uec_vlm.objective.gap import Gap, gap_of
from uec_vlm.objective.kl import KL, penalised_rewards
from uec_vlm.objective.loss import micro_batch_loss
from uec_vlm.objective.measure import Measurement, merge
from uec_vlm.objective.policy_losses import POLICY_LOSSES, PolicyLoss
from uec_vlm.objective.reduce import REDUCTIONS, StepTotals
from uec_vlm.objective.registry import bind
from uec_vlm.objective.replay import REPLAY, ReplayBuffer, ReplaySettings, draw, due, push
from uec_vlm.objective.retention import RETENTION, DynamicSampling, RefillDecision, refill, take_batches
from uec_vlm.objective.rewards import shaped_reward, soft_overlong_penalty
from uec_vlm.objective.selection import (
    Choice,
    Selection,
    choose,
    group_rewards,
    group_trajectories,
    make_trajectories,
    refresh,
    staleness,
)

__all__ = [
    "ADVANTAGES", "CONTROLLERS", "EMPTY_HISTORY", "ENTROPY_TERMS", "EXPLORATION", "KL", "POLICY_LOSSES", "REDUCTIONS",
    "REPLAY", "RETENTION", "Choice", "ControllerState", "DynamicSampling", "EntropyTerm", "Gap", "Measurement",
    "Objective", "PolicyLoss", "PromptHistory", "RefillDecision", "ReplayBuffer", "ReplaySettings", "Selection",
    "StepContext", "StepTotals", "bind", "build_objective", "choose", "choose_prompts", "draw", "due", "gap_of",
    "group_rewards", "group_trajectories", "importance_weights", "make_trajectories", "merge", "micro_batch_loss",
    "penalised_rewards", "predicted_dh", "pull_on_logprobs", "push", "record_exploration", "refill", "refresh",
    "resolved", "shaped_reward", "soft_overlong_penalty", "staleness", "step_context", "take_batches",
]  # fmt: skip
