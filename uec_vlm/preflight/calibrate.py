"""A short calibration: a few real steps and a small evaluation, timed; nothing is written to a run folder."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

from uec_vlm.config import RunConfig
from uec_vlm.policy import save_policy
from uec_vlm.trainer.build import build_circle, first_state, resolve
from uec_vlm.trainer.evaluate import evaluate
from uec_vlm.trainer.loop import train

# Checkpoints hold two moments beside the weights, so writing one takes about three times as long as the weights.
_CHECKPOINT_PER_WEIGHTS = 3.0
# The first step allocates and compiles, so it is not counted.
_WARM_UP = 1


@dataclass(frozen=True)
class Pace:
    """Measured on this machine with this configuration.

    steps: timed. step: seconds of one, checkpoint and evaluation apart. build: seconds until the first step.
    answer: seconds of one evaluated completion. save: seconds of a checkpoint. completion_tokens: mean length;
    longest_completion: of the whole steps; extra_tokens: of a step's extra rollouts.
    """

    steps: int
    step: float
    build: float
    answer: float
    save: float
    completion_tokens: float
    longest_completion: int
    extra_tokens: float

    def seconds(self, config: RunConfig) -> float:
        """The whole run: building, evaluations, steps, checkpoints, and the test split twice."""
        settings, steps, every = config.evaluate, config.run.steps, config.evaluate.every
        validations = 1 + (steps // every if every else 0) + (1 if not every or steps % every else 0)
        problems = settings.validation_problems * settings.validation_samples * validations
        if config.data.test is not None:
            count = settings.test_problems or getattr(config.data.test, "count", None) or 0
            problems += 2 * count * settings.test_samples
        saves = validations + (steps // config.checkpoint.every if config.checkpoint.every else 0)
        return self.build + steps * self.step + problems * self.answer + saves * self.save


def calibrate(config: RunConfig, *, steps: int) -> Pace:
    """Turn the circle of the configuration `steps` + 1 times. The policy in memory is trained and thrown away."""
    config = resolve(config)
    begun = time.perf_counter()
    circle, splits = build_circle(config)
    built = time.perf_counter() - begun
    held_out = splits.validation
    settings = replace(held_out.settings, samples=min(2, held_out.settings.samples))
    few = held_out.samples[: min(64, len(held_out.samples))]
    begun = time.perf_counter()
    evaluate(few, settings, step=0, engine=circle.engine, render=circle.render, judge=circle.judge)
    answer = (time.perf_counter() - begun) / (len(few) * settings.samples)
    seconds, lengths, extra, longest = [], [], [], 1
    begun = time.perf_counter()
    for turn in train(circle, first_state(), last_step=_WARM_UP + steps):
        seconds.append(time.perf_counter() - begun)
        row = turn.report.row()
        lengths.append(row["rollout/completion_length"])
        extra.append(row.get("explore/tokens", 0.0))
        longest = max(longest, *(len(j.rollout.completion_ids) for chosen in turn.chosen for j in chosen.group.judged))
        begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(2):  # the first time imports what writing needs
            begun = time.perf_counter()
            save_policy(circle.policy, Path(folder) / str(number))
            save = _CHECKPOINT_PER_WEIGHTS * (time.perf_counter() - begun)
    return Pace(
        steps=steps,
        step=mean(seconds[_WARM_UP:]),
        build=built,
        answer=answer,
        save=save,
        completion_tokens=mean(lengths),
        longest_completion=longest,
        extra_tokens=mean(extra),
    )
