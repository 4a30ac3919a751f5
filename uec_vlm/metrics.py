"""The catalogue of metric names: unit, reduction and meaning; the run log refuses every other name.

Names are `stage/quantity`. A `*` stands for one word: `verdict/*` covers one count per verdict reason.
A mean travels as (total, weight) until the row of its step is written, so that means of unequal parts are right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

Reduction = Literal["mean", "sum", "last"]


@dataclass(frozen=True)
class Metric:
    """One line of the catalogue. mean: total / weight over the step; sum: added up; last: the newest value."""

    name: str
    unit: str
    reduction: Reduction
    meaning: str


CATALOGUE: tuple[Metric, ...] = (
    Metric("rollout/accuracy", "share", "mean", "Regular rollouts that the verifier calls correct."),
    Metric("rollout/format", "share", "mean", "Regular rollouts that keep the asked format."),
    Metric("rollout/reward", "reward", "mean", "Reward of the regular rollouts, by the configured weights."),
    Metric(
        "rollout/entropy",
        "nats/token",
        "mean",
        "Exact entropy over the whole vocabulary of the unfiltered regular rollouts, at the sampling temperature.",
    ),
    Metric("rollout/sampled_entropy", "nats/token", "mean", "-log p of the sampled tokens: unbiased, noisier."),
    Metric("rollout/completion_length", "tokens", "mean", "Length of the regular completions, end token included."),
    Metric("rollout/truncated", "share", "mean", "Regular completions cut by the length limit."),
    Metric("rollout/sampled_tokens", "tokens", "sum", "Tokens sampled in this step, extra rollouts included."),
    Metric("rollout/all_correct", "prompts", "sum", "Prompts whose regular rollouts are all correct."),
    Metric("rollout/pass@K", "share", "mean", "Prompts that at least one regular rollout solved."),
    Metric(
        "rollout/policy_gap_nats",
        "nats/token",
        "mean",
        "Absolute difference of the log-probabilities of sampler and trainer on the regular rollouts.",
    ),
    Metric(
        "rollout/policy_gap_median_nats",
        "nats/token",
        "last",
        "Median over the tokens of what `rollout/policy_gap_nats` is the mean of.",
    ),
    Metric(
        "rollout/policy_gap_p99_nats",
        "nats/token",
        "last",
        "99th percentile over the tokens of what `rollout/policy_gap_nats` is the mean of.",
    ),
    Metric(
        "data/skipped", "prompts", "sum", "Draws that became no prompt (a corrupt picture); others took their places."
    ),
    Metric("verdict/*", "rollouts", "sum", "Regular and extra rollouts with this verdict reason."),
    Metric("explore/hard_prompts", "prompts", "sum", "Prompts that every regular rollout failed."),
    Metric(
        "explore/explored_prompts",
        "prompts",
        "sum",
        "Prompts that were given extra rollouts, hard ones or not, as the rule says.",
    ),
    Metric("explore/solved", "prompts", "sum", "Hard prompts that an extra rollout solved."),
    Metric("explore/tokens", "tokens", "sum", "Tokens spent on extra rollouts."),
    Metric("explore/accuracy", "share", "mean", "Extra rollouts that the verifier calls correct."),
    Metric("explore/solved_per_1k_tokens", "prompts", "mean", "Hard prompts solved per 1 000 extra tokens."),
    Metric("explore/temperature", "ratio", "last", "Sampling temperature of the extra rollouts."),
    Metric(
        "explore/entropy",
        "nats/token",
        "mean",
        "Exact entropy of the kept extra rollouts, at the training temperature.",
    ),
    Metric("select/kept_*", "trajectories", "sum", "Trajectories of this source kept for training."),
    Metric("select/dropped_*", "trajectories", "sum", "Trajectories dropped for this reason."),
    Metric("select/queue", "trajectories", "last", "Trajectories waiting for a full batch."),
    Metric("select/refills", "draws", "sum", "Additional draws of prompts made by dynamic sampling."),
    Metric("replay/size", "trajectories", "last", "Trajectories in the replay buffer."),
    Metric("replay/age", "steps", "mean", "Steps since the replayed trajectories were sampled."),
    Metric("replay/realised_dh", "nats/token", "sum", "The replay's part of `update/realised_dh`."),
    Metric("replay/entropy", "nats/token", "mean", "Exact entropy of the replayed trajectories, before the replay."),
    Metric("update/optimizer_steps", "steps", "sum", "Calls of the optimizer in this step; 0 if there was no update."),
    Metric(
        "update/trajectories",
        "trajectories",
        "sum",
        "Trajectories trained on in this step, all sources; once for all epochs.",
    ),
    Metric("update/trajectories_*", "trajectories", "sum", "Trajectories of this source trained on in this step."),
    Metric("update/tokens", "tokens", "sum", "Completion tokens trained on in this step; once for all epochs."),
    Metric("update/prompt_tokens", "tokens", "sum", "Prompt tokens of the trajectories trained on, once per problem."),
    Metric("update/loss", "loss", "mean", "Loss over the optimizer steps of this step."),
    Metric("update/grad_norm", "norm", "mean", "Gradient norm before clipping."),
    Metric("update/learning_rate", "rate", "last", "Learning rate of the last optimizer step."),
    Metric("update/skipped", "steps", "sum", "Optimizer steps skipped because loss or gradient was not finite."),
    Metric("update/out_of_memory", "times", "sum", "Gradients made anew of halved micro-batches since memory ran out."),
    Metric("update/staleness", "steps", "mean", "Steps since the newly trained trajectories were sampled."),
    Metric(
        "update/staleness_nats_*",
        "nats/token",
        "mean",
        "Absolute difference of the log-probabilities now and at sampling, of the trained tokens of this source.",
    ),
    Metric(
        "update/predicted_dh_*", "nats/token", "mean", "Predicted change of entropy by source, per unit of step size."
    ),
    Metric(
        "update/realised_dh",
        "nats/token",
        "sum",
        "Change of exact entropy over the updates of a step, replay included, on the same rollouts.",
    ),
    Metric("objective/*", "see docs", "mean", "Measurements that the configured loss names (clip shares, KL, ratio)."),
    Metric("control/*", "see docs", "last", "State of the entropy controller after this step."),
    Metric("eval/pass@1", "share", "mean", "Mean accuracy over the samples of the validation problems."),
    Metric("eval/pass@*", "share", "mean", "Unbiased pass@k on the validation problems."),
    Metric("eval/format", "share", "mean", "Evaluation completions that keep the asked format."),
    Metric("eval/completion_length", "tokens", "mean", "Length of the evaluation completions."),
    Metric(
        "eval/sampled_entropy",
        "nats/token",
        "mean",
        "-log p of the sampled tokens of the evaluation: always the same problems.",
    ),
    Metric("eval/image_reliance", "ratio", "mean", "Accuracy with the true picture over that with a shuffled one."),
    Metric("eval/image_gain", "share", "mean", "Accuracy with the true picture minus that with a shuffled one."),
    Metric("eval/control_*", "share", "mean", "Accuracy with this control (blank, shuffled, none) for the picture."),
    Metric("eval/gain", "share", "last", "Accuracy on the validation problems minus that of the untouched model."),
    Metric("eval/gain_by_format", "share", "last", "The part of eval/gain that comes of more well-formed completions."),
    Metric(
        "time/cpu",
        "seconds",
        "sum",
        "Processor time of the first process over the step, all its threads; a busy machine does not lengthen it.",
    ),
    Metric("time/step", "seconds", "sum", "Wall time of the whole step, without evaluation and saving."),
    Metric("time/data", "seconds", "sum", "Wall time of waiting for prompts: reading, decoding, resizing, tokens."),
    Metric("time/rollout", "seconds", "sum", "Wall time of the regular rollouts; vision, prefill, decode are parts."),
    Metric("time/explore", "seconds", "sum", "Wall time of the extra rollouts; vision, prefill, decode are parts."),
    Metric("time/vision", "seconds", "sum", "Wall time of the vision tower, within rollout and explore."),
    Metric(
        "time/prefill", "seconds", "sum", "Wall time of reading prompts after the tower, within rollout and explore."
    ),
    Metric("time/decode", "seconds", "sum", "Wall time of sampling tokens, within rollout and explore."),
    Metric("time/verify", "seconds", "sum", "Wall time of grading."),
    Metric("time/score", "seconds", "sum", "Wall time of log-probabilities and entropy outside of updates."),
    Metric("time/update", "seconds", "sum", "Wall time of the update on new trajectories."),
    Metric("time/replay", "seconds", "sum", "Wall time of the update on replayed trajectories, scoring included."),
    Metric("time/sync", "seconds", "sum", "Wall time of handing new weights to the engine."),
    Metric("time/evaluate", "seconds", "sum", "Wall time of the evaluation after this step."),
    Metric("time/*", "seconds", "sum", "Wall time of another phase in this step."),
    Metric("memory/rss_peak", "MiB", "last", "Largest resident memory of the process so far."),
    Metric("memory/gpu_peak", "MiB", "last", "Largest GPU memory allocated so far; absent without a GPU."),
)
_EXACT = {metric.name: metric for metric in CATALOGUE}


def find(name: str) -> Metric:
    """The catalogue's line for a metric name; KeyError with the remedy if it has none."""
    if name in _EXACT:
        return _EXACT[name]
    for metric in CATALOGUE:
        if "*" in metric.name and fnmatchcase(name, metric.name):
            return metric
    raise KeyError(f"metric '{name}' is not in uec_vlm.metrics.CATALOGUE; add a line with unit, reduction and meaning")


