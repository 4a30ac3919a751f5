"""Targeted exploration: which prompts get extra rollouts, what is remembered of them, the weights of what comes back.

Accuracies are the verdicts alone (1.0 or 0.0): a format reward must not switch exploration off.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from uec_vlm.objective.ranges import Count, CountOrZero, Positive

BehaviourMode = Literal["behaviour", "recomputed", "truncated"]
WeightLevel = Literal["token", "sequence"]
MaskRatio = Annotated[float, Field(gt=1.0)]
SamplingTemperature = Annotated[float, Field(gt=0.0, le=5.0)]
PassRate = Annotated[float, Field(ge=0.0, lt=1.0)]


def nobody(accuracies_P_G: Sequence[Sequence[float]]) -> list[int]:
    """No prompt gets extra rollouts."""
    return []


def all_failed(accuracies_P_G: Sequence[Sequence[float]]) -> list[int]:
    """The prompts of which every regular rollout is wrong (UEC-RL, arXiv 2604.14646); one without rollouts is not."""
    return [index for index, group in enumerate(accuracies_P_G) if group and not any(group)]


def pass_rate_at_most(accuracies_P_G: Sequence[Sequence[float]], *, tau: PassRate = 0.2) -> list[int]:
    """The prompts whose share of right regular rollouts is at most tau, hardest first, then in order.

    tau: pass rate; 0 is `all_failed`.
    """
    rates = [sum(group) / len(group) if group else 1.0 for group in accuracies_P_G]
    return sorted((index for index, rate in enumerate(rates) if rate <= tau + 1e-9), key=lambda index: rates[index])


def everybody(accuracies_P_G: Sequence[Sequence[float]]) -> list[int]:
    """Every prompt gets extra rollouts (AEPO's second temperature)."""
    return list(range(len(accuracies_P_G)))


@dataclass(frozen=True)
class ExplorationSettings:
    """The settings that all difficulty rules share.

    completions: G', extra rollouts per prompt. temperature: T', of their sampling (times the controller's scale).
    max_rollouts: cap on the extra rollouts of a step; null for none. first_step, last_step: the steps (from 0) in which
    there is exploration, both included. baseline: the extra rollouts' advantages are taken inside their own group or
    inside the union with the prompt's regular group. patience: a prompt whose last `patience` explorations were all in
    vain is left alone for `rest` steps, then tried once more; null never leaves one alone.
    """

    completions: Count = 20
    temperature: SamplingTemperature = 1.2
    max_rollouts: CountOrZero | None = None
    first_step: CountOrZero = 0
    last_step: CountOrZero | None = None
    baseline: Literal["extra", "union"] = "extra"
    patience: Count | None = None
    rest: Count = 50


@dataclass(frozen=True)
class PromptHistory:
    """What earlier epochs learned about a prompt id: [explorations in vain since a success, step of the last one].

    State of the training (checkpoint); JSON-serialisable as it is.
    """

    in_vain: Mapping[str, tuple[int, int]]


EMPTY_HISTORY = PromptHistory(in_vain={})


def choose_prompts(
    accuracies_P_G: Sequence[Sequence[float]],
    *,
    rule: Callable[[Sequence[Sequence[float]]], list[int]],
    settings: ExplorationSettings,
    step: int,
    scale: float = 1.0,
    prompt_ids: Sequence[str] = (),
    history: PromptHistory = EMPTY_HISTORY,
) -> list[int]:
    """Indices of the prompts that get extra rollouts now: the rule, then the schedule, the history, the share, the cap.

    scale: the controller's: up to 1 the share of the difficult prompts to explore, the first ones of the rule's order;
    beyond 1, all of them and that share (less 1) of the other prompts, lowest pass rate first; 2 is everybody.
    prompt_ids: one per prompt; () does without history.
    """
    if step < settings.first_step or (settings.last_step is not None and step > settings.last_step):
        return []
    awake = [
        index
        for index in range(len(accuracies_P_G))
        if not prompt_ids or not _resting(prompt_ids[index], history, settings, step)
    ]
    chosen = [index for index in rule(accuracies_P_G) if index in set(awake)]
    if scale < 1.0:
        chosen = chosen[: int(scale * len(chosen) + 0.5)]
    elif scale > 1.0:
        rates = [sum(group) / len(group) if group else 1.0 for group in accuracies_P_G]
        others = sorted(set(awake) - set(chosen), key=lambda index: (rates[index], index))
        chosen = chosen + others[: int((scale - 1.0) * len(others) + 0.5)]
    if settings.max_rollouts is not None:
        chosen = chosen[: settings.max_rollouts // settings.completions]
    return chosen


def record_exploration(
    history: PromptHistory, prompt_ids: Sequence[str], solved: Sequence[bool], *, step: int
) -> PromptHistory:
    """The history after these prompts were explored in this step; a solved prompt starts anew."""
    updated = dict(history.in_vain)
    for name, success in zip(prompt_ids, solved, strict=True):
        if success:
            updated.pop(name, None)
        else:
            updated[name] = (updated.get(name, (0, 0))[0] + 1, step)
    return replace(history, in_vain=updated)


def importance_weights(
    old_at_training_temperature: Float[Tensor, " T"],
    behaviour: Float[Tensor, " T"],
    *,
    mode: BehaviourMode = "truncated",
    cap: Positive = 2.0,
    level: WeightLevel = "token",
    mask_ratio: MaskRatio | None = None,
) -> tuple[Float[Tensor, " T"], Float[Tensor, " T"]]:
    """Old log-probabilities and per-token weights of a completion that was sampled from another distribution.

    old_at_training_temperature: log pi_old at the training temperature. behaviour: log-probabilities at sampling.
    mode: "behaviour" takes the ratio against what sampled (weights 1); "recomputed" against pi_old as if it had
    sampled (weights 1: biased, the released code's way); "truncated" against pi_old with the constant weight
    min(pi_old / behaviour, cap) (truncated importance sampling, Ionides 2008). cap: of that weight.
    level: pi_old / behaviour is that of each token, or the product over the sequence for all of its tokens.
    mask_ratio: r; where pi_old / behaviour, at that level, is above r or below 1 / r, the weight is 0 in every mode:
    such tokens (sequences) teach nothing, and still count in the denominators.
    """
    old, sampled = old_at_training_temperature.detach(), behaviour.detach()
    apart = old - sampled
    if level == "sequence":
        apart = apart.sum().expand(apart.shape)
    weights = apart.clamp(max=20.0).exp().clamp(max=cap) if mode == "truncated" else torch.ones_like(apart)
    if mask_ratio is not None:
        weights = weights.masked_fill(apart.abs() > math.log(mask_ratio), 0.0)
    return (sampled if mode == "behaviour" else old), weights


def _resting(name: str, history: PromptHistory, settings: ExplorationSettings, step: int) -> bool:
    failures, last = history.in_vain.get(name, (0, 0))
    return settings.patience is not None and failures >= settings.patience and step - last <= settings.rest


EXPLORATION: dict[str, Callable[..., list[int]]] = {
    "none": nobody,
    "all_failed": all_failed,
    "pass_rate_at_most": pass_rate_at_most,
    "everybody": everybody,
}
