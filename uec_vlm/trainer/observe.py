"""What a step measures on its rollouts: entropy of the unfiltered regular ones, verdicts, entropy after the update."""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from uec_vlm.metrics import StepReport
from uec_vlm.objective import gap_of
from uec_vlm.records import Rollout
from uec_vlm.trainer.circle import Circle
from uec_vlm.trainer.collect import Group
from uec_vlm.trainer.forward_kept import KeptForward, keeps_forward
from uec_vlm.trainer.memory import is_out_of_memory
from uec_vlm.trainer.scoring import SequenceScores, score_rollouts, score_with_graph
from uec_vlm.trainer.state import TrainState
from uec_vlm.trainer.timing import timed


def observe_regular(
    circle: Circle, groups: Sequence[Group], report: StepReport
) -> tuple[list[SequenceScores], float, KeptForward | None]:
    """Scores all regular rollouts once and reports them.

    Returns the scores, the mean exact entropy in nats, and the forward where the update may begin with it.
    """
    judged = [item for group in groups for item in group.judged]
    rollouts = [item.rollout for item in judged]
    with timed(report, "score"):
        scores, forward = _scored(circle, rollouts)
    tokens = sum(len(item.entropy) for item in scores)
    entropy = sum(float(item.entropy.sum()) for item in scores)
    gap = gap_of([rollout.behaviour_logprobs for rollout in rollouts], [item.logprobs for item in scores])
    report.add("rollout/entropy", entropy, tokens)
    report.add("rollout/sampled_entropy", -sum(float(item.logprobs.sum()) for item in scores), tokens)
    report.add("rollout/policy_gap_nats", gap.total, gap.tokens)
    report.add("rollout/policy_gap_median_nats", gap.median)
    report.add("rollout/policy_gap_p99_nats", gap.p99)
    report.add("rollout/sampled_tokens", tokens)
    report.add("rollout/accuracy", sum(item.accuracy for item in judged), len(judged))
    report.add("rollout/format", sum(item.format for item in judged), len(judged))
    report.add("rollout/reward", sum(item.reward for item in judged), len(judged))
    report.add("rollout/completion_length", tokens, len(judged))
    report.add("rollout/truncated", sum(rollout.finish == "length" for rollout in rollouts), len(judged))
    report.add("rollout/all_correct", sum(all(group.accuracies) for group in groups))
    report.add("rollout/pass@K", sum(any(group.accuracies) for group in groups), len(groups))
    for reason, count in Counter(item.verdict.reason for item in judged).items():
        report.add(f"verdict/{reason}", count)
    return scores, entropy / max(tokens, 1), forward


def _scored(circle: Circle, rollouts: Sequence[Rollout]) -> tuple[list[SequenceScores], KeptForward | None]:
    """The scores, with the graph where it is worth it; without one where memory runs out for it."""
    if keeps_forward(circle):
        entropy_gradient = circle.objective.entropy_gradient
        try:
            found = score_with_graph(circle.scorer, rollouts, sharing=circle.sharing, entropy_gradient=entropy_gradient)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            found = None
        if found is not None:
            return found[0], KeptForward(rollouts, found[1])
    return score_rollouts(circle.scorer, rollouts, sharing=circle.sharing), None


@dataclass(frozen=True)
class EntropyProbe:
    """Rollouts whose exact entropy is followed through the updates of a step. entropy: nats per token, by now."""

    rollouts: Sequence[Rollout]
    entropy: float


def probe_entropy(
    circle: Circle, groups: Sequence[Group], scores: Sequence[SequenceScores], *, step: int
) -> EntropyProbe | None:
    """A probe of the first regular rollouts of a step, at intervals; None at the steps between."""
    every = circle.settings.realised_dh_every
    if every == 0 or step % every:
        return None
    rollouts = [item.rollout for group in groups for item in group.judged][: circle.settings.realised_dh_rollouts]
    return EntropyProbe(rollouts, _mean_entropy(scores[: len(rollouts)]))


def realised_dh(circle: Circle, probe: EntropyProbe | None, report: StepReport, *names: str) -> EntropyProbe | None:
    """Adds to these metrics how far an update has moved the entropy of the probe; returns the probe as it is now."""
    if probe is None:
        return None
    with timed(report, "score"):
        renewed = score_rollouts(circle.scorer, probe.rollouts, sharing=circle.sharing)
    moved = replace(probe, entropy=_mean_entropy(renewed))
    for name in names:
        report.add(name, moved.entropy - probe.entropy)
    return moved


def _mean_entropy(scores: Sequence[SequenceScores]) -> float:
    return float(torch.cat([item.entropy for item in scores]).double().mean())


def report_state(circle: Circle, state: TrainState, report: StepReport) -> None:
    """Sizes of queue and buffer, the controller, memory."""
    report.add("select/queue", len(state.queue))
    report.add("replay/size", len(state.replay))
    if circle.objective.controls:
        for name, value in state.controller.to_json().items():
            report.add(f"control/{name}", float(value))
    report.add("memory/rss_peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    if circle.policy.device.type == "cuda":
        report.add("memory/gpu_peak", torch.cuda.max_memory_allocated(circle.policy.device) / 2**20)
