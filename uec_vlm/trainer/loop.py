"""The loop: one turn of the circle per step. It yields; whoever calls it logs, saves and evaluates."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any

from uec_vlm.metrics import StepReport
from uec_vlm.objective import draw as draw_replay
from uec_vlm.objective import due, push, take_batches
from uec_vlm.records import Trajectory
from uec_vlm.trainer.circle import Circle
from uec_vlm.trainer.collect import Chosen, choose_extra, choose_regular, explore, sample_regular
from uec_vlm.trainer.dump import Replayed, dump_rows
from uec_vlm.trainer.forward_kept import KeptForward
from uec_vlm.trainer.observe import observe_regular, probe_entropy, realised_dh, report_state
from uec_vlm.trainer.scoring import SequenceScores
from uec_vlm.trainer.seeds import generator_for, set_global_generators
from uec_vlm.trainer.state import TrainState
from uec_vlm.trainer.timing import timed
from uec_vlm.trainer.update import Work, refreshed, report_no_update, update


@dataclass(frozen=True)
class Turn:
    """What one step leaves behind: the state after it, its measurements, its groups after retention, its replay.

    tokenizer: of the policy, for the text of each token.
    """

    state: TrainState
    report: StepReport
    chosen: tuple[Chosen, ...]
    replayed: tuple[Replayed, ...]
    tokenizer: Any = field(repr=False)

    @property
    def rows(self) -> list[Mapping[str, Any]]:
        """The trajectories of the step as rows of a dump; made anew at each call, since few steps are dumped."""
        return dump_rows(self.chosen, self.replayed, step=self.state.step, tokenizer=self.tokenizer)


def train(circle: Circle, state: TrainState, *, last_step: int) -> Iterator[Turn]:
    """Steps until `last_step`, each with its report. The same circle and state always give the same steps."""
    circle.refill_engine(state.optimizer_steps)
    while state.step < last_step:
        step, report = state.step + 1, StepReport()
        started, worked = time.perf_counter(), time.process_time()
        report_no_update(report)
        set_global_generators(circle.settings.seed, "step", step)
        groups, trainable, drawn = sample_regular(circle, drawn=state.drawn, step=step, report=report)
        scores, entropy, forward = observe_regular(circle, groups, report)
        controller = circle.objective.controller(state.controller, entropy)
        extra, history = explore(circle, groups, controller=controller, history=state.history, step=step, report=report)
        regular = choose_regular(circle, groups, scores, trainable=trainable, step=step, report=report)
        explored = choose_extra(circle, extra, regular, step=step, report=report)
        queue = (*state.queue, *(t for group in (*regular, *explored) for t in group.kept.values()))
        state = replace(state, step=step, drawn=drawn, queue=queue, controller=controller, history=history)
        before, probe = state.optimizer_steps, probe_entropy(circle, groups, scores, step=step)
        state = _train_queue(circle, state, report, forward)
        trained = state.optimizer_steps
        if trained > before:
            probe = realised_dh(circle, probe, report, "update/realised_dh")
        state, replayed = _replay(circle, state, report)
        if state.optimizer_steps > trained:
            realised_dh(circle, probe, report, "update/realised_dh", "replay/realised_dh")
        report.add("update/optimizer_steps", state.optimizer_steps - before)
        with timed(report, "sync"):
            circle.refill_engine(state.optimizer_steps)
        report_state(circle, state, report)
        report.add("time/step", time.perf_counter() - started)
        report.add("time/cpu", time.process_time() - worked)
        yield Turn(state, report, (*regular, *explored), replayed, circle.policy.tokenizer)


def _train_queue(circle: Circle, state: TrainState, report: StepReport, forward: KeptForward | None) -> TrainState:
    """Trains on what waits in the queue: whole multiples of P x G where it accumulates, else all there is."""
    unit = circle.settings.prompts * circle.settings.completions
    count = take_batches(len(state.queue), unit) if circle.objective.accumulate else len(state.queue)
    batch, rest = list(state.queue[:count]), state.queue[count:]
    if not batch:
        return state
    if circle.objective.old_logprobs.queue == "recomputed":
        with timed(report, "score"):
            renewed = iter(refreshed(circle, [t for t in batch if _waited(t, state)])[0])
            batch = [next(renewed) if _waited(t, state) else t for t in batch]
    with timed(report, "update"):
        work = Work(batch, "train", state.step, state.optimizer_steps, state.controller, forward)
        done = update(circle, work, report)
    trained = batch if done else []
    replay = push(
        state.replay, trained, admit=circle.objective.replay, unit=unit, step=state.step,
        settings=circle.objective.replay_settings,
    )  # fmt: skip
    return replace(state, queue=rest, replay=replay, optimizer_steps=state.optimizer_steps + done)


def _waited(trajectory: Trajectory, state: TrainState) -> bool:
    """Whether the weights have changed since the trajectory was sampled."""
    return trajectory.judged.rollout.policy_version != state.optimizer_steps


def _replay(circle: Circle, state: TrainState, report: StepReport) -> tuple[TrainState, tuple[Replayed, ...]]:
    """The stabilizer: at intervals, one more update on trajectories of high advantage; returns them too."""
    settings = circle.objective.replay_settings
    if not circle.objective.replays:
        return state, ()
    follows, owed = due(state.replay_owed, settings, scale=state.controller.replay_scale)
    state = replace(state, replay_owed=owed)
    if not follows:
        return state, ()
    unit = circle.settings.prompts * circle.settings.completions
    generator = generator_for(circle.settings.seed, "replay", state.step)
    drawn, buffer = draw_replay(state.replay, unit=unit, step=state.step, generator=generator, settings=settings)
    if not drawn:
        return replace(state, replay=buffer), ()
    scores: list[SequenceScores] = []
    with timed(report, "replay"):
        if settings.old_logprobs == "recomputed":
            drawn, scores = refreshed(circle, drawn)
        work = Work(drawn, "replay", state.step, state.optimizer_steps, state.controller)
        done = update(circle, work, report)
    if not done:
        return state, ()
    for item in scores:
        report.add("replay/entropy", float(item.entropy.sum()), len(item.entropy))
    replayed = tuple(Replayed(*pair) for pair in zip_longest(drawn, scores))
    return replace(state, replay=buffer, optimizer_steps=state.optimizer_steps + done), replayed
