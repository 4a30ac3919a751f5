"""Stages 1-4 of a step: regular rollouts, hard prompts, extra rollouts, retention."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from uec_vlm.batches import draw_places
from uec_vlm.errors import DataError, RunError
from uec_vlm.metrics import StepReport
from uec_vlm.objective import (
    Choice,
    ControllerState,
    PromptHistory,
    choose,
    choose_prompts,
    group_rewards,
    make_trajectories,
    record_exploration,
    refill,
)
from uec_vlm.records import Judged, Prompt, Rollout, Source, Trajectory
from uec_vlm.rollouts import SamplingSettings
from uec_vlm.trainer.circle import Circle
from uec_vlm.trainer.exchange import Packed, pack_judged, pack_prompt, unpack_judged, unpack_prompt
from uec_vlm.trainer.scoring import SequenceScores, score_logprobs, score_rollouts
from uec_vlm.trainer.seeds import seed_for
from uec_vlm.trainer.timing import timed, timed_rollout

T = TypeVar("T")
Made = TypeVar("Made", "Group", "Group | Skipped")

# So many draws of a step may become no prompt (or as many as there are prompts): beyond it the data are gone.
_MOST_SKIPPED = 16


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
class Skipped:
    """A draw that became no prompt. place: of its sample. reason: with file, row and picture."""

    place: int
    reason: str


@dataclass(frozen=True)
class Chosen:
    """A group after retention: what was kept of it, and the scores of those completions that were scored.

    rewards: after the objective's shaping; what the advantages are made of. reasons: why each of the others was
    dropped, by its place in the group.
    """

    group: Group
    rewards: Tensor
    advantages: Tensor
    kept: dict[int, Trajectory]
    reasons: Mapping[int, str]
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
        _report_exploration(report, groups, {})
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
    extra = _extra_groups(circle, groups, chosen, sampling, report)
    solved = [any(group.accuracies) for group in extra.values()]
    _report_exploration(report, groups, extra)
    report.add("explore/temperature", sampling.temperature)
    return extra, record_exploration(history, [ids[place] for place in chosen], solved, step=step - 1)


def choose_regular(
    circle: Circle,
    groups: Sequence[Group],
    scores: Sequence[SequenceScores],
    *,
    trainable: Collection[int],
    step: int,
    report: StepReport,
) -> list[Chosen]:
    """Retention of the regular groups, which are scored as a whole; scores are in the order of all completions.

    trainable: the places of the groups to train on; of the others, which dynamic sampling replaced, nothing is kept.
    """
    chosen = []
    rewards = _rewards(circle, groups, scores, report)
    start = 0
    for place, (group, own_rewards) in enumerate(zip(groups, rewards, strict=True)):
        own = scores[start : start + len(group.judged)]
        start += len(group.judged)
        choice = choose(group.judged, source="regular", objective=circle.objective, rewards=own_rewards)
        if place not in trainable:
            choice = replace(
                choice, kept=choice.kept & False, reasons=dict.fromkeys(range(len(own)), "dynamic_sampling")
            )
        chosen.append(_chosen(circle, group, own_rewards, choice, dict(enumerate(own)), step=step))
        _report_selection(report, "regular", choice)
    return chosen


def choose_extra(
    circle: Circle, extra: dict[int, Group], regular: Sequence[Chosen], *, step: int, report: StepReport
) -> list[Chosen]:
    """Retention of the extra groups. Only what is kept is scored, at the training temperature; all of it where the
    reward needs the scores."""
    groups = list(extra.values())
    objective = circle.objective
    scored: list[dict[int, SequenceScores]] = [{} for _ in groups]
    if objective.penalises_reward:
        scored = _scored(circle, [(group, range(len(group.judged))) for group in groups], report)
    rewards = _rewards(circle, groups, [scores[i] for scores in scored for i in sorted(scores)], report)
    choices = []
    for place, group, own_rewards in zip(extra, groups, rewards, strict=True):
        choice = choose(
            group.judged,
            source="extra",
            objective=objective,
            union_with=regular[place].group.judged,
            rewards=torch.cat([own_rewards, regular[place].rewards]),
        )
        choices.append(choice)
        _report_selection(report, "extra", choice)
    if not objective.penalises_reward:
        scored = _scored(circle, [(g, choice.indices) for g, choice in zip(groups, choices, strict=True)], report)
    chosen = []
    for group, own_rewards, choice, scores in zip(groups, rewards, choices, scored, strict=True):
        chosen.append(_chosen(circle, group, own_rewards, choice, scores, step=step))
        for index in choice.indices:
            report.add("explore/entropy", float(scores[index].entropy.sum()), len(scores[index].entropy))
    return chosen


def _rewards(
    circle: Circle, groups: Sequence[Group], scores: Sequence[SequenceScores], report: StepReport
) -> list[Tensor]:
    """Shaped rewards of every group; with the KL penalty where the objective puts it there (then all are scored)."""
    objective, limit = circle.objective, circle.settings.sampling.max_new_tokens
    if not objective.penalises_reward or circle.reference is None:
        return [group_rewards(group.judged, objective=objective, limit=limit) for group in groups]
    rollouts = [item.rollout for group in groups for item in group.judged]
    with timed(report, "score"):
        references = score_logprobs(circle.reference, rollouts, sharing=circle.sharing)
    rewards, start = [], 0
    for group in groups:
        own = slice(start, start + len(group.judged))
        start = own.stop
        rewards.append(
            group_rewards(
                group.judged,
                objective=objective,
                limit=limit,
                logprobs=[item.logprobs for item in scores[own]],
                reference_logprobs=references[own],
            )
        )
    return rewards


def _scored(
    circle: Circle, wanted: Sequence[tuple[Group, Sequence[int]]], report: StepReport
) -> list[dict[int, SequenceScores]]:
    """The scores of these completions of each group, by their place in it."""
    rollouts = [group.judged[index].rollout for group, indices in wanted for index in indices]
    with timed(report, "score"):
        scores = iter(score_rollouts(circle.scorer, rollouts, sharing=circle.sharing))
    return [{index: next(scores) for index in indices} for _, indices in wanted]


def _chosen(
    circle: Circle, group: Group, rewards: Tensor, choice: Choice, scores: dict[int, SequenceScores], *, step: int
) -> Chosen:
    # Completions that are not kept may have no log-probabilities; the objective never looks at theirs.
    old = [scores[i].logprobs if i in scores else torch.empty(0) for i in range(len(group.judged))]
    kept = make_trajectories(
        group.judged, choice, source=group.source, objective=circle.objective, step=step, old_logprobs=old
    )
    by_place = dict(zip(choice.indices, kept, strict=True))
    return Chosen(group, rewards, choice.advantages, by_place, choice.reasons, scores)


def _next_groups(circle: Circle, drawn: int, report: StepReport) -> tuple[list[Group], int]:
    """P groups. A draw that becomes no prompt is told and counted, and the next one takes its place."""
    wanted, most = circle.settings.prompts, max(_MOST_SKIPPED, circle.settings.prompts)
    groups: list[Group] = []
    skipped = 0
    while len(groups) < wanted:
        for made in _drawn(circle, drawn, wanted - len(groups), report):
            drawn += 1
            if isinstance(made, Group):
                groups.append(made)
                continue
            skipped += 1
            report.add("data/skipped", 1)
            if not circle.prompts.told(made.place):
                report.note(f"{made.reason} It is skipped, now and whenever it is drawn again; another takes its place")
            if skipped > most:
                raise DataError(
                    f"{skipped} prompts of one step could not be made, the last one for this reason: {made.reason} "
                    "Are the data still where they were? `uec-vlm doctor` reads all of them."
                )
    return groups, drawn


def _drawn(circle: Circle, start: int, count: int, report: StepReport) -> list[Group | Skipped]:
    """The groups of the next `count` draws, each where its prompt can be made."""
    settings = circle.settings
    places = draw_places(circle.samples, seed=settings.seed, start=start, count=count)
    asked = list(zip(range(start, start + count), places, strict=True))

    def work(mine: Sequence[tuple[int, int]]) -> list[Group | Skipped]:
        with timed(report, "data"):
            read = [circle.prompts.attempt(place) for _, place in mine]
            circle.prompts.expect(_coming(circle, [position for position, _ in mine]))
        prompts = [found for found in read if isinstance(found, Prompt)]
        positions = [position for found, (position, _) in zip(read, mine, strict=True) if isinstance(found, Prompt)]
        with timed_rollout(report, "rollout", circle.engine):
            rollouts = circle.engine.generate(
                prompts,
                completions=settings.completions,
                sampling=settings.sampling,
                seeds=[seed_for(settings.seed, "regular", position) for position in positions],
            )
        judged = _judge(circle, rollouts, report)
        made = iter([Group(p, n, "regular", j) for p, n, j in zip(prompts, positions, judged, strict=True)])
        return [
            Skipped(place, found) if isinstance(found, str) else next(made)
            for found, (_, place) in zip(read, mine, strict=True)
        ]

    def prompt_of(place: int, packed: Packed) -> Prompt:
        return unpack_prompt(packed, circle.samples[asked[place][1]])

    return _shared(circle, asked, work, prompt_of)


def _coming(circle: Circle, positions: Sequence[int]) -> list[int]:
    """The samples of the same positions in the next draw of P prompts."""
    samples, settings = circle.samples, circle.settings
    starts = [position + settings.prompts for position in positions]
    return [draw_places(samples, seed=settings.seed, start=start, count=1)[0] for start in starts]


def _extra_groups(
    circle: Circle,
    groups: Sequence[Group],
    chosen: Sequence[int],
    sampling: SamplingSettings,
    report: StepReport,
) -> dict[int, Group]:
    settings = circle.settings

    def work(mine: Sequence[int]) -> list[Group]:
        asked = [groups[place] for place in mine]
        with timed_rollout(report, "explore", circle.engine):
            rollouts = circle.engine.generate(
                [circle.sharing.whole(group.prompt) for group in asked],
                completions=circle.objective.exploration_settings.completions,
                sampling=sampling,
                seeds=[seed_for(settings.seed, "extra", group.position) for group in asked],
                source="extra",
            )
        judged = _judge(circle, rollouts, report)
        return [Group(g.prompt, g.position, "extra", j) for g, j in zip(asked, judged, strict=True)]

    made = _shared(circle, chosen, work, lambda place, _: groups[chosen[place]].prompt)
    return dict(zip(chosen, made, strict=True))


def _shared(
    circle: Circle,
    asked: Sequence[T],
    work: Callable[[Sequence[T]], Sequence[Made]],
    prompt_of: Callable[[int, Packed], Prompt],
) -> list[Made]:
    """What `work` makes of `asked`, shared out: all ranks get all groups, with prompts without pictures."""
    if circle.ranks.world == 1:
        return list(work(asked))

    def packed(mine: Sequence[T]) -> list[Any]:
        return [
            (pack_prompt(g.prompt), g.position, g.source, pack_judged(g.judged)) if isinstance(g, Group) else g
            for g in work(mine)
        ]

    made: list[Any] = []
    for place, found in enumerate(circle.ranks.spread(asked, packed)):
        if not isinstance(found, Skipped):
            prompt, position, source, judged = found
            whose = prompt_of(place, prompt)
            found = Group(whose, position, source, unpack_judged(judged, whose))
        made.append(found)
    return made


def _judge(circle: Circle, rollouts: Sequence[Sequence[Rollout]], report: StepReport) -> list[tuple[Judged, ...]]:
    with timed(report, "verify"):
        return [tuple(circle.judge(group)) for group in rollouts]


def _report_selection(report: StepReport, source: Source, choice: Choice) -> None:
    report.add(f"select/kept_{source}", len(choice.indices))
    for reason, count in choice.dropped.items():
        report.add(f"select/dropped_{reason}", count)


def _report_exploration(report: StepReport, groups: Sequence[Group], extra: Mapping[int, Group]) -> None:
    """Of every objective, so that runs with and without exploration can be held against each other."""
    hard = [place for place, group in enumerate(groups) if not any(group.accuracies)]
    solved = sum(any(extra[place].accuracies) for place in hard if place in extra)
    tokens = sum(len(item.rollout.completion_ids) for group in extra.values() for item in group.judged)
    report.add("explore/hard_prompts", len(hard))
    report.add("explore/explored_prompts", len(extra))
    report.add("explore/solved", solved)
    report.add("explore/tokens", tokens)
    report.add("rollout/sampled_tokens", tokens)
    report.add("explore/solved_per_1k_tokens", solved * 1000.0, tokens)
    for group in extra.values():
        report.add("explore/accuracy", sum(group.accuracies), len(group.judged))
        for item in group.judged:
            report.add(f"verdict/{item.verdict.reason}", 1)
