"""A whole GRPO step against TRL's GRPOTrainer, and a UEC step against a GRPO step.

    python -m benchmarks.step [--runs 5]

Same folder, problems, prompts and completions per step, length limit, and reward (whether the tokens' sum is even), no
reference, float32. Before the timing the two gradients of one batch are compared. Both trainers run their own loop,
each step from sampling to the optimizer; the two loops advance in turn. The model is random, so most completions reach
the limit on both sides.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.common import (
    IMAGES,
    TINY,
    Row,
    build_folder,
    make_samples,
    markdown,
    plot_bars,
    profiled,
    save_results,
)  # fmt: skip
from benchmarks.trl_side import grpo_trainer
from benchmarks.update import GRPO, make_trajectories, same_update
from uec_vlm.batches import PromptReader, PromptSettings, render
from uec_vlm.config import RunConfig, merge, parse_config, preset
from uec_vlm.objective import build_objective
from uec_vlm.policy import load_policy, prefill
from uec_vlm.records import Judged, Rollout, Sample, Verdict
from uec_vlm.rollouts.engine import SamplingSettings
from uec_vlm.rollouts.hf import HFEngine
from uec_vlm.trainer.build import build_circle, first_state, resolve
from uec_vlm.trainer.loop import Turn, train

NEW_TOKENS = 64


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    prompts: int
    completions: int
    image_tokens: int
    target: float


CASES = (Case(24, 5, 16, 2.5), Case(8, 8, 144, 4.5))


def judge(rollouts: Sequence[Rollout], *, modulus: int = 2) -> list[Judged]:
    """Right where the sum of the token ids is divisible: a reward that varies in a group and costs nothing."""
    judged = []
    for rollout in rollouts:
        right = int(rollout.completion_ids.sum()) % modulus == 0
        verdict = Verdict(right, "exact" if right else "wrong", rollout.text)
        judged.append(Judged(rollout, verdict, float(right), 1.0, float(right)))
    return judged


def even(completion_ids: Sequence[Sequence[int]], **_: Any) -> list[float]:
    """The same as a reward function of TRL."""
    return [float(sum(ids) % 2 == 0) for ids in completion_ids]


def our_steps(
    folder: Path,
    samples: Sequence[Sample],
    case: Case,
    algorithm: str,
    steps: int,
    *,
    modulus: int = 2,
    share_forward: bool = True,
    prefetch: bool = True,
) -> Iterator[Turn]:
    """The training loop of this toolkit on these samples."""
    own: dict[str, Any] = {
        "run": {"name": "step", "steps": steps, "trackers": []},
        "model": {"path": str(folder)},
        "data": {
            "train": {"kind": "geosynth", "count": 4},
            "validation": {"kind": "geosynth", "count": 1},
            "prompt": {"template": "{problem}", "max_tokens": 4096},
        },
        "rollout": {
            "prompts_per_step": case.prompts,
            "completions_per_prompt": case.completions,
            "max_new_tokens": NEW_TOKENS,
        },
        "update": {"share_forward": share_forward},
        "log": {"realised_dh_every": 0},
    }
    base = preset(algorithm)
    base["objective"]["kl"] = {"name": "none"}
    tree = merge(merge(base, {"algorithm": algorithm}), own)
    circle, _ = build_circle(resolve(parse_config(tree, RunConfig, place="benchmark", name="step")))
    prompts = PromptReader(samples, circle.render, ahead=prefetch)
    return train(
        replace(circle, judge=partial(judge, modulus=modulus), prompts=prompts), first_state(), last_step=steps
    )


def time_turns(sides: dict[str, Callable[[], object]], runs: int) -> dict[str, list[float]]:
    """Seconds of `runs` steps of every side in turn, after one that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn, (name, step) in itertools.product(range(runs + 1), sides.items()):
        start = time.perf_counter()
        step()
        if turn:
            seconds[name].append(time.perf_counter() - start)
    return seconds


