"""A short calibration: a few real steps and a small evaluation, timed; nothing is written to a run folder.

A step's time is not that of the run's mean step: trajectories wait in a queue until a batch is full, and replays begin
when their buffer has filled. So rollouts, training and replays are timed apart, and added up over the steps to come.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

import pyarrow.parquet as pq

from uec_vlm.config import DataSource, GeosynthData, MixtureData, RunConfig
from uec_vlm.metrics import StepReport
from uec_vlm.objective import build_objective, due, take_batches
from uec_vlm.objective.replay import capacity_of
from uec_vlm.policy import save_policy
from uec_vlm.trainer.build import build_circle, evaluation_settings, first_state, resolve
from uec_vlm.trainer.circle import Circle
from uec_vlm.trainer.evaluate import HeldOut, evaluate
from uec_vlm.trainer.loop import Turn, train
from uec_vlm.trainer.state import TrainState
from uec_vlm.trainer.update import Work, refreshed, update

# Checkpoints hold two moments beside the weights, so writing one takes about three times as long as the weights.
_CHECKPOINT_PER_WEIGHTS = 3.0
# The first step allocates and compiles, so it is not counted.
_WARM_UP = 1
# A queue may fill slowly: at most this many times the steps asked for, until an update has been timed.
_PATIENCE = 4
_IMPORTS = "import uec_vlm.trainer.run"


@dataclass(frozen=True)
class Pace:
    """Measured on this machine with this configuration; times in seconds.

    steps: timed. step: of one, training and replay apart. trained: trajectories that a step gives to training;
    trajectory: of training on one. admitted: trajectories that a step gives to the replay buffer; replayed: of training
    on one again. imports, build: until the first evaluation. answer: of one evaluated
    completion. save: of a checkpoint. completion_tokens: mean length; longest_completion: of the whole steps;
    extra_tokens: of a step's extra rollouts.
    """

    steps: int
    step: float
    trained: float
    trajectory: float
    admitted: float
    replayed: float
    imports: float
    build: float
    answer: float
    save: float
    completion_tokens: float
    longest_completion: int
    extra_tokens: float

    def seconds(self, config: RunConfig) -> float:
        """The whole run but for its report: beginning, evaluations with controls, steps, replays, checkpoints."""
        steps = config.run.steps
        training = steps * (self.step + self.trained * self.trajectory)
        training += replayed_trajectories(config, self.admitted) * self.replayed
        saves = len(validated_steps(config)) + (steps // config.checkpoint.every if config.checkpoint.every else 0)
        around = self.imports + self.build + saves * self.save
        return around + training + evaluated_completions(config) * self.answer


def validated_steps(config: RunConfig) -> list[int]:
    """The steps after which validation is evaluated: before the first, at the intervals, after the last."""
    steps, every = config.run.steps, config.evaluate.every
    return sorted({0, *(range(every, steps + 1, every) if every else ()), steps})


def evaluated_completions(config: RunConfig) -> int:
    """Completions of all evaluations: validation, the test split twice, and the controls beside them."""
    settings = config.evaluate
    held_out = min(settings.validation_problems, _rows(config.data.validation))
    completions = _completions(config, "validation", held_out, validated_steps(config))
    if config.data.test is not None:
        tested = min(settings.test_problems or sys.maxsize, _rows(config.data.test))
        completions += _completions(config, "test", tested, [0, config.run.steps])
    return completions


def _rows(source: DataSource) -> int:
    """How many problems a data source has."""
    if isinstance(source, MixtureData):
        return sum(_rows(part.source) for part in source.parts)
    return source.count if isinstance(source, GeosynthData) else int(pq.read_metadata(source.path).num_rows)


def _completions(config: RunConfig, split: str, problems: int, steps: Sequence[int]) -> int:
    how = evaluation_settings(config, split)
    return problems * how.samples * sum(1 + len(how.controls_at(step)) for step in steps)


def replayed_trajectories(config: RunConfig, admitted: float) -> float:
    """Trajectories of all replays of a run whose every step admits `admitted` to the buffer."""
    objective = build_objective(config.objective)
    if not objective.replays:
        return 0.0
    settings, unit = objective.replay_settings, config.rollout.per_step
    capacity = capacity_of(unit=unit, settings=settings)
    lives = [settings.max_reuse * settings.every] if settings.max_reuse is not None else []
    lives += [settings.max_age] if settings.max_age is not None else []
    most = min([float(capacity), *(admitted * steps for steps in lives)])
    held = total = owed = 0.0
    for _ in range(config.run.steps):
        held = min(most, held + admitted)
        follows, owed = due(owed, settings)
        if follows:
            total += held if held >= capacity else take_batches(int(held), unit)
    return total


def calibrate(config: RunConfig, *, steps: int) -> Pace:
    """Turn the circle of the configuration `steps` + 1 times. The policy in memory is trained and thrown away."""
    config = resolve(config)
    imports = _clocked(lambda: subprocess.run([sys.executable, "-c", _IMPORTS], check=True, capture_output=True))
    begun = time.perf_counter()
    circle, splits = build_circle(config)
    build = time.perf_counter() - begun
    answer = _evaluated(circle, splits.validation)
    turns = _turned(circle, steps)
    timed = [turn.report.row() for turn in turns[_WARM_UP:]]
    rows = [turn.report.row() for turn in turns]
    new = [row.get("update/trajectories_regular", 0) + row.get("update/trajectories_extra", 0) for row in timed]
    state = turns[-1].state
    lengths = [len(j.rollout.completion_ids) for t in turns for chosen in t.chosen for j in chosen.group.judged]
    return Pace(
        steps=len(timed),
        step=mean(_phase(row, "step") - _phase(row, "update") - _phase(row, "replay") for row in timed),
        trained=mean(row.get("select/kept_regular", 0) + row.get("select/kept_extra", 0) for row in rows),
        trajectory=sum(_phase(row, "update") for row in timed) / max(1.0, sum(new)),
        admitted=max(row.get("replay/size", 0) for row in rows) / len(rows),
        replayed=_replayed(circle, state),
        imports=imports,
        build=build,
        answer=answer,
        save=_saved(circle),
        completion_tokens=mean(row["rollout/completion_length"] for row in timed),
        longest_completion=max(lengths, default=1),
        extra_tokens=mean(row.get("explore/tokens", 0.0) for row in timed),
    )


def _turned(circle: Circle, steps: int) -> list[Turn]:
    """So many steps after the first, and more until one of them has trained."""
    turns: list[Turn] = []
    for turn in train(circle, first_state(), last_step=_WARM_UP + _PATIENCE * steps):
        turns.append(turn)
        updated = any("time/update" in one.report.row() for one in turns[_WARM_UP:])
        if len(turns) >= _WARM_UP + steps and updated:
            break
    return turns


def _evaluated(circle: Circle, held_out: HeldOut) -> float:
    """Seconds of one completion of an evaluation."""
    settings = replace(held_out.settings, samples=min(2, held_out.settings.samples), controls=())
    few = held_out.samples[: min(64, len(held_out.samples))]
    begun = time.perf_counter()
    evaluate(HeldOut(few, settings), circle, step=0)
    return (time.perf_counter() - begun) / (len(few) * settings.samples)


def _replayed(circle: Circle, state: TrainState) -> float:
    """Seconds of training once more on one trajectory of the replay buffer; 0 where it holds none."""
    held = list(state.replay.trajectories)
    if not held:
        return 0.0
    begun = time.perf_counter()
    if circle.objective.replay_settings.old_logprobs == "recomputed":
        held, _ = refreshed(circle, held)
    update(circle, Work(held, "replay", state.step, state.optimizer_steps, state.controller), StepReport())
    return (time.perf_counter() - begun) / len(held)


def _saved(circle: Circle) -> float:
    """Seconds of a checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(2):  # the first time imports what writing needs
            begun = time.perf_counter()
            save_policy(circle.policy, Path(folder) / str(number))
            seconds = time.perf_counter() - begun
    return _CHECKPOINT_PER_WEIGHTS * seconds


def _phase(row: Mapping[str, float], name: str) -> float:
    return row.get(f"time/{name}", 0.0)


def _clocked(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
