"""Checks of the objective: parts that bind and yet do together what nobody wants."""

from __future__ import annotations

from collections.abc import Iterator

from uec_vlm.config import RunConfig
from uec_vlm.objective import POLICY_LOSSES, RETENTION, Objective, build_objective
from uec_vlm.objective.registry import unbound
from uec_vlm.preflight.findings import Finding


def objective(config: RunConfig) -> Iterator[Finding]:
    """A loss that has no effect on-policy; wrong answers that extra rollouts would be kept for."""
    built = build_objective(config.objective)
    found = [*_inert_penalty(config, built), *_wrong_answers_kept(config, built)]
    yield from found or [Finding("objective", "ok", "its parts go together")]


def _inert_penalty(config: RunConfig, built: Objective) -> Iterator[Finding]:
    update, rollout = config.update, config.rollout
    unit = rollout.per_step
    one_step = update.epochs == 1 and (update.sequences_per_optimizer_step or unit) >= unit
    if unbound(built.policy_loss) is POLICY_LOSSES["kl_cov"] and one_step:
        yield Finding(
            "objective", "warning",
            "objective.policy_loss = kl_cov with one optimizer step for all rollouts of a step: the policy is then the "
            "one that sampled, and the gradient of the penalty is 0",
            f"Set update.sequences_per_optimizer_step to a smaller divisor of {unit}, such as {_half(unit)}.",
        )  # fmt: skip


def _half(unit: int) -> int:
    return next(size for size in range(unit // 2, 0, -1) if unit % size == 0)


def _wrong_answers_kept(config: RunConfig, built: Objective) -> Iterator[Finding]:
    """Regular rollouts of a hard prompt were all wrong; so may its extra rollouts be, and differ by their format."""
    reward = config.reward
    others = ["reward.format_weight"] if reward.format_weight else []
    others += ["reward.functions"] if reward.functions else []
    if built.explores and others and unbound(built.retention_extra) is not RETENTION["correct"]:
        yield Finding(
            "objective", "warning",
            f"{' and '.join(others)} with objective.retention.extra = {built.names['retention.extra']}: of extra "
            "rollouts that are all wrong, those that the rest of the reward favours are trained on",
            "Set objective.retention.extra = correct, unless that is wanted.",
        )  # fmt: skip
