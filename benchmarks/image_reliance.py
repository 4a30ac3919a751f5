"""Does the control of image reliance tell a model that looks from one that does not?

Three models are evaluated with the true picture, a shuffled one, a blank one and none: the starter policy, a copy of it
trained on for some hundred steps with every picture blank, and a copy trained on just as long with the true pictures.
The second can only learn to guess from the question, so its accuracy must not depend on the picture; the third shows
that it is the blank pictures that did it.

    python benchmarks/image_reliance.py --steps 300
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from uec_vlm.batches import PromptSettings, render
from uec_vlm.geosynth import ProblemSet
from uec_vlm.geosynth.asset import starter_folder
from uec_vlm.metrics import StepReport
from uec_vlm.policy import Policy, load_policy, prefill
from uec_vlm.records import Prompt, Sample
from uec_vlm.reports.statistics import estimate, paired_difference
from uec_vlm.rollouts import ENGINES
from uec_vlm.starter.report import MAX_NEW_TOKENS, STARTER_FAMILIES, STARTER_LEVELS
from uec_vlm.trainer.build import Bench
from uec_vlm.trainer.controls import blank
from uec_vlm.trainer.evaluate import Evaluation, EvaluationSettings, HeldOut, evaluate
from uec_vlm.trainer.judging import RewardSettings, judge_rollouts
from uec_vlm.trainer.sft import sft_run
from uec_vlm.trainer.sft_command import Targets

RESULTS = Path(__file__).parent / "results"
TARGET = "<think>{solution}</think>\\boxed{{{answer}}}"
_CONTROLS = ("shuffled", "blank", "none")


def main() -> None:
    """Train the two copies, evaluate all three, print and store the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--problems", type=int, default=120)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    settings = parser.parse_args()
    every = [one for one in _problems("practice", 6000, settings.seed) if one.metadata["needs_picture"]]
    asked = [one for one in _problems("validation", 4 * settings.problems, 20) if one.metadata["needs_picture"]]
    asked = asked[: settings.problems]
    rows = [_row("starter", _evaluate(load_policy(starter_folder()), asked, settings))]
    for name, samples in (("trained on blank pictures", blank(every)), ("trained on true pictures", every)):
        rows.append(_row(name, _evaluate(_trained(samples, settings), asked, settings)))
    _show(rows)
    RESULTS.mkdir(exist_ok=True)
    stored = {"settings": vars(settings), "rows": rows}
    (RESULTS / "image_reliance.json").write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


def _problems(split: Any, count: int, seed: int) -> list[Sample]:
    return list(ProblemSet(split=split, count=count, seed=seed, families=STARTER_FAMILIES, levels=STARTER_LEVELS))


def _trained(samples: Sequence[Sample], settings: argparse.Namespace) -> Policy:
    policy = load_policy(starter_folder())
    steps = sft_run(
        policy,
        Targets(samples, TARGET),
        steps=settings.steps,
        batch_size=24,
        learning_rate=settings.learning_rate,
        warmup_steps=10,
        weight_decay=0.0,
        seed=settings.seed,
        max_grad_norm=1.0,
        render=lambda sample: _render(policy, sample),
    )
    for record in steps:
        if record.step % 50 == 0:
            print(f"step {record.step}: {record.loss:.3f} nats/token", flush=True)
    return policy


def _render(policy: Policy, sample: Sample) -> Prompt:
    return render(sample, policy.processor, PromptSettings())


def _evaluate(policy: Policy, asked: Sequence[Sample], settings: argparse.Namespace) -> Evaluation:
    how = EvaluationSettings("validation", settings.samples, 1.0, MAX_NEW_TOKENS, settings.seed, controls=_CONTROLS)
    reward = RewardSettings(1.0, 0.0, "think_boxed")
    bench = Bench(
        policy=policy,
        engine=ENGINES["hf"]()(policy, prefill),
        render=lambda sample: _render(policy, sample),
        judge=lambda rollouts: judge_rollouts(rollouts, reward),
    )
    return evaluate(HeldOut(asked, how), bench, step=0)


def _row(name: str, evaluation: Evaluation) -> dict[str, Any]:
    report = StepReport()
    evaluation.report(report)
    row = report.row()
    wrong = evaluation.controls["shuffled"]
    true = dict(zip(evaluation.ids, evaluation.accuracies, strict=True))
    shuffled = [count / evaluation.samples for count in wrong.correct]
    difference = paired_difference(shuffled, [true[name] for name in wrong.ids])
    print(f"{name}: {estimate(evaluation.accuracies)}, true minus shuffled {difference}", flush=True)
    return {
        "model": name,
        "true": row["eval/pass@1"],
        **{control: row[f"eval/control_{control}"] for control in _CONTROLS},
        "reliance": row.get("eval/image_reliance"),
        "true minus shuffled": [difference.mean, difference.low, difference.high],
    }


def _show(rows: Sequence[dict[str, Any]]) -> None:
    print("| model | true | shuffled | blank | none | reliance | true - shuffled, 95 % |")
    print("|---" * 7 + "|")
    for row in rows:
        mean, low, high = row["true minus shuffled"]
        reliance = "-" if row["reliance"] is None else f"{row['reliance']:.1f}"
        numbers = " | ".join(f"{row[name]:.3f}" for name in ("true", *_CONTROLS))
        print(f"| {row['model']} | {numbers} | {reliance} | {mean:.3f} [{low:.3f}, {high:.3f}] |")


if __name__ == "__main__":
    main()
