"""Stages 5-7 of a step: optimizer steps on a training batch, and the replay that stabilizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from uec_vlm.batches import collate, on_device
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
from uec_vlm.records import Rollout, TokenScores, TrainBatch, Trajectory
from uec_vlm.trainer.circle import Circle
from uec_vlm.trainer.fixed_order import fixed_order
from uec_vlm.trainer.forward_kept import KeptForward
from uec_vlm.trainer.memory import with_halving
from uec_vlm.trainer.scoring import SequenceScores, has_pictures, score_rollouts
from uec_vlm.trainer.seeds import generator_for

_SOURCES = ("regular", "extra", "replay")
# Measurements of the objective that are one number per source of trajectories, and the metrics they become.
_BY_SOURCE = {"predicted_dh": "predicted_dh", "staleness": "staleness_nats"}


@dataclass(frozen=True)
class Work:
    """One update: its trajectories, and where it stands in the run.

    kind: "train" or "replay". forward: the one that scored the step's rollouts, where its graph was kept.
    """

    trajectories: Sequence[Trajectory]
    kind: str
    step: int
    optimizer_steps: int
    controller: ControllerState
    forward: KeptForward | None = None


def update(circle: Circle, work: Work, report: StepReport) -> int:
    """Trains on the trajectories of `work`, in optimizer steps of nearly equal size; returns how many were made.

    An optimizer step whose loss or gradient is not finite is skipped and counted; if all are, nothing was trained on.
    """
    done = 0
    circle.policy.model.train()
    for epoch in range(circle.settings.epochs):
        generator = generator_for(circle.settings.seed, "update", work.kind, work.step, epoch)
        order = torch.randperm(len(work.trajectories), generator=generator).tolist()
        for start, end in pairwise(cut(len(order), circle.settings.sequences)):
            part = [work.trajectories[place] for place in order[start:end]]
            done += _optimizer_step(circle, part, replace(work, optimizer_steps=work.optimizer_steps + done), report)
    circle.policy.model.eval()
    if done:
        _report_update(report, work)
    return done


def cut(count: int, size: int) -> list[int]:
    """Where `count` trajectories are cut into parts of nearly equal size, about `size` each: from 0 to `count`.

    A step of Adam is about equally long whatever it is made of, so a small remainder would weigh as much as all others.
    """
    parts = max(int(count / size + 0.5), 1)
    return [count * part // parts for part in range(parts + 1)]


def refreshed(circle: Circle, trajectories: Sequence[Trajectory]) -> tuple[list[Trajectory], list[SequenceScores]]:
    """The trajectories with the old log-probabilities of the policy of now, and its scores of them."""
    scores = score_rollouts(circle.scorer, [t.judged.rollout for t in trajectories], sharing=circle.sharing)
    pairs = zip(trajectories, scores, strict=True)
    return [refresh(t, s.logprobs, objective=circle.objective) for t, s in pairs], scores


def _optimizer_step(circle: Circle, part: Sequence[Trajectory], work: Work, report: StepReport) -> int:
    settings, learner = circle.settings, circle.learner
    rollouts = [trajectory.judged.rollout for trajectory in part]
    totals = StepTotals(
        tokens=sum(len(r.completion_ids) for r in rollouts),
        sequences=len(part),
        limit=settings.sampling.max_new_tokens,
    )
    context = _context(circle, part, work) if circle.objective.needs_context else None
    step = _OptimizerStep(circle, part, work, totals, context, has_pictures(rollouts))
    measured, finite = _accumulated(step, rollouts, report)
    rate = settings.learning_rate * min(1.0, (work.optimizer_steps + 1) / (settings.warmup_steps + 1))
    norm = learner.step(rate=rate, max_norm=settings.max_grad_norm, finite=finite)
    if norm is None:
        report.add("update/skipped", 1)
        return 0
    report.add("update/learning_rate", rate)
    report.add("update/grad_norm", norm)
    _report_measured(report, _over_ranks(circle, measured))
    return 1


@dataclass(frozen=True)
class _OptimizerStep:
    """What all micro-batches of an optimizer step share. pictured: whether any of its prompts has a picture."""

    circle: Circle
    part: Sequence[Trajectory]
    work: Work
    totals: StepTotals
    context: StepContext | None
    pictured: bool


def _accumulated(
    step: _OptimizerStep, rollouts: Sequence[Rollout], report: StepReport
) -> tuple[list[dict[str, Measurement]], bool]:
    """The gradient of an optimizer step, in micro-batches; what they measured, and whether every loss was finite.

    Where memory runs out, the gradient is made anew of micro-batches of half the tokens: another cut, the same sum. One
    process without an engine only: several would wait for one another.
    """
    sharing, learner = step.circle.sharing, step.circle.learner
    if learner.kind != "one":
        return _gradient(step, sharing.micro_batches(rollouts))

    def attempt(budget: int) -> tuple[list[dict[str, Measurement]], bool]:
        scores = step.work.forward.take(rollouts) if step.work.forward is not None else None
        if scores is not None:
            return _gradient(step, [list(range(len(rollouts)))], scores)
        return _gradient(step, replace(sharing, budget=budget).micro_batches(rollouts))

    def again(budget: int) -> None:
        learner.optimizer.zero_grad(set_to_none=True)
        report.add("update/out_of_memory", 1)
        report.note(f"memory ran out in a micro-batch of the update; done again with at most {budget} tokens in each")

    least = max(len(r.prompt.token_ids) + len(r.completion_ids) for r in rollouts)
    return with_halving(attempt, sharing.budget, least=least, again=again)


def _gradient(
    step: _OptimizerStep, cuts: Sequence[Sequence[int]], scores: TokenScores | None = None
) -> tuple[list[dict[str, Measurement]], bool]:
    """scores: of the only micro-batch, where the forward that scored the rollouts serves."""
    learner = step.circle.learner
    batches = [_collated(step.circle, step.part, rows) for rows in cuts]
    references = _references(step.circle, batches, step.pictured)
    measured: list[dict[str, Measurement]] = []
    finite = True
    for number, (rows, batch, reference) in enumerate(zip(cuts, batches, references, strict=True), start=1):
        with learner.micro_batch(last=number == len(cuts)):
            loss, values = _loss(step, rows, batch, reference, scores)
            finite = finite and bool(torch.isfinite(loss))
            with fixed_order(learner.policy.device, wanted=step.circle.settings.deterministic):
                learner.backward(loss)
        measured.append(values)
    return measured, finite


def _collated(circle: Circle, part: Sequence[Trajectory], rows: Sequence[int]) -> TrainBatch | None:
    return collate([circle.sharing.whole_trajectory(part[row]) for row in rows]) if rows else None


def _references(circle: Circle, batches: Sequence[TrainBatch | None], pictured: bool) -> list[Tensor | None]:
    """Log-probabilities of the reference policy for each micro-batch, before the first is trained on."""
    scorer = circle.reference
    if scorer is None or not circle.objective.needs_reference:
        return [None] * len(batches)
    found: list[Tensor | None] = []
    with torch.no_grad(), scorer.during():
        for batch in batches:
            if batch is None and not scorer.together:
                found.append(None)
                continue
            completions = batch.completions if batch is not None else None
            found.append(scorer(completions, pictured=pictured, want_entropy=False).logprobs)
    return found


def _loss(
    step: _OptimizerStep,
    rows: Sequence[int],
    batch: TrainBatch | None,
    reference: Tensor | None,
    scores: TokenScores | None,
) -> tuple[Tensor, dict[str, Measurement]]:
    """The loss of a micro-batch; of none, a zero that takes part in the ranks' common forward and backward."""
    circle, context = step.circle, step.context
    if scores is None:
        scores = circle.scorer(
            batch.completions if batch is not None else None,
            pictured=step.pictured,
            entropy_gradient=circle.objective.entropy_gradient,
        )
    if batch is None:
        return scores.logprobs.sum(), {}
    return micro_batch_loss(
        scores,
        on_device(batch, scores.logprobs.device),
        reference,
        objective=circle.objective,
        totals=step.totals,
        controller=step.work.controller,
        context=context.at(rows) if context is not None else None,
        sources=[_source(step.work, step.part[row]) for row in rows],
    )


