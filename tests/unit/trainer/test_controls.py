"""Controls show wrong pictures of the right kind, and tell a policy that looks from one that does not."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from uec_vlm.errors import DataError
from uec_vlm.metrics import StepReport
from uec_vlm.records import Judged, Prompt, Rollout, Sample, Verdict
from uec_vlm.reports.statistics import format_gain
from uec_vlm.trainer.controls import CONTROLS, blank, none, shuffled
from uec_vlm.trainer.evaluate import EvaluationSettings, HeldOut, evaluate


def _picture(shade: int, size: tuple[int, int] = (6, 4)) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", size, shade).save(buffer, "PNG")
    return buffer.getvalue()


SAMPLES = [
    *(
        Sample(str(n), "s", f"<image>What is the shade, {n}?", str(10 * n), images=(_picture(10 * n),))
        for n in range(5)
    ),
    Sample("two", "s", "<image><image>Which is darker?", "10", images=(_picture(10), _picture(200))),
    Sample("text", "s", "What is 1 + 1?", "2"),
]


def test_blank_pictures_are_white_and_of_the_same_size() -> None:
    found = blank(SAMPLES)
    assert [one.id for one in found] == ["0", "1", "2", "3", "4", "two"]
    for one, before in zip(found, SAMPLES, strict=False):
        assert len(one.images) == len(before.images)
        picture = Image.open(io.BytesIO(one.images[0])).convert("L")
        assert (picture.size, picture.getextrema()) == ((6, 4), (255, 255))
        assert (one.problem, one.answer) == (before.problem, before.answer)


def test_shuffled_pictures_are_always_those_of_another_problem() -> None:
    found = shuffled([*SAMPLES, replace(SAMPLES[0], id="same picture as 0")])
    own = {one.id: one.images for one in SAMPLES}
    assert [one.id for one in found] == ["0", "1", "2", "3", "4", "same picture as 0"], "no partner with two pictures"
    assert all(one.images != own.get(one.id, SAMPLES[0].images) for one in found)
    assert shuffled(SAMPLES[:1]) == []


def test_without_pictures_their_places_are_gone_too() -> None:
    assert [one.problem for one in none(SAMPLES)][-2:] == ["What is the shade, 4?", "Which is darker?"]
    assert all(one.images == () for one in none(SAMPLES))


def test_an_unreadable_picture_is_said_plainly() -> None:
    with pytest.raises(DataError, match="cannot be read"):
        blank([replace(SAMPLES[0], images=(b"no picture",))])


def _render(sample: Sample) -> Prompt:
    return Prompt(sample, sample.problem, torch.tensor([1]), torch.zeros(0, 0), torch.zeros(0, 3, dtype=torch.long))


class Policy:
    """Reads the shade off the picture if it looks, else knows the answer by the question's number."""

    def __init__(self, looks: bool) -> None:
        self.looks, self.seeds = looks, []  # type: tuple[bool, list[int]]

    def generate(self, prompts: Sequence[Prompt], *, completions: int, sampling: Any, seeds: Any) -> Any:
        self.seeds += seeds
        return [[self._answer(prompt)] * completions for prompt in prompts]

    def _answer(self, prompt: Prompt) -> Rollout:
        text = str(10 * int(prompt.sample.id)) if prompt.sample.id.isdigit() else "?"
        if self.looks and prompt.sample.images:
            text = str(Image.open(io.BytesIO(prompt.sample.images[0])).convert("L").getpixel((0, 0)))
        elif self.looks:
            text = "?"
        return Rollout(prompt, text, torch.tensor([1]), torch.zeros(1), "stop", "regular", 1.0, 0)


def _judge(rollouts: Sequence[Rollout]) -> list[Judged]:
    right = [rollout.text == rollout.prompt.sample.answer for rollout in rollouts]
    return [
        Judged(r, Verdict(ok, "exact", r.text), float(ok), 1.0, float(ok))
        for r, ok in zip(rollouts, right, strict=True)
    ]


def _evaluate(policy: Policy, *, step: int = 0, every: int = 0, controls: tuple[str, ...] = tuple(CONTROLS)) -> Any:
    settings = EvaluationSettings("validation", 2, 1.0, 9, 3, controls=controls, controls_every=every, last_step=10)
    examiner = SimpleNamespace(engine=policy, render=_render, judge=_judge)
    return evaluate(HeldOut(SAMPLES[:5], settings), examiner, step=step)


def test_the_controls_tell_a_policy_that_looks_from_one_that_does_not() -> None:
    figures = {}
    for looks in (True, False):
        report = StepReport()
        _evaluate(Policy(looks)).report(report)
        figures[looks] = report.row()
    for control in CONTROLS:
        assert figures[True][f"eval/control_{control}"] == 0.0
        assert figures[False][f"eval/control_{control}"] == 1.0
    assert figures[True]["eval/image_gain"] == 1.0
    assert "eval/image_reliance" not in figures[True], "a ratio over nothing is left out"
    assert (figures[False]["eval/image_gain"], figures[False]["eval/image_reliance"]) == (0.0, 1.0)


def test_a_control_has_the_seeds_of_the_problems_it_is_made_of() -> None:
    policy = Policy(True)
    _evaluate(policy, controls=("shuffled",))
    assert policy.seeds[:5] == policy.seeds[5:]


def test_controls_come_at_the_start_the_end_and_the_chosen_steps() -> None:
    steps = [step for step in range(0, 11) if _evaluate(Policy(True), step=step, every=4).controls]
    assert steps == [0, 4, 8, 10]
    assert [step for step in range(0, 11) if _evaluate(Policy(True), step=step).controls] == [0, 10]


def _counts(formatted: int, both: int, others_right: int) -> dict[str, Any]:
    return {
        "samples": 10,
        "ids": ["a"],
        "formatted": [formatted],
        "correct": [both + others_right],
        "correct_formatted": [both],
    }


def test_a_gain_that_is_only_format_is_called_that() -> None:
    # Half of the well-formed ones are right, before and after, none of the others: 2/10 -> 4/10 by form alone.
    gain = format_gain(_counts(4, 2, 0), _counts(8, 4, 0))
    assert (gain.total, gain.by_format, gain.within) == pytest.approx((0.2, 0.2, 0.0))
    assert gain.share == pytest.approx(1.0)


def test_a_gain_in_both_is_split_and_adds_up() -> None:
    # f 0.4 -> 0.8, a 0.5 -> 0.75, b 1/6 -> 0: by format 0.4 * ((1/3) + 0.75) / 2; in all 0.6 - 0.3.
    gain = format_gain(_counts(4, 2, 1), _counts(8, 6, 0))
    assert gain.by_format == pytest.approx(0.4 * (1 / 3 + 0.75) / 2)
    assert gain.total == pytest.approx(0.3)
    assert gain.by_format + gain.within == pytest.approx(0.3)


def test_where_all_is_well_formed_the_gain_is_solving() -> None:
    gain = format_gain(_counts(10, 2, 0), _counts(10, 5, 0))
    assert (gain.by_format, gain.within) == pytest.approx((0.0, 0.3))
    gain = format_gain(_counts(0, 0, 2), _counts(10, 2, 0))
    assert gain.total == pytest.approx(0.0)
