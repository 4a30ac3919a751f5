"""Four-choice prompts: the choices listed below the question."""

from __future__ import annotations

from dataclasses import replace

from uec_vlm.errors import PromptError
from uec_vlm.records import Sample

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def list_choices(sample: Sample) -> Sample:
    """The sample with its choices, lettered, below the question. PromptError if it has none.

    A sample whose choices are listed already, as one that comes back from a checkpoint is, stays as it is.
    """
    if not sample.choices:
        raise PromptError(
            f"sample '{sample.id}': four_choices is set, but it has no choices. Set data.prompt.four_choices = false, "
            "or prepare a set with choices."
        )
    return sample if choices_listed(sample) else replace(sample, problem=sample.problem + _list(sample))


def choices_listed(sample: Sample) -> bool:
    """Whether the problem shows the sample's choices with letters, so that a letter is an answer to it."""
    return bool(sample.choices) and sample.problem.endswith(_list(sample))


def _list(sample: Sample) -> str:
    listed = "\n".join(f"({letter}) {text}" for letter, text in zip(LETTERS, sample.choices, strict=False))
    return f"\nChoices:\n{listed}"
