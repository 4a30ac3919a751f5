"""A bandit for the objective: a table of logits as the policy, one-token answers, exact pass rates and entropies.

`run` is one complete training with every stage of UEC-RL, in plain PyTorch over the functions of `uec_vlm.objective`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from uec_vlm.objective import (
    ControllerState,
    Objective,
    ReplayBuffer,
    StepContext,
    StepTotals,
    choose_prompts,
    draw,
    due,
    group_trajectories,
    merge,
    micro_batch_loss,
    push,
    refresh,
    step_context,
    take_batches,
)
from uec_vlm.records import (
    CompletionBatch,
    Judged,
    Prompt,
    Rollout,
    Sample,
    Source,
    TokenScores,
    TrainBatch,
    Trajectory,
    Verdict,
)

VERDICTS = {True: Verdict(True, "right", None), False: Verdict(False, "wrong", None)}


@dataclass(frozen=True)
class World:
    """Prompts with one-token answers. start: logits before training. right: True at the right answers."""

    start: Tensor  # prompts, answers
    right: Tensor  # prompts, answers

    @property
    def pass_rates(self) -> Tensor:
        """Exact pass rate of every prompt before training."""
        return pass_rates(self.start, self.right)


def make_world(
    *,
    seed: int,
    prompts: int = 200,
    answers: int = 64,
    right_answers: int = 1,
    lowest: float = 1e-4,
    highest: float = 0.5,
    spread: float = 1.0,
) -> World:
    """Pass rates log-uniform in [lowest, highest] (exactly spaced); the other logits normal with that spread."""
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(prompts, answers, generator=generator)
    right = torch.zeros(prompts, answers, dtype=torch.bool)
    right[:, :right_answers] = True
    rates = torch.logspace(*torch.tensor([lowest, highest]).log10().tolist(), prompts)
    shift = torch.logit(rates) - (_mass(logits, right) - _mass(logits, ~right))
    return World(start=logits + shift[:, None] * right, right=right)


@dataclass(frozen=True)
class Schedule:
    """P prompts and G completions per step; optimizer steps of `sequences`; plain SGD or Adam on the logits."""

    steps: int = 150
    prompts: int = 40
    completions: int = 5
    temperature: float = 1.0
    sequences: int = 200
    optimizer: str = "sgd"
    learning_rate: float = 60.0


@dataclass
class History:
    """What a run leaves behind: one row per step (measured before it), the final table, and what it cost."""

    rows: list[dict[str, float]] = field(default_factory=list)
    table: Tensor = field(default_factory=lambda: torch.zeros(0))
    sampled: int = 0
    optimizer_steps: int = 0

    def column(self, name: str) -> list[float]:
        """One quantity over the steps."""
        return [row[name] for row in self.rows]


@dataclass
class Run:
    """The state of a run between steps."""

    world: World
    objective: Objective
    schedule: Schedule
    table: Tensor
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    prompts: tuple[Prompt, ...]
    controller: ControllerState = field(default_factory=ControllerState)
    queue: list[Trajectory] = field(default_factory=list)
    buffer: ReplayBuffer = field(default_factory=ReplayBuffer)
    sampled: int = 0
    optimizer_steps: int = 0


def start(world: World, objective: Objective, schedule: Schedule, *, seed: int) -> Run:
    """A run before its first step, on a copy of the world's table."""
    table = world.start.clone().requires_grad_(True)
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[schedule.optimizer]
    return Run(
        world=world,
        objective=objective,
        schedule=schedule,
        table=table,
        optimizer=kind([table], lr=schedule.learning_rate),
        generator=torch.Generator().manual_seed(seed),
        prompts=tuple(_prompt(index) for index in range(len(world.start))),
    )


def run(world: World, objective: Objective, schedule: Schedule, *, seed: int) -> History:
    """Trains a copy of the world's table and records exact accuracy and entropy over all prompts at every step."""
    state = start(world, objective, schedule, seed=seed)
    history = History()
    order: list[int] = []
    for step in range(schedule.steps):
        if len(order) < schedule.prompts:
            order += torch.randperm(len(world.start), generator=state.generator).tolist()
        drawn, order = order[: schedule.prompts], order[schedule.prompts :]
        history.rows.append(_measure(state) | advance(state, drawn, step))
    history.table = state.table.detach().clone()
    history.sampled, history.optimizer_steps = state.sampled, state.optimizer_steps
    return history


