"""Stages 5-7 of a step: optimizer steps on a training batch, and the replay that stabilizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from uec_vlm.batches import collate, cut_rollouts, on_device
from uec_vlm.metrics import StepReport
from uec_vlm.objective import (
    ControllerState,
    Measurement,
    StepContext,
    StepTotals,
    merge,
    micro_batch_loss,
    refresh,
    staleness,
    step_context,
)
from uec_vlm.policy import score
from uec_vlm.records import Trajectory
from uec_vlm.trainer.circle import Circle
from uec_vlm.trainer.scoring import score_rollouts
from uec_vlm.trainer.seeds import generator_for

# Measurements of the objective that are one number per source of trajectories, and the metrics they become.
_BY_SOURCE = {"predicted_dh": "predicted_dh", "staleness": "staleness_nats"}


@dataclass(frozen=True)
class Work:
    """One update: its trajectories, and where it stands in the run. kind: "train" or "replay"."""

    trajectories: Sequence[Trajectory]
    kind: str
    step: int
    optimizer_steps: int
    controller: ControllerState


def update(circle: Circle, work: Work, report: StepReport) -> int:
    """Trains on the trajectories of `work`, in optimizer steps of equal size; returns how many were made.

    An optimizer step whose loss or gradient is not finite is skipped and counted.
    """
    done = 0
    circle.policy.model.train()
    for epoch in range(circle.settings.epochs):
        generator = generator_for(circle.settings.seed, "update", work.kind, work.step, epoch)
        order = torch.randperm(len(work.trajectories), generator=generator).tolist()
        for start in range(0, len(order), circle.settings.sequences):
            part = [work.trajectories[place] for place in order[start : start + circle.settings.sequences]]
            done += _optimizer_step(circle, part, replace(work, optimizer_steps=work.optimizer_steps + done), report)
    circle.policy.model.eval()
    _report_update(report, work)
    return done


def refreshed(circle: Circle, trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """The trajectories with the old log-probabilities of the policy of now."""
    scores = score_rollouts(
        circle.policy,
        [t.judged.rollout for t in trajectories],
        temperature=circle.settings.sampling.temperature,
        budget=circle.settings.micro_batch_tokens,
    )
    return [refresh(t, s.logprobs, objective=circle.objective) for t, s in zip(trajectories, scores, strict=True)]


def _optimizer_step(circle: Circle, part: Sequence[Trajectory], work: Work, report: StepReport) -> int:
    settings = circle.settings
    rollouts = [trajectory.judged.rollout for trajectory in part]
    totals = StepTotals(
        tokens=sum(len(r.completion_ids) for r in rollouts),
        sequences=len(part),
        limit=settings.sampling.max_new_tokens,
    )
    context = _context(circle, part, work) if circle.objective.needs_context else None
    measured: list[dict[str, Measurement]] = []
    finite = True
    for rows in cut_rollouts(rollouts, budget=settings.micro_batch_tokens):
        loss, values = _micro_batch(circle, [part[row] for row in rows], rows, work, totals, context)
        finite = finite and bool(torch.isfinite(loss))
        circle.accelerator.backward(loss)
        measured.append(values)
    norm = circle.accelerator.clip_grad_norm_(circle.policy.model.parameters(), settings.max_grad_norm)
    finite = finite and norm is not None and math.isfinite(float(norm))
    if finite:
        rate = settings.learning_rate * min(1.0, (work.optimizer_steps + 1) / (settings.warmup_steps + 1))
        for group in circle.optimizer.param_groups:
            group["lr"] = rate
        circle.optimizer.step()
        report.add("update/learning_rate", rate)
        report.add("update/grad_norm", float(norm))
        _report_measured(report, merge(measured))
    else:
        report.add("update/skipped", 1)
    circle.optimizer.zero_grad(set_to_none=True)
    return int(finite)


def _micro_batch(
    circle: Circle,
    part: Sequence[Trajectory],
    rows: Sequence[int],
    work: Work,
    totals: StepTotals,
    context: StepContext | None,
) -> tuple[Tensor, dict[str, Measurement]]:
    objective = circle.objective
    batch = collate(part)
    scores = score(
        circle.policy,
        batch.completions,
        temperature=circle.settings.sampling.temperature,
        entropy_gradient=objective.entropy_gradient,
    )
    reference = None
    if circle.reference is not None and objective.needs_reference:
        with torch.no_grad():
            reference = circle.reference(batch.completions)
    return micro_batch_loss(
        scores,
        on_device(batch, scores.logprobs.device),
        reference,
        objective=objective,
        totals=totals,
        controller=work.controller,
        context=context.at(rows) if context is not None else None,
        sources=[_source(work, trajectory) for trajectory in part],
    )


def _context(circle: Circle, part: Sequence[Trajectory], work: Work) -> StepContext:
    """Scores the whole optimizer step once, for losses that need to know all of it."""
    circle.policy.model.eval()
    scores = score_rollouts(
        circle.policy,
        [trajectory.judged.rollout for trajectory in part],
        temperature=circle.settings.sampling.temperature,
        budget=circle.settings.micro_batch_tokens,
    )
    circle.policy.model.train()
    return step_context(
        [item.logprobs for item in scores],
        [trajectory.old_logprobs for trajectory in part],
        [trajectory.advantage for trajectory in part],
        [item.entropy for item in scores],
        generator=generator_for(circle.settings.seed, "context", work.optimizer_steps),
    )


def _source(work: Work, trajectory: Trajectory) -> str:
    return "replay" if work.kind == "replay" else trajectory.judged.rollout.source


def _report_update(report: StepReport, work: Work) -> None:
    report.add("update/trajectories", len(work.trajectories))
    report.add("update/tokens", sum(len(t.judged.rollout.completion_ids) for t in work.trajectories))
    for source in ("regular", "extra", "replay"):
        count = sum(_source(work, t) == source for t in work.trajectories)
        report.add(f"update/trajectories_{source}", count)
    report.add(
        "replay/age" if work.kind == "replay" else "update/staleness", *staleness(work.trajectories, step=work.step)
    )


def _report_measured(report: StepReport, measured: dict[str, Measurement]) -> None:
    for name, value in measured.items():
        kind, _, source = name.partition("/")
        target = f"update/{_BY_SOURCE[kind]}_{source}" if kind in _BY_SOURCE else f"objective/{name}"
        report.add("update/loss" if name == "loss" else target, float(value.total), float(value.weight))
