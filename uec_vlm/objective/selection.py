"""From a judged group to the trajectories that are trained on: reward, advantage, retention, old log-probabilities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from uec_vlm.objective.compose import Objective
from uec_vlm.objective.exploration import importance_weights
from uec_vlm.objective.kl import penalised_rewards
from uec_vlm.objective.registry import settings_of
from uec_vlm.records import Judged, Source, Trajectory


@dataclass(frozen=True)
class Choice:
    """Which completions of a group are kept, before anything is scored for them.

    advantages: of all G. kept: True stays. reasons: why each of the others went ("no_advantage", "below_threshold",
    "truncated"), by its place. The advantage of a truncated completion is 0 where retention masks it.
    """

    advantages: Float[Tensor, " G"]
    kept: Bool[Tensor, " G"]
    reasons: Mapping[int, str]

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many went, by reason."""
        return dict(Counter(self.reasons.values()))

    @property
    def indices(self) -> list[int]:
        """Places of the kept completions in the group."""
        return [int(index) for index in self.kept.nonzero().flatten()]


@dataclass(frozen=True)
class Selection:
    """The trajectories of a group, with the choice that they come from."""

    kept: list[Trajectory]
    choice: Choice

    @property
    def advantages(self) -> Float[Tensor, " G"]:
        """Of all G."""
        return self.choice.advantages

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many went, by reason."""
        return self.choice.dropped


def group_rewards(
    group: Sequence[Judged],
    *,
    objective: Objective,
    limit: int = 0,
    logprobs: Sequence[Float[Tensor, " _"]] | None = None,
    reference_logprobs: Sequence[Float[Tensor, " _"]] | None = None,
) -> Float[Tensor, " G"]:
    """The rewards of a group after the objective's shaping, in float64. limit: as in `choose`.

    logprobs, reference_logprobs: of every completion, by the policy that sampled and by the reference, at the training
    temperature; needed where `objective.penalises_reward`, and not read elsewhere. Extra rollouts are sampled at
    another temperature: of theirs too the penalty compares the two policies at the training temperature.
    """
    if limit < 1 and settings_of(objective.reward_shaping)["overlong_share"]:
        raise ValueError("this objective punishes length: give the limit of completion tokens")
    shaped = [
        objective.reward_shaping(item.reward, item.accuracy, len(item.rollout.completion_ids), limit) for item in group
    ]
    rewards = torch.tensor(shaped, dtype=torch.float64)
    if not group or not objective.penalises_reward:
        return rewards
    if logprobs is None or reference_logprobs is None:
        raise ValueError("this objective has a KL penalty in the reward: logprobs and reference_logprobs must be given")
    return penalised_rewards(rewards, logprobs, reference_logprobs, estimator=objective.kl, coef=objective.kl_coef)


def choose(
    group: Sequence[Judged],
    *,
    source: Source,
    objective: Objective,
    union_with: Sequence[Judged] = (),
    rewards: Float[Tensor, " _"] | None = None,
    limit: int = 0,
) -> Choice:
    """Advantages and retention of one group (regular or extra). An empty group gives an empty choice.

    union_with: the prompt's regular group; used for extra rollouts where exploration.baseline is "union".
    rewards: of the group and then of `union_with`, from `group_rewards`; None makes them here, which is refused where
    `objective.penalises_reward`. limit: tokens that a completion could have, where the reward shaping punishes length.
    """
    if rewards is None:
        rewards = group_rewards((*group, *union_with), objective=objective, limit=limit)
    if len(rewards) != len(group) + len(union_with):
        raise ValueError(
            f"{len(rewards)} rewards for {len(group)} completions and {len(union_with)} of the union: need one each"
        )
    if objective.exploration_settings.baseline != "union" or source != "extra":
        rewards = rewards[: len(group)]
    advantage = objective.advantage if source == "regular" else objective.extra_advantage
    advantages = advantage(rewards)[: len(group)]
    accuracies = torch.tensor([item.accuracy for item in group], dtype=torch.float64)
    truncated = torch.tensor([item.rollout.finish == "length" for item in group], dtype=torch.bool)
    retain = objective.retention_regular if source == "regular" else objective.retention_extra
    kept = retain(advantages, accuracies, truncated)
    if settings_of(retain).get("truncated_answers") == "mask":
        advantages = advantages.masked_fill(truncated, 0.0)
    kept_if_finished = retain(advantages, accuracies, torch.zeros_like(truncated)) if truncated.any() else kept
    reasons = {
        place: "truncated" if would_stay else "no_advantage" if value == 0.0 else "below_threshold"
        for place, (stays, would_stay, value) in enumerate(
            zip(kept.tolist(), kept_if_finished.tolist(), advantages.tolist(), strict=True)
        )
        if not stays
    }
    return Choice(advantages, kept, reasons)


def make_trajectories(
    group: Sequence[Judged],
    choice: Choice,
    *,
    source: Source,
    objective: Objective,
    step: int,
    old_logprobs: Sequence[Float[Tensor, " _"]],
) -> list[Trajectory]:
    """The kept completions as trajectories.

    old_logprobs: of *every* completion of the group, by the policy that sampled it at the training temperature (where
    the mode is "behaviour" they are not read, and the behaviour log-probabilities may be given again).
    """
    mode = objective.old_logprobs.regular if source == "regular" else objective.old_logprobs.extra
    trajectories = []
    for index in choice.indices:
        behaviour = group[index].rollout.behaviour_logprobs
        old, weights = importance_weights(old_logprobs[index], behaviour, mode=mode, **objective.old_logprobs.limits)
        trajectories.append(Trajectory(group[index], float(choice.advantages[index]), old, weights, born=step))
    return trajectories


def group_trajectories(
    group: Sequence[Judged],
    *,
    source: Source,
    objective: Objective,
    step: int,
    old_logprobs: Sequence[Float[Tensor, " _"]],
    union_with: Sequence[Judged] = (),
    union_rewards: Float[Tensor, " U"] | None = None,
    reference_logprobs: Sequence[Float[Tensor, " _"]] | None = None,
    limit: int = 0,
) -> Selection:
    """`choose` and `make_trajectories` in one: a judged group in, its trajectories out.

    reference_logprobs: per completion, needed where `objective.penalises_reward`. union_rewards: of `union_with`, from
    `group_rewards`; None makes them here, as above.
    """
    own = group_rewards(
        group, objective=objective, limit=limit, logprobs=old_logprobs, reference_logprobs=reference_logprobs
    )
    others = group_rewards(union_with, objective=objective, limit=limit) if union_rewards is None else union_rewards
    rewards = torch.cat([own, others])
    choice = choose(group, source=source, objective=objective, union_with=union_with, rewards=rewards, limit=limit)
    kept = make_trajectories(group, choice, source=source, objective=objective, step=step, old_logprobs=old_logprobs)
    return Selection(kept, choice)


def refresh(trajectory: Trajectory, old_logprobs: Float[Tensor, " T"], *, objective: Objective) -> Trajectory:
    """The trajectory against the policy of now: old log-probabilities recomputed at the training temperature.

    For what waited in the queue, and for replay, where the mode there is "recomputed". The trajectory's own mode of
    `importance_weights` stays: a truncated weight is taken anew against what sampled the tokens, and with "behaviour"
    the ratio is still taken against that; recomputed without a weight, rare completions would count too often.
    """
    rollout = trajectory.judged.rollout
    mode = objective.old_logprobs.regular if rollout.source == "regular" else objective.old_logprobs.extra
    old, weights = importance_weights(
        old_logprobs,
        rollout.behaviour_logprobs,
        mode=mode,
        **objective.old_logprobs.limits,
    )
    return replace(trajectory, old_logprobs=old, importance_weights=weights)


def staleness(trajectories: Sequence[Trajectory], *, step: int) -> tuple[float, float]:
    """(sum of ages in steps, number of trajectories): the mean age of what is trained on, as (sum, weight)."""
    return float(sum(step - item.born for item in trajectories)), float(len(trajectories))