def advance(state: Run, drawn: Sequence[int], step: int) -> dict[str, float]:
    """One step on these prompts: sample, explore, retain, accumulate, update, replay."""
    objective, schedule = state.objective, state.schedule
    unit = schedule.prompts * schedule.completions
    groups = sample(state, drawn, schedule.completions, schedule.temperature, "regular")
    entropy = float(entropy_of(state.table.detach()[list(drawn)] / schedule.temperature).mean())
    state.controller = objective.controller(state.controller, entropy)
    chosen = choose_prompts(
        [[item.accuracy for item in group] for group in groups],
        rule=objective.exploration,
        settings=objective.exploration_settings,
        step=step,
        scale=state.controller.explore_scale,
    )
    hot = objective.exploration_settings.temperature * state.controller.temperature_scale
    extra = sample(state, [drawn[i] for i in chosen], objective.exploration_settings.completions, hot, "extra")
    old = iter(_logprobs(state, [item for group in (*groups, *extra) for item in group]).unbind())
    for group in groups:
        state.queue += _select(state, group, "regular", step, [next(old) for _ in group])
    for place, group in zip(chosen, extra, strict=True):
        state.queue += _select(state, group, "extra", step, [next(old) for _ in group], groups[place])
    count = take_batches(len(state.queue), unit) if objective.accumulate else len(state.queue)
    batch, state.queue = state.queue[:count], state.queue[count:]
    if objective.accumulate and objective.old_logprobs.queue == "recomputed":
        batch = _refreshed(state, batch)
    _update(state, batch, ["regular" if t.judged.rollout.source == "regular" else "extra" for t in batch])
    state.buffer = push(
        state.buffer, batch, step=step, unit=unit, admit=objective.replay, settings=objective.replay_settings
    )
    replayed: list[Trajectory] = []
    if due(step, objective.replay_settings, scale=state.controller.replay_scale):
        replayed, state.buffer = draw(
            state.buffer, unit=unit, step=step, generator=state.generator, settings=objective.replay_settings
        )
        if objective.replay_settings.old_logprobs == "recomputed":
            replayed = _refreshed(state, replayed)
        _update(state, replayed, ["replay"] * len(replayed))
    return {
        "hard": sum(not any(item.accuracy for item in group) for group in groups),
        "extra_kept": sum(t.judged.rollout.source == "extra" for t in batch),
        "trained": len(batch),
        "replayed": len(replayed),
        "level": state.controller.memory,
    }


def sample(state: Run, rows: Sequence[int], completions: int, temperature: float, source: Source) -> list[list[Judged]]:
    """Groups of judged one-token completions of these prompts, with exact behaviour log-probabilities."""
    if not rows:
        return []
    logprobs = torch.log_softmax(state.table.detach()[list(rows)] / temperature, dim=-1)
    ids = torch.multinomial(logprobs.exp(), completions, replacement=True, generator=state.generator)
    behaviour = logprobs.gather(1, ids)
    right = state.world.right[list(rows)].gather(1, ids).tolist()
    state.sampled += ids.numel()
    parts = zip(ids.reshape(-1, 1).unbind(), behaviour.reshape(-1, 1).unbind(), itertools.chain(*right), strict=True)
    return [[_judged(state, row, *next(parts), source, temperature) for _ in range(completions)] for row in rows]


def score(table: Tensor, batch: CompletionBatch, temperature: float) -> TokenScores:
    """Log-probability, exact entropy and moment of one-token completions under a table of logits."""
    logprobs = torch.log_softmax(table[batch.prompt_index] / temperature, dim=-1)
    probs = logprobs.exp()
    entropy = -(probs * logprobs).sum(dim=-1, keepdim=True)
    with torch.no_grad():
        moment = (probs.square() * (logprobs + entropy)).sum(dim=-1, keepdim=True)
    return TokenScores(logprobs.gather(1, batch.completion_ids), entropy, moment)


def collate(trajectories: Sequence[Trajectory]) -> TrainBatch:
    """One-token trajectories as a batch; `prompt_index` is the row of the table."""
    rows = torch.tensor([int(t.judged.rollout.prompt.sample.id) for t in trajectories])
    ids = torch.stack([t.judged.rollout.completion_ids for t in trajectories])
    return TrainBatch(
        CompletionBatch((), rows, ids, torch.ones_like(ids, dtype=torch.bool)),
        advantages=torch.tensor([t.advantage for t in trajectories]),
        old_logprobs=torch.stack([t.old_logprobs for t in trajectories]),
        importance_weights=torch.stack([t.importance_weights for t in trajectories]),
        behaviour_logprobs=torch.stack([t.judged.rollout.behaviour_logprobs for t in trajectories]),
    )


def pass_rates(logits: Tensor, right: Tensor) -> Tensor:
    """Exact probability of a right answer, per prompt."""
    return torch.softmax(logits, dim=-1).masked_fill(~right, 0.0).sum(dim=-1)


def _update(state: Run, trajectories: Sequence[Trajectory], sources: Sequence[str]) -> dict[str, float]:
    """Optimizer steps over a training or replay batch, in order; an empty batch does nothing."""
    measured = []
    for start in range(0, len(trajectories), state.schedule.sequences):
        part = trajectories[start : start + state.schedule.sequences]
        batch = collate(part)
        scores = score(state.table, batch.completions, state.schedule.temperature)
        loss, seen = micro_batch_loss(
            scores,
            batch,
            score(state.world.start, batch.completions, state.schedule.temperature).logprobs,
            objective=state.objective,
            totals=StepTotals(tokens=len(part), sequences=len(part)),
            controller=state.controller,
            context=_context(state, scores, batch) if state.objective.needs_context else None,
            sources=sources[start : start + len(part)],
        )
        state.optimizer.zero_grad()
        loss.backward()
        state.optimizer.step()
        state.optimizer_steps += 1
        measured.append(seen)
    return {name: value.mean for name, value in merge(measured).items()}