@dataclass
class StepReport:
    """Measurements of one step, collected as (total, weight) and reduced once; notes say in words what happened."""

    totals: dict[str, float] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, total: float, weight: float = 1.0) -> None:
        """Adds a measurement; a mean is total / weight, so `total` is the sum over what `weight` counts."""
        if find(name).reduction == "last":
            self.totals[name], self.weights[name] = total, 1.0
            return
        self.totals[name] = self.totals.get(name, 0.0) + total
        self.weights[name] = self.weights.get(name, 0.0) + weight

    def note(self, text: str) -> None:
        """Adds a remark that the run prints; the same one once per step."""
        if text not in self.notes:
            self.notes.append(text)

    def row(self) -> dict[str, float]:
        """One number per name; a mean over nothing is left out."""
        row = {}
        for name, total in self.totals.items():
            if find(name).reduction != "mean":
                row[name] = total
            elif self.weights[name] > 0:
                row[name] = total / self.weights[name]
        return row


def markdown_table(metrics: tuple[Metric, ...] = CATALOGUE) -> str:
    """The catalogue as the table that the documentation shows."""
    lines = ["| name | unit | reduction | meaning |", "|---|---|---|---|"]
    lines += [f"| `{m.name}` | {m.unit} | {m.reduction} | {m.meaning} |" for m in metrics]
    return "\n".join(lines)


def check_row(row: Mapping[str, float]) -> None:
    """Refuses a row with a name that the catalogue does not have."""
    for name in row:
        find(name)