def _over_ranks(circle: Circle, measured: Sequence[dict[str, Measurement]]) -> dict[str, tuple[float, float]]:
    """(total, weight) of each measurement over all micro-batches of all ranks."""
    own = {name: (float(value.total), float(value.weight)) for name, value in merge(measured).items()}
    summed: dict[str, tuple[float, float]] = {}
    for part in circle.ranks.collect(lambda: own):
        for name, (total, weight) in part.items():
            known = summed.get(name, (0.0, 0.0))
            summed[name] = (known[0] + total, known[1] + weight)
    return summed


def _context(circle: Circle, part: Sequence[Trajectory], work: Work) -> StepContext:
    """Scores the whole optimizer step once, for losses that need to know all of it."""
    circle.policy.model.eval()
    scores = score_rollouts(circle.scorer, [t.judged.rollout for t in part], sharing=circle.sharing)
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


def report_no_update(report: StepReport) -> None:
    """Zeros for what an update counts, so that a step without one has them too; `update` adds to them."""
    for name in ("trajectories", "tokens", "prompt_tokens", *(f"trajectories_{source}" for source in _SOURCES)):
        report.add(f"update/{name}", 0.0)


def _report_update(report: StepReport, work: Work) -> None:
    report.add("update/trajectories", len(work.trajectories))
    report.add("update/tokens", sum(len(t.judged.rollout.completion_ids) for t in work.trajectories))
    prompts = {p.sample.id: p for p in (t.judged.rollout.prompt for t in work.trajectories)}
    report.add("update/prompt_tokens", sum(len(prompt.token_ids) for prompt in prompts.values()))
    for source in _SOURCES:
        count = sum(_source(work, t) == source for t in work.trajectories)
        report.add(f"update/trajectories_{source}", count)
    report.add(
        "replay/age" if work.kind == "replay" else "update/staleness", *staleness(work.trajectories, step=work.step)
    )


def _report_measured(report: StepReport, measured: Mapping[str, tuple[float, float]]) -> None:
    for name, (total, weight) in measured.items():
        kind, _, source = name.partition("/")
        target = f"update/{_BY_SOURCE[kind]}_{source}" if kind in _BY_SOURCE else f"objective/{name}"
        report.add("update/loss" if name == "loss" else target, total, weight)
