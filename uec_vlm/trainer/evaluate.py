"""Evaluation: the training's own prompts, pixel limits, engine and grader, on problems it does not train on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from uec_vlm.metrics import StepReport
from uec_vlm.records import Judged, Prompt, Rollout, Sample
from uec_vlm.reports.statistics import pass_at_k
from uec_vlm.rollouts import RolloutEngine, SamplingSettings
from uec_vlm.trainer.ranks import ALONE, Ranks
from uec_vlm.trainer.seeds import seed_for

_PROMPTS_AT_ONCE = 32


@dataclass(frozen=True)
class EvaluationSettings:
    """How one split is evaluated. temperature 0 is greedy; the seeds do not depend on the step, so that runs pair."""

    split: str
    samples: int
    temperature: float
    max_new_tokens: int
    seed: int


@dataclass(frozen=True)
class HeldOut:
    """The samples of a split that is not trained on, and how they are evaluated."""

    samples: Sequence[Sample]
    settings: EvaluationSettings


@dataclass(frozen=True)
class Evaluation:
    """Right answers among `samples` completions, and well-formed ones, for each problem."""

    split: str
    step: int
    samples: int
    temperature: float
    ids: tuple[str, ...]
    correct: tuple[int, ...]
    formatted: tuple[int, ...]
    tokens: int

    @property
    def accuracies(self) -> list[float]:
        """Share of right completions per problem."""
        return [count / self.samples for count in self.correct]

    def row(self) -> dict[str, Any]:
        """As a row of `evaluations.jsonl`."""
        return asdict(self)

    def report(self, report: StepReport) -> None:
        """Adds `eval/...` to the report of a step: pass@1, pass@k for powers of two, format, length."""
        completions = len(self.ids) * self.samples
        k = 1
        while k <= self.samples:
            report.add(f"eval/pass@{k}", sum(pass_at_k(self.correct, self.samples, k)), len(self.ids))
            k *= 2
        report.add("eval/format", sum(self.formatted), completions)
        report.add("eval/completion_length", self.tokens, completions)


def evaluate(
    samples: Sequence[Sample],
    settings: EvaluationSettings,
    *,
    step: int,
    engine: RolloutEngine,
    render: Callable[[Sample], Prompt],
    judge: Callable[[Sequence[Rollout]], list[Judged]],
    ranks: Ranks = ALONE,
) -> Evaluation:
    """Samples every problem `settings.samples` times and counts; the ranks share the work. The model is not changed."""

    def work(part: Sequence[Sample]) -> list[tuple[int, int, int]]:
        return [_counts(judge(group)) for group in _answers(part, settings, engine, render)]

    ids: list[str] = []
    correct: list[int] = []
    formatted: list[int] = []
    tokens = 0
    at_once = _PROMPTS_AT_ONCE * ranks.world
    for start in range(0, len(samples), at_once):
        part = [samples[i] for i in range(start, min(start + at_once, len(samples)))]
        for sample, (right, formed, sampled) in zip(part, ranks.spread(part, work), strict=True):
            ids.append(sample.id)
            correct.append(right)
            formatted.append(formed)
            tokens += sampled
    return Evaluation(
        settings.split,
        step,
        settings.samples,
        settings.temperature,
        tuple(ids),
        tuple(correct),
        tuple(formatted),
        tokens,
    )


def _counts(judged: Sequence[Judged]) -> tuple[int, int, int]:
    """Right and well-formed completions, and tokens, of one problem."""
    tokens = sum(len(item.rollout.completion_ids) for item in judged)
    return int(sum(item.accuracy for item in judged)), int(sum(item.format for item in judged)), tokens


def _answers(
    samples: Sequence[Sample],
    settings: EvaluationSettings,
    engine: RolloutEngine,
    render: Callable[[Sample], Prompt],
) -> list[list[Rollout]]:
    return engine.generate(
        [render(sample) for sample in samples],
        completions=settings.samples,
        sampling=SamplingSettings(temperature=settings.temperature, top_p=1.0, max_new_tokens=settings.max_new_tokens),
        seeds=[seed_for(settings.seed, "evaluate", settings.split, sample.id) for sample in samples],
    )
