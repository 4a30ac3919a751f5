"""How cost grows: with the group size, the image tokens and the length of responses; and UEC-RL's cost per token.

    python -m benchmarks.scaling [--sweep "group size"]

Eight generated problems on a random model. Cost is that of the rollouts, and of one gradient on all of them (forward
and backward of their log-probabilities, the body of an update). Every case of a sweep takes turns with the others. One
sweep alone takes the place of its own rows in the results.

    python -m benchmarks.scaling --methods

runs the steps of the quickstart with the presets `grpo` and `uec` in turn, on the starter policy: seconds of decoding
per sampled token, seconds of the update per trained token, wall time per step.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.common import (
    IMAGES,
    RESULTS,
    TINY,
    Row,
    alternate,
    build_policy,
    make_prompts,
    markdown,
    medians,
    plot_lines,
    save_results,
)
from uec_vlm.batches import collate_completions, cut_rollouts
from uec_vlm.config import config_folder, load_config
from uec_vlm.policy import Policy, prefill, score
from uec_vlm.records import Prompt, Rollout
from uec_vlm.rollouts import SamplingSettings
from uec_vlm.rollouts.hf import HFEngine
from uec_vlm.trainer.build import build_circle, first_state, resolve
from uec_vlm.trainer.loop import train

PROMPTS = 8
BATCH_TOKENS, MICRO_BATCH_TOKENS = 262_144, 16_384
# Four times the completions of a group may take this many times as long, at 576 image tokens.
GROUP_TARGET = 2.5
# Decoding per sampled token and update per trained token, UEC-RL against GRPO.
METHOD_TARGET = 1.05


@dataclass(frozen=True)
class Case:
    """Completions per prompt, image tokens per prompt, tokens per completion."""

    completions: int
    image_tokens: int
    new_tokens: int


SWEEPS: dict[str, tuple[str, tuple[Case, ...]]] = {
    "group size": ("completions", tuple(Case(n, 576, 64) for n in (1, 2, 4, 8, 16, 32))),
    "image tokens": ("image_tokens", tuple(Case(8, tokens, 64) for tokens in (16, 64, 144, 256, 576, 1024))),
    "response length": ("new_tokens", tuple(Case(8, 144, length) for length in (16, 32, 64, 128, 256))),
}


def rollouts_side(policy: Policy, prompts: Sequence[Prompt], case: Case) -> Callable[[], list[Rollout]]:
    """Sampling all completions."""
    engine = HFEngine(policy, prefill, batch_tokens=BATCH_TOKENS)
    sampling = SamplingSettings(max_new_tokens=case.new_tokens)

    def run() -> list[Rollout]:
        seeds = range(len(prompts))
        groups = engine.generate(prompts, completions=case.completions, sampling=sampling, seeds=seeds)
        return [rollout for group in groups for rollout in group]

    return run


def gradient_side(policy: Policy, rollouts: Sequence[Rollout]) -> Callable[[], None]:
    """Forward and backward of the log-probabilities of all completions, in micro-batches."""

    def run() -> None:
        policy.model.zero_grad(set_to_none=True)
        for places in cut_rollouts(rollouts, budget=MICRO_BATCH_TOKENS):
            part = [rollouts[place] for place in places]
            batch = collate_completions([r.completion_ids for r in part], [r.prompt for r in part])
            score(policy, batch, temperature=1.0).logprobs.sum().backward()  # type: ignore[no-untyped-call]

    return run


def sweep(cases: Sequence[Case], *, runs: int) -> list[Row]:
    """A row per case: median seconds of the rollouts, of the gradient, and of both."""
    # Without end tokens every completion has its whole length.
    policy = replace(build_policy(TINY), end_ids=())
    sides: dict[str, Callable[[], Any]] = {}
    for case in cases:
        prompts = make_prompts(policy, PROMPTS, image_tokens=case.image_tokens)
        sample = rollouts_side(policy, prompts, case)
        made = sample()
        wanted = PROMPTS * case.completions * case.new_tokens
        if sum(len(rollout.completion_ids) for rollout in made) != wanted:
            raise RuntimeError(f"{case}: not every completion has its whole length")
        sides |= {f"rollouts {case}": sample, f"gradient {case}": gradient_side(policy, made)}
    seconds = medians(alternate(sides, runs=runs))
    rows: list[Row] = []
    for case in cases:
        sampling, gradient = seconds[f"rollouts {case}"], seconds[f"gradient {case}"]
        row: Row = {"completions": case.completions, "image_tokens": case.image_tokens, "new_tokens": case.new_tokens}
        rows.append({**row, "rollouts s": sampling, "gradient s": gradient, "both s": sampling + gradient})
    return rows


def growth(rows: Sequence[Row]) -> Row:
    """How many times as long a group of 32 takes as one of 8."""
    by_size = {row["completions"]: row for row in rows}
    ratios = {f"{name}, 8 to 32": by_size[32][f"{name} s"] / by_size[8][f"{name} s"] for name in ("rollouts", "both")}
    return {**ratios, "target": GROUP_TARGET}


def methods(*, steps: int) -> list[Row]:
    """UEC-RL and GRPO on the same prompts with updates of the same size, a step of each in turn."""
    runs: dict[str, Any] = {}
    for name in ("grpo", "uec"):
        overrides = [f"algorithm={name}", f"run.steps={steps}", "data.test=null", "log.realised_dh_every=0"]
        overrides += ["objective={}"] if name == "grpo" else []
        config = resolve(load_config(config_folder() / "quickstart.yaml", overrides))
        circle, _ = build_circle(config)
        runs[name] = train(circle, first_state(), last_step=steps)
    found: dict[str, list[Row]] = {name: [] for name in runs}
    for _ in range(steps):
        for name, turns in runs.items():
            found[name].append(next(turns).report.row())
    return [_method_row(name, rows[1:]) for name, rows in found.items()]


def _method_row(name: str, rows: Sequence[Row]) -> Row:
    """Costs per token over the steps after the first, which warms up; updates are counted where there were some."""
    decoding = [row["time/decode"] / row["rollout/sampled_tokens"] for row in rows]
    updates = [row["time/update"] / row["update/tokens"] for row in rows if row.get("update/tokens")]
    return {
        "method": name,
        "steps": len(rows),
        "sampled tokens a step": statistics.mean(row["rollout/sampled_tokens"] for row in rows),
        "of them extra": statistics.mean(row.get("explore/tokens", 0.0) for row in rows),
        "decode ms a token": 1e3 * statistics.median(decoding),
        "update ms a token": 1e3 * statistics.median(updates),
        "trajectories an update": statistics.mean(r["update/trajectories"] for r in rows if r.get("update/tokens")),
        "s a step": statistics.median(row["time/step"] for row in rows),
    }


def main() -> None:
    """Print the tables; write the results and the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each case (default 5)")
    parser.add_argument("--sweep", choices=sorted(SWEEPS), help="this sweep alone (default: all)")
    parser.add_argument("--methods", action="store_true", help="compare UEC-RL's cost per token with GRPO's instead")
    parser.add_argument("--steps", type=int, default=11, help="with --methods: steps of each, the first not counted")
    arguments = parser.parse_args()
    if arguments.methods:
        compare_methods(arguments.steps)
        return
    found = {} if arguments.sweep is None else known_rows()
    for name in [arguments.sweep] if arguments.sweep else list(SWEEPS):
        found[name] = sweep(SWEEPS[name][1], runs=arguments.runs)
        print(f"\n{name}\n\n{markdown(found[name])}", flush=True)
    ratios = [growth(found["group size"])] if "group size" in found else []
    print(f"\n{markdown(ratios)}" if ratios else "")
    settings = {"size": TINY.name, "prompts": PROMPTS, "runs": arguments.runs, "growth": ratios}
    save_results(
        "scaling", [{"sweep": name, **row} for name in SWEEPS for row in found.get(name, [])], settings=settings
    )
    series = {"rollouts s": "rollouts", "gradient s": "gradient", "both s": "both"}
    panels = {name: (found[name], across, series) for name, (across, _) in SWEEPS.items() if name in found}
    title = f"{PROMPTS} prompts; 576 image tokens and 64 new ones (left), n = 8 (middle, right)"
    plot_lines(IMAGES / "performance_scaling.png", panels, title=title, unit="seconds")


def known_rows() -> dict[str, list[Row]]:
    """The rows of the result file, by sweep."""
    path = RESULTS / "scaling.json"
    found: dict[str, list[Row]] = {}
    for row in json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []:
        found.setdefault(row.pop("sweep"), []).append(row)
    return found


def compare_methods(steps: int) -> None:
    """The table of `methods` with UEC-RL's costs over GRPO's."""
    grpo, uec = methods(steps=steps)
    for cost in ("decode ms a token", "update ms a token"):
        uec[f"{cost} / GRPO"] = uec[cost] / grpo[cost]
    uec["target"] = METHOD_TARGET
    print(markdown([grpo, uec], list(uec)))
    save_results("methods", [grpo, uec], settings={"config": "quickstart", "steps": steps})


if __name__ == "__main__":
    main()
