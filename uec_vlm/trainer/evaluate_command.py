"""`uec-vlm eval`: a model on the validation or test split of a training configuration."""

from __future__ import annotations

from rich.console import Console

from uec_vlm.config import RunConfig
from uec_vlm.errors import ConfigError
from uec_vlm.metrics import StepReport
from uec_vlm.reports.statistics import estimate
from uec_vlm.trainer.build import build_circle, resolve
from uec_vlm.trainer.evaluate import Evaluation, evaluate


def run_evaluation(config: RunConfig, *, model: str | None, split: str, console: Console) -> Evaluation:
    """Evaluates with the training's own prompt, pixel limits and grader, and prints pass@k."""
    if model is not None:
        config = config.model_copy(update={"model": config.model.model_copy(update={"path": model})})
    circle, splits = build_circle(resolve(config))
    chosen = {
        "validation": (splits.validation, splits.validation_settings),
        "test": (splits.test, splits.test_settings),
    }.get(split)
    if chosen is None or chosen[0] is None:
        raise ConfigError(f"--split {split}: the configuration has no such split; give validation or test.")
    evaluation = evaluate(chosen[0], chosen[1], step=0, engine=circle.engine, render=circle.render, judge=circle.judge)
    report = StepReport()
    evaluation.report(report)
    console.print(f"{config.model.path} on {split}: {len(evaluation.ids)} problems x {evaluation.samples} samples")
    console.print(f"pass@1 with 95 % interval: {estimate(evaluation.accuracies)}", highlight=False)
    for name, value in report.row().items():
        console.print(f"{name} {value:.4f}", highlight=False)
    return evaluation
