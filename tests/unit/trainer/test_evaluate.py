"""Evaluation counts per problem, with seeds that pair evaluations of different steps."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from uec_vlm.metrics import StepReport
from uec_vlm.records import Judged, Prompt, Rollout, Sample, Verdict
from uec_vlm.rollouts import SamplingSettings
from uec_vlm.trainer.evaluate import EvaluationSettings, HeldOut, evaluate

SAMPLES = [Sample(str(n), "sums", f"What is {n} + 1?", str(n + 1)) for n in range(40)]


def _render(sample: Sample) -> Prompt:
    return Prompt(sample, sample.problem, torch.tensor([1]), torch.zeros(0, 0), torch.zeros(0, 3, dtype=torch.long))


class ScriptedEngine:
    """Answers problem n rightly in its first n % 5 completions, and remembers what it was asked."""

    policy_version = 0

    def __init__(self) -> None:
        self.seeds: list[int] = []
        self.sampling: list[SamplingSettings] = []

    def generate(self, prompts: Sequence[Prompt], *, completions: int, sampling: Any, seeds: Any) -> Any:
        self.seeds += seeds
        self.sampling.append(sampling)
        return [[self._rollout(prompt, place) for place in range(completions)] for prompt in prompts]

    def _rollout(self, prompt: Prompt, place: int) -> Rollout:
        text = prompt.sample.answer if place < int(prompt.sample.id) % 5 else "none"
        ids = torch.tensor([1, 2, 3])
        return Rollout(prompt, text, ids, torch.tensor([-0.5, 0.0, -0.1 * place]), "stop", "regular", 1.0, 0)


def _judge(rollouts: Sequence[Rollout]) -> list[Judged]:
    judged = []
    for rollout in rollouts:
        right = rollout.text == rollout.prompt.sample.answer
        judged.append(Judged(rollout, Verdict(right, "exact", rollout.text), float(right), 0.5, float(right)))
    return judged


def _evaluate(engine: ScriptedEngine, *, step: int = 0, split: str = "validation", temperature: float = 0.7) -> Any:
    settings = EvaluationSettings(split=split, samples=4, temperature=temperature, max_new_tokens=9, seed=3)
    examiner = SimpleNamespace(engine=engine, render=_render, judge=_judge)
    return evaluate(HeldOut(SAMPLES, settings), examiner, step=step)


def test_right_answers_are_counted_per_problem_in_order() -> None:
    engine = ScriptedEngine()
    result = _evaluate(engine)
    assert result.ids == tuple(sample.id for sample in SAMPLES)
    assert result.correct == tuple(min(n % 5, 4) for n in range(40))
    assert result.tokens == 40 * 4 * 3
    assert all(s == SamplingSettings(temperature=0.7, top_p=1.0, max_new_tokens=9) for s in engine.sampling)


def test_the_report_has_unbiased_pass_at_k() -> None:
    report = StepReport()
    _evaluate(ScriptedEngine()).report(report)
    row = report.row()
    assert row["eval/pass@1"] == pytest.approx(0.5)
    # c = 0..4 of 4: 1 - C(4-c, 2) / C(4, 2) = 0, 1/2, 5/6, 1, 1
    assert row["eval/pass@2"] == pytest.approx((0 + 1 / 2 + 5 / 6 + 1 + 1) / 5)
    assert row["eval/pass@4"] == pytest.approx(4 / 5)
    assert row["eval/completion_length"] == 3


def test_entropy_is_the_mean_over_tokens_and_greedy_answers_have_none() -> None:
    """Of four completions -0.5, -0.6, -0.7 and -0.8, three tokens each."""
    result = _evaluate(ScriptedEngine())
    assert result.logprob == pytest.approx(-2.6 * 40)
    sampled, greedy = StepReport(), StepReport()
    result.report(sampled)
    assert sampled.row()["eval/sampled_entropy"] == pytest.approx(2.6 / 12)
    _evaluate(ScriptedEngine(), temperature=0.0).report(greedy)
    assert "eval/sampled_entropy" not in greedy.row()


def test_seeds_do_not_depend_on_the_step_and_differ_between_problems_and_splits() -> None:
    first, later, other = ScriptedEngine(), ScriptedEngine(), ScriptedEngine()
    _evaluate(first, step=0)
    _evaluate(later, step=10)
    _evaluate(other, split="test")
    assert first.seeds == later.seeds
    assert len(set(first.seeds)) == 40
    assert not set(first.seeds) & set(other.seeds)
