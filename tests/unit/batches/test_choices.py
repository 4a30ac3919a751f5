"""Choices are listed once, however often a sample is rendered."""

from uec_vlm.batches.choices import list_choices
from uec_vlm.records import Sample


def test_choices_are_listed_below_the_question_and_only_once() -> None:
    sample = Sample("one", "test", "Find x.", "2", choices=("1", "2"))
    listed = list_choices(sample)
    assert listed.problem == "Find x.\nChoices:\n(A) 1\n(B) 2"
    assert list_choices(listed) == listed