def time_between(trainer: Any, step: Callable[[], object], runs: int) -> tuple[list[float], list[float]]:
    """Seconds of TRL's own steps and of `step`, which is called after each of them, but for the first of both.

    Both run in one thread: a second one would have processor threads of its own, which then sleep between the parallel
    parts of every operation, on both sides.
    """
    from transformers import TrainerCallback

    theirs: list[float] = []
    ours: list[float] = []

    class Between(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *arguments: Any, **_: Any) -> None:
            self.start = time.perf_counter()

        def on_step_end(self, *arguments: Any, **_: Any) -> None:
            theirs.append(time.perf_counter() - self.start)
            begun = time.perf_counter()
            step()
            ours.append(time.perf_counter() - begun)
            self.start = time.perf_counter()

    trainer.add_callback(Between())
    trainer.train()
    if len(theirs) != runs + 1:
        raise RuntimeError(f"TRL made {len(theirs)} steps, {runs + 1} were asked for")
    return theirs[1:], ours[1:]


def difference_of(folder: Path, samples: Sequence[Sample], case: Case, trainer: Any) -> float:
    """Of the gradients of the same batch of this case's shape; SystemExit where they are not the same."""
    policy = load_policy(folder)
    policy.model.train()
    prompts = [render(sample, policy.processor, PromptSettings(max_prompt_tokens=4096)) for sample in samples]
    trajectories = make_trajectories(policy, prompts, completions=case.completions)
    difference = same_update(policy, trainer, trajectories, build_objective(GRPO))
    trainer.model.zero_grad(set_to_none=True)
    return difference


def against_trl(case: Case, runs: int) -> Row:
    """One row: the same step by both."""
    with tempfile.TemporaryDirectory() as name:
        folder = build_folder(Path(name), TINY)
        samples = make_samples(case.prompts * (runs + 2), image_tokens=case.image_tokens)
        turns, phases = our_steps(folder, samples, case, "grpo", runs + 1), []
        trainer = grpo_trainer(
            folder, samples, prompts=case.prompts, completions=case.completions, max_new_tokens=NEW_TOKENS,
            reward=even, steps=runs + 1,
        )  # fmt: skip
        difference = difference_of(folder, samples[: case.prompts], case, trainer)
        theirs, own = time_between(trainer, lambda: phases.append(next(turns).report.row()), runs)
    ours, peers = statistics.median(own), statistics.median(theirs)
    return {
        "prompts x completions": f"{case.prompts} x {case.completions}",
        "image tokens": case.image_tokens,
        "TRL, s": peers,
        "uec-vlm, s": ours,
        "times faster": peers / ours,
        "target": case.target,
        "gradients differ by": difference,
        **{
            f"of it {phase}, s": statistics.median(row[f"time/{phase}"] for row in phases[1:])
            for phase in ("rollout", "score", "update")
        },
    }


