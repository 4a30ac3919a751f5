"""`uec-vlm eval`: a model on the validation or test split of a training configuration."""

from __future__ import annotations

from rich.console import Console

from uec_vlm.config import RunConfig
from uec_vlm.metrics import StepReport
from uec_vlm.reports.statistics import estimate
from uec_vlm.trainer.build import build_evaluation, resolve
from uec_vlm.trainer.evaluate import Evaluation, evaluate
from uec_vlm.trainer.evaluation_config import FINISHED


def run_evaluation(config: RunConfig, *, model: str | None, split: str, console: Console) -> Evaluation:
    """Evaluates with the training's own prompt, pixel limits and grader, and prints pass@k."""
    if model is not None:
        config = config.model_copy(update={"model": config.model.model_copy(update={"path": model, **FINISHED})})
    bench, held_out = build_evaluation(resolve(config), split)
    evaluation = evaluate(held_out, bench, step=0)
    report = StepReport()
    evaluation.report(report)
    console.print(f"{config.model.path} on {split}: {len(evaluation.ids)} problems x {evaluation.samples} samples")
    console.print(f"pass@1 with 95 % interval: {estimate(evaluation.accuracies)}", highlight=False)
    for name, value in report.row().items():
        console.print(f"{name} {value:.4f}", highlight=False)
    return evaluation
