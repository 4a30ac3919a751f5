"""Stages 1-4 of a step: regular rollouts, hard prompts, extra rollouts, retention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from uec_vlm.batches import draw
from uec_vlm.errors import RunError
from uec_vlm.metrics import StepReport
from uec_vlm.objective import (
    Choice,
    ControllerState,
    PromptHistory,
    choose,
    choose_prompts,
    group_trajectories,
    make_trajectories,
    record_exploration,
    refill,
)
from uec_vlm.records import Judged, Prompt, Source, Trajectory
from uec_vlm.trainer.circle import Circle
from uec_vlm.trainer.scoring import SequenceScores, reference_logprobs, score_rollouts
from uec_vlm.trainer.seeds import seed_for
from uec_vlm.trainer.timing import timed


@dataclass(frozen=True)
class Group:
    """The judged completions of one prompt from one source. position: of its draw, which seeds it."""

    prompt: Prompt
    position: int
    source: Source
    judged: tuple[Judged, ...]

    @property
    def accuracies(self) -> list[float]:
        """One per completion."""
        return [item.accuracy for item in self.judged]


@dataclass(frozen=True)
class Chosen:
    """A group after retention: what was kept of it, and the scores of those completions that were scored."""

    group: Group
    advantages: Tensor
    kept: dict[int, Trajectory]
    scores: dict[int, SequenceScores]


def sample_regular(circle: Circle, *, drawn: int, step: int, report: StepReport) -> tuple[list[Group], list[int], int]:
    """P groups, more where dynamic sampling asks for them; returns them, those to train on, and the draw counter."""
    rule = circle.objective.dynamic_sampling
    groups, drawn = _next_groups(circle, drawn, report)
    if rule is None:
        return groups, list(range(len(groups))), drawn
    wanted, refills = circle.settings.prompts, 0
    while True:
        decision = refill([g.accuracies for g in groups], wanted=wanted, refills_done=refills, settings=rule)
        if decision.action != "refill":
            break
        more, drawn = _next_groups(circle, drawn, report)
        groups, refills = groups + more, refills + 1
    report.add("select/refills", refills)
    if decision.action == "exhausted" and rule.when_exhausted == "stop":
        raise RunError(
            f"step {step}: after {refills} refills only {len(decision.kept)} of {wanted} prompts were neither solved "
            "nor failed by all rollouts: the data have nothing left to teach. Stop here, take harder data, or set "
            "objective.dynamic_sampling.when_exhausted = train."
        )
    return groups, list(decision.kept), drawn


def explore(
    circle: Circle,
    groups: Sequence[Group],
    *,
    controller: ControllerState,
    history: PromptHistory,
    step: int,
    report: StepReport,
) -> tuple[dict[int, Group], PromptHistory]:
    """Extra groups for the prompts that the exploration rule names, by the place of their regular group."""
    objective, settings = circle.objective, circle.settings
    if not objective.explores:
        return {}, history
    rule = objective.exploration_settings
    accuracies = [group.accuracies for group in groups]
    ids = [group.prompt.sample.id for group in groups]
    chosen = choose_prompts(
        accuracies,
        rule=objective.exploration,
        settings=rule,
        step=step - 1,
        scale=controller.explore_scale,
        prompt_ids=ids,
        history=history,
    )
    sampling = replace(settings.sampling, temperature=rule.temperature * controller.temperature_scale)
    with timed(report, "explore"):
        rollouts = circle.engine.generate(
            [groups[place].prompt for place in chosen],
            completions=rule.completions,
            sampling=sampling,
            seeds=[seed_for(settings.seed, "extra", groups[place].position) for place in chosen],
            source="extra",
        )
    with timed(report, "verify"):
        judged = [tuple(circle.judge(group)) for group in rollouts]
    extra = {
        place: Group(groups[place].prompt, groups[place].position, "extra", group)
        for place, group in zip(chosen, judged, strict=True)
    }
    solved = [any(group.accuracies) for group in extra.values()]
    _report_exploration(report, groups, extra, solved, sampling.temperature)
    return extra, record_exploration(history, [ids[place] for place in chosen], solved, step=step - 1)


def choose_regular(
    circle: Circle, groups: Sequence[Group], scores: Sequence[SequenceScores], *, step: int, report: StepReport
) -> list[Chosen]:
    """Retention of the regular groups, which are scored as a whole; scores are in the order of all completions."""
    chosen, start = [], 0
    penalties: list[Tensor] | None = None
    if circle.objective.kl_settings.place == "reward" and circle.reference is not None:
        rollouts = [item.rollout for group in groups for item in group.judged]
        penalties = reference_logprobs(circle.reference, rollouts, budget=circle.settings.micro_batch_tokens)
    for group in groups:
        end = start + len(group.judged)
        old = [item.logprobs for item in scores[start:end]]
        selection = group_trajectories(
            group.judged,
            source="regular",
            objective=circle.objective,
            step=step,
            old_logprobs=old,
            limit=circle.settings.sampling.max_new_tokens,
            reference_logprobs=penalties[start:end] if penalties is not None else None,
        )
        kept = {_place_of(t, group): t for t in selection.kept}
        own = dict(enumerate(scores[start:end]))
        chosen.append(Chosen(group, selection.advantages, kept, own))
        _report_selection(report, "regular", len(kept), selection.dropped)
        start = end
    return chosen


def choose_extra(
    circle: Circle, extra: dict[int, Group], regular: Sequence[Group], *, step: int, report: StepReport
) -> list[Chosen]:
    """Retention of the extra groups; only what is kept is scored, at the training temperature."""
    choices: list[tuple[Group, Choice]] = []
    for place, group in extra.items():
        choice = choose(group.judged, source="extra", objective=circle.objective, union_with=regular[place].judged)
        choices.append((group, choice))
        _report_selection(report, "extra", len(choice.indices), choice.dropped)
    wanted = [group.judged[index].rollout for group, choice in choices for index in choice.indices]
    with timed(report, "score"):
        scored = iter(
            score_rollouts(
                circle.policy,
                wanted,
                temperature=circle.settings.sampling.temperature,
                budget=circle.settings.micro_batch_tokens,
            )
        )
    chosen = []
    for group, choice in choices:
        scores = {index: next(scored) for index in choice.indices}
        # Only the kept completions have log-probabilities; the others are never looked at.
        old = [scores[i].logprobs if i in scores else torch.empty(0) for i in range(len(group.judged))]
        kept = make_trajectories(
            group.judged, choice, source="extra", objective=circle.objective, step=step, old_logprobs=old
        )
        chosen.append(Chosen(group, choice.advantages, dict(zip(choice.indices, kept, strict=True)), scores))
        for item in scores.values():
            report.add("explore/entropy", float(item.entropy.sum()), len(item.entropy))
    return chosen


def _next_groups(circle: Circle, drawn: int, report: StepReport) -> tuple[list[Group], int]:
    settings = circle.settings
    positions = range(drawn, drawn + settings.prompts)
    places = draw(len(circle.samples), seed=settings.seed, start=drawn, count=settings.prompts)
    with timed(report, "data"):
        prompts = [circle.render(circle.samples[place]) for place in places]
    with timed(report, "rollout"):
        rollouts = circle.engine.generate(
            prompts,
            completions=settings.completions,
            sampling=settings.sampling,
            seeds=[seed_for(settings.seed, "regular", position) for position in positions],
        )
    with timed(report, "verify"):
        judged = [tuple(circle.judge(group)) for group in rollouts]
    groups = [Group(p, n, "regular", j) for p, n, j in zip(prompts, positions, judged, strict=True)]
    return groups, drawn + settings.prompts


def _place_of(trajectory: Trajectory, group: Group) -> int:
    return next(place for place, item in enumerate(group.judged) if item is trajectory.judged)


def _report_selection(report: StepReport, source: Source, kept: int, dropped: Mapping[str, int]) -> None:
    report.add(f"select/kept_{source}", kept)
    for reason, count in dropped.items():
        report.add(f"select/dropped_{reason}", count)


def _report_exploration(
    report: StepReport, groups: Sequence[Group], extra: dict[int, Group], solved: Sequence[bool], temperature: float
) -> None:
    tokens = sum(len(item.rollout.completion_ids) for group in extra.values() for item in group.judged)
    report.add("explore/hard_prompts", sum(not any(group.accuracies) for group in groups))
    report.add("explore/explored_prompts", len(extra))
    report.add("explore/solved", sum(solved))
    report.add("explore/tokens", tokens)
    report.add("rollout/sampled_tokens", tokens)
    report.add("explore/solved_per_1k_tokens", sum(solved) * 1000.0, tokens)
    report.add("explore/temperature", temperature)
    for group in extra.values():
        report.add("explore/accuracy", sum(group.accuracies), len(group.judged))
        for item in group.judged:
            report.add(f"verdict/{item.verdict.reason}", 1)