def uec_against_grpo(case: Case, runs: int) -> list[Row]:
    """A row for each algorithm: what it costs per token, on prompts of which many fail in every regular rollout.

    Every update makes its own forward on both sides, so that its time is that of the same work.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = build_folder(Path(name), TINY)
        samples = make_samples(case.prompts * (runs + 1), image_tokens=case.image_tokens)
        steps = {
            a: our_steps(folder, samples, case, a, runs + 1, modulus=12, share_forward=False) for a in ("grpo", "uec")
        }
        found: dict[str, list[dict[str, float]]] = {name: [] for name in steps}
        sides = {name: partial(lambda a: found[a].append(next(steps[a]).report.row()), name) for name in steps}
        seconds = time_turns(sides, runs)
    return [
        {
            "algorithm": name,
            "step, s": statistics.median(seconds[name]),
            "sampled tokens": _total(found[name][1:], "rollout/sampled_tokens"),
            "decode, ms per sampled token": 1e3 * _ratio(found[name][1:], "time/decode", "rollout/sampled_tokens"),
            "trained tokens": _total(found[name][1:], "update/tokens"),
            "update, ms per trained token": 1e3 * _ratio(found[name][1:], "time/update", "update/tokens"),
            "prompt tokens per trained token": _ratio(found[name][1:], "update/prompt_tokens", "update/tokens"),
            "update, ms per token read": 1e3
            * _total(found[name][1:], "time/update")
            / (_total(found[name][1:], "update/tokens") + _total(found[name][1:], "update/prompt_tokens")),
        }
        for name in steps
    ]


def with_and_without_prefetch(case: Case, runs: int) -> list[Row]:
    """A row for each: what a step waits for its prompts, which prefetching makes while the step before computes."""
    with tempfile.TemporaryDirectory() as name:
        folder = build_folder(Path(name), TINY)
        samples = make_samples(case.prompts * (runs + 2), image_tokens=case.image_tokens)
        turns = {on: our_steps(folder, samples, case, "grpo", runs + 1, prefetch=on) for on in (True, False)}
        found: dict[bool, list[dict[str, float]]] = {on: [] for on in turns}
        sides = {str(on): partial(lambda on: found[on].append(next(turns[on]).report.row()), on) for on in turns}
        seconds = time_turns(sides, runs)
    return [
        {
            "prefetch": "on" if on else "off",
            "prompts x completions": f"{case.prompts} x {case.completions}",
            "image tokens": case.image_tokens,
            "waits for prompts, s": statistics.median(row["time/data"] for row in found[on][1:]),
            "step, s": statistics.median(seconds[str(on)]),
        }
        for on in turns
    ]


def rollouts_profile(case: Case) -> list[Row]:
    """Where the time of a step's rollouts goes, by operation; a step of ours alone, after one that warms up."""
    with tempfile.TemporaryDirectory() as name:
        policy = load_policy(build_folder(Path(name), TINY))
        samples = make_samples(case.prompts, image_tokens=case.image_tokens)
        prompts = [render(sample, policy.processor, PromptSettings(max_prompt_tokens=4096)) for sample in samples]
        engine = HFEngine(policy, prefill)
        sampling = SamplingSettings(temperature=1.0, top_p=1.0, max_new_tokens=NEW_TOKENS)
        sample = partial(
            engine.generate, prompts, completions=case.completions, sampling=sampling, seeds=range(case.prompts)
        )
        sample()
        return profiled(sample)


def _total(rows: Sequence[dict[str, float]], name: str) -> float:
    return sum(row.get(name, 0.0) for row in rows)


def _ratio(rows: Sequence[dict[str, float]], above: str, below: str) -> float:
    return _total(rows, above) / _total(rows, below)


def main() -> None:
    """Time, print, plot and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="timed steps of each side, in turn (default 5)")
    arguments = parser.parse_args()
    rows = [against_trl(case, arguments.runs) for case in CASES]
    print(markdown(rows), "\n")
    # UEC updates every few steps only: more of them.
    algorithms = uec_against_grpo(CASES[0], 4 * arguments.runs)
    print(markdown(algorithms))
    parts = rollouts_profile(CASES[0])
    print(markdown(parts))
    prefetch = with_and_without_prefetch(CASES[1], 3 * arguments.runs)
    print(markdown(prefetch))
    settings = {
        "model": TINY.name, "new tokens": NEW_TOKENS, "runs": arguments.runs, "UEC against GRPO": algorithms,
        "prefetch": prefetch,
        f"profile of the rollouts, {CASES[0].prompts} x {CASES[0].completions}": parts,
    }  # fmt: skip
    save_results("step", rows, settings=settings)
    plot_bars(
        IMAGES / "step.png", rows, label="prompts x completions",
        series={"TRL, s": "TRL GRPOTrainer", "uec-vlm, s": "uec-vlm"}, title="A whole GRPO step", unit="seconds",
    )  # fmt: skip


if __name__ == "__main__":
    main()
