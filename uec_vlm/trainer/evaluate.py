"""Evaluation: the training's own prompts, pixel limits, engine and grader, on problems it does not train on.

Beside the real pictures it can show wrong ones (`uec_vlm.trainer.controls`): whether the policy looks is measured, not
believed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Protocol

from uec_vlm.metrics import StepReport
from uec_vlm.records import Judged, Prompt, Rollout, Sample
from uec_vlm.reports.statistics import format_gain, pass_at_k, powers_of_two
from uec_vlm.rollouts import RolloutEngine, SamplingSettings
from uec_vlm.trainer.controls import CONTROLS
from uec_vlm.trainer.ranks import ALONE, Ranks
from uec_vlm.trainer.seeds import seed_for

_PROMPTS_AT_ONCE = 32


@dataclass(frozen=True)
class EvaluationSettings:
    """How one split is evaluated. temperature 0 is greedy; the seeds do not depend on the step, so that runs pair.

    controls: keys of `CONTROLS`. controls_every: they are measured at step 0, at `last_step`, and at the multiples of
    this (0: nowhere else).
    """

    split: str
    samples: int
    temperature: float
    max_new_tokens: int
    seed: int
    controls: tuple[str, ...] = ()
    controls_every: int = 0
    last_step: int = 0

    def controls_at(self, step: int) -> tuple[str, ...]:
        """The controls that belong to the evaluation of this step."""
        due = step in (0, self.last_step) or (self.controls_every > 0 and step % self.controls_every == 0)
        return self.controls if due else ()


@dataclass(frozen=True)
class HeldOut:
    """The samples of a split that is not trained on, and how they are evaluated."""

    samples: Sequence[Sample]
    settings: EvaluationSettings


@dataclass(frozen=True)
class Counts:
    """Completions of each problem: right ones, well-formed ones, those that are both; and of all tokens the number.

    logprob: sum over all tokens of the log-probability they were drawn with, in nats, <= 0.
    """

    ids: tuple[str, ...]
    correct: tuple[int, ...]
    formatted: tuple[int, ...]
    correct_formatted: tuple[int, ...]
    tokens: int
    logprob: float


@dataclass(frozen=True, kw_only=True)
class Evaluation(Counts):
    """The counts of one split at one step, among `samples` completions of each problem.

    controls: the counts of the same problems with wrong pictures, those that have pictures, by the name of the control.
    """

    split: str
    step: int
    samples: int
    temperature: float
    controls: Mapping[str, Counts] = field(default_factory=dict)

    @property
    def accuracies(self) -> list[float]:
        """Share of right completions per problem."""
        return [count / self.samples for count in self.correct]

    def row(self) -> dict[str, Any]:
        """As a row of `evaluations.jsonl`."""
        return asdict(self)

    def report(self, report: StepReport, *, base: Mapping[str, Any] | None = None) -> None:
        """Adds `eval/...` to the report of a step: pass@1, pass@k for powers of two, format, length, entropy, controls.

        base: the row of the untouched model, against which the gain and the format's part in it are taken.
        """
        completions = len(self.ids) * self.samples
        for k in powers_of_two(self.samples):
            report.add(f"eval/pass@{k}", sum(pass_at_k(self.correct, self.samples, k)), len(self.ids))
        report.add("eval/format", sum(self.formatted), completions)
        report.add("eval/completion_length", self.tokens, completions)
        if self.temperature > 0.0:
            report.add("eval/sampled_entropy", -self.logprob, self.tokens)
        for name, counts in self.controls.items():
            report.add(f"eval/control_{name}", sum(counts.correct), len(counts.ids) * self.samples)
        if "shuffled" in self.controls:
            self._report_reliance(report, self.controls["shuffled"])
        if base is not None:
            gain = format_gain(base, self.row())
            report.add("eval/gain", gain.total)
            report.add("eval/gain_by_format", gain.by_format)

    def _report_reliance(self, report: StepReport, wrong: Counts) -> None:
        """On the problems of the control: accuracy with the true picture over, and minus, that with the wrong one."""
        known = dict(zip(self.ids, self.correct, strict=True))
        true, shuffled = sum(known[name] for name in wrong.ids), sum(wrong.correct)
        report.add("eval/image_reliance", true, shuffled)
        report.add("eval/image_gain", true - shuffled, len(wrong.ids) * self.samples)


class Examiner(Protocol):
    """Who answers, what a problem is asked with, who grades: a `Circle` or a `Bench`."""

    @property
    def engine(self) -> RolloutEngine:
        """Samples the completions."""

    @property
    def render(self) -> Callable[[Sample], Prompt]:
        """Makes the prompt of a problem."""

    @property
    def judge(self) -> Callable[[Sequence[Rollout]], list[Judged]]:
        """Grades completions."""


def evaluate(held_out: HeldOut, examiner: Examiner, *, step: int, ranks: Ranks = ALONE) -> Evaluation:
    """Samples every problem `settings.samples` times and counts, with wrong pictures too where the step asks for it.

    The ranks share the work, and the model is not changed. A control has the seeds of the problems it is made of, so
    that it pairs with them.
    """
    settings = held_out.settings
    true = _count(held_out, examiner, ranks)
    asked = {name: CONTROLS[name](list(held_out.samples)) for name in settings.controls_at(step)}
    controls = {name: _count(HeldOut(samples, settings), examiner, ranks) for name, samples in asked.items()}
    return Evaluation(
        split=settings.split,
        step=step,
        samples=settings.samples,
        temperature=settings.temperature,
        controls={name: counts for name, counts in controls.items() if counts.ids},
        **{one.name: getattr(true, one.name) for one in fields(Counts)},
    )


def _count(held_out: HeldOut, examiner: Examiner, ranks: Ranks) -> Counts:
    def work(part: Sequence[Sample]) -> list[Counts]:
        groups = _answers(part, held_out.settings, examiner)
        return [_counted(sample, examiner.judge(group)) for sample, group in zip(part, groups, strict=True)]

    parts: list[Counts] = []
    samples, at_once = held_out.samples, _PROMPTS_AT_ONCE * ranks.world
    for start in range(0, len(samples), at_once):
        part = [samples[i] for i in range(start, min(start + at_once, len(samples)))]
        parts += ranks.spread(part, work)
    return _joined(parts)


def _counted(sample: Sample, judged: Sequence[Judged]) -> Counts:
    """The counts of one problem."""
    return Counts(
        ids=(sample.id,),
        correct=(sum(int(item.accuracy) for item in judged),),
        formatted=(sum(int(item.format) for item in judged),),
        correct_formatted=(sum(int(item.accuracy * item.format) for item in judged),),
        tokens=sum(len(item.rollout.completion_ids) for item in judged),
        logprob=sum(float(item.rollout.behaviour_logprobs.double().sum()) for item in judged),
    )


def _joined(parts: Sequence[Counts]) -> Counts:
    return Counts(
        ids=tuple(one for part in parts for one in part.ids),
        correct=tuple(one for part in parts for one in part.correct),
        formatted=tuple(one for part in parts for one in part.formatted),
        correct_formatted=tuple(one for part in parts for one in part.correct_formatted),
        tokens=sum(part.tokens for part in parts),
        logprob=sum(part.logprob for part in parts),
    )


def _answers(samples: Sequence[Sample], settings: EvaluationSettings, examiner: Examiner) -> list[list[Rollout]]:
    return examiner.engine.generate(
        [examiner.render(sample) for sample in samples],
        completions=settings.samples,
        sampling=SamplingSettings(temperature=settings.temperature, top_p=1.0, max_new_tokens=settings.max_new_tokens),
        seeds=[seed_for(settings.seed, "evaluate", settings.split, sample.id) for sample in samples],
    )