def _context(state: Run, scores: TokenScores, batch: TrainBatch) -> StepContext:
    return step_context(
        list(scores.logprobs), list(batch.old_logprobs), batch.advantages.tolist(), list(scores.entropy),
        generator=state.generator,
    )  # fmt: skip


def _select(
    state: Run,
    group: Sequence[Judged],
    source: Source,
    step: int,
    old_logprobs: Sequence[Tensor],
    union_with: Sequence[Judged] = (),
) -> list[Trajectory]:
    return group_trajectories(
        group,
        source=source,
        objective=state.objective,
        step=step,
        old_logprobs=old_logprobs,
        union_with=union_with,
        limit=1,
    ).kept


def _refreshed(state: Run, trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    if not trajectories:
        return []
    old = _logprobs(state, [t.judged for t in trajectories])
    return [refresh(t, row, objective=state.objective) for t, row in zip(trajectories, old, strict=True)]


def _logprobs(state: Run, judged: Sequence[Judged]) -> Tensor:
    rows = torch.tensor([int(item.rollout.prompt.sample.id) for item in judged])
    ids = torch.stack([item.rollout.completion_ids for item in judged])
    table = torch.log_softmax(state.table.detach()[rows] / state.schedule.temperature, dim=-1)
    return table.gather(1, ids)


def _judged(
    state: Run, row: int, ids: Tensor, behaviour: Tensor, right: bool, source: Source, temperature: float
) -> Judged:
    rollout = Rollout(state.prompts[row], "", ids, behaviour, "stop", source, temperature, state.optimizer_steps)
    return Judged(rollout, VERDICTS[right], float(right), 1.0, float(right))


def _prompt(index: int) -> Prompt:
    nothing = torch.zeros(0, dtype=torch.long)
    return Prompt(Sample(str(index), "table", "", ""), "", nothing, torch.zeros(0, 0), nothing.reshape(0, 3))


def _measure(state: Run) -> dict[str, float]:
    logits = state.table.detach()
    rates = pass_rates(logits, state.world.right)
    return {
        "accuracy": float(rates.mean()),
        "entropy": float(entropy_of(logits).mean()),
    }


def entropy_of(logits: Tensor) -> Tensor:
    """Exact entropy of every row of logits, nats."""
    logprobs = torch.log_softmax(logits, dim=-1)
    return -(logprobs.exp() * logprobs).sum(dim=-1)


def _mass(logits: Tensor, chosen: Tensor) -> Tensor:
    return logits.masked_fill(~chosen, -torch.inf).logsumexp(dim=-1)


def single_source_updates(
    world: World, objective: Objective, schedule: Schedule, *, seed: int, every: int = 10, token_step: float = 5e-3
) -> list[dict[str, float | str]]:
    """Small plain-SGD updates of one source each, tried aside at every so many steps of a training.

    predicted: by the closed form, summed over the tokens and times the step of a token. realised: the change of the
    exact entropy, summed over the prompts of the update. Both in nats. token_step: learning rate of
    the update tried, per token of it (the logits of a token move by token_step x advantage x weight).
    """
    state = start(world, objective, schedule, seed=seed)
    found: list[dict[str, float | str]] = []
    for step in range(schedule.steps):
        drawn = torch.randperm(len(world.start), generator=state.generator)[: schedule.prompts].tolist()
        if step % every == every - 1:
            regular = sample(state, drawn, schedule.completions, schedule.temperature, "regular")
            hard = [row for row, group in zip(drawn, regular, strict=True) if not any(j.accuracy for j in group)]
            rules = objective.exploration_settings
            extra = sample(state, hard, rules.completions, rules.temperature, "extra")
            batches = {
                "regular": [t for g in regular for t in _select(state, g, "regular", step, list(_logprobs(state, g)))],
                "extra": [t for g in extra for t in _select(state, g, "extra", step, list(_logprobs(state, g)))],
                "replay": _refreshed(state, state.buffer.trajectories),
            }
            for source, batch in batches.items():
                if batch:
                    found.append({"source": source, **_try_update(state, batch, source, token_step * len(batch))})
        advance(state, drawn, step)
    return found


def _try_update(state: Run, trajectories: Sequence[Trajectory], source: str, step_size: float) -> dict[str, float]:
    batch = collate(trajectories)
    table = state.table.detach().clone().requires_grad_(True)
    loss, seen = micro_batch_loss(
        score(table, batch.completions, state.schedule.temperature),
        batch,
        None,
        objective=state.objective,
        totals=StepTotals(tokens=len(trajectories), sequences=len(trajectories)),
        controller=state.controller,
        sources=[source] * len(trajectories),
    )
    (gradient,) = torch.autograd.grad(loss, table)
    rows = sorted(set(batch.completions.prompt_index.tolist()))
    before, after = table.detach()[rows], (table - step_size * gradient).detach()[rows]
    return {
        "predicted": step_size * float(seen[f"predicted_dh/{source}"].total) / len(trajectories),
        "realised": float((entropy_of(after.double()) - entropy_of(before.double())).sum()),
    }
