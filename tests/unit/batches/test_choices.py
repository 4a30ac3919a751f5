"""Choices are listed once, however often a sample is rendered."""

import torch

from uec_vlm.batches.choices import choices_listed, list_choices
from uec_vlm.records import Prompt, Rollout, Sample
from uec_vlm.trainer.judging import RewardSettings, judge_rollouts


def test_choices_are_listed_below_the_question_and_only_once() -> None:
    sample = Sample("one", "test", "Find x.", "2", choices=("1", "2"))
    listed = list_choices(sample)
    assert listed.problem == "Find x.\nChoices:\n(A) 1\n(B) 2"
    assert list_choices(listed) == listed


def test_a_letter_is_paid_only_where_the_prompt_lists_the_choices() -> None:
    """An open prompt that paid letters would pay a policy that has learnt to say B."""
    bare = Sample("one", "test", "Find x.", "2", choices=("1", "2"))
    listed = list_choices(bare)
    assert (choices_listed(bare), choices_listed(listed)) == (False, True)
    nothing = (torch.zeros(0, dtype=torch.long), torch.zeros(0, 1), torch.zeros(0, 3, dtype=torch.long))
    rollouts = [
        Rollout(Prompt(sample, "", *nothing), r"\boxed{B}", torch.zeros(1), torch.zeros(1), "stop", "regular", 1.0, 0)
        for sample in (bare, listed)
    ]
    judged = judge_rollouts(rollouts, RewardSettings(1.0, 0.0, "boxed"))
    assert [one.accuracy for one in judged] == [0.0, 1.0]
