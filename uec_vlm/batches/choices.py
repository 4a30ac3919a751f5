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
    listed = "\n".join(f"({letter}) {text}" for letter, text in zip(LETTERS, sample.choices, strict=False))
    tail = f"\nChoices:\n{listed}"
    return sample if sample.problem.endswith(tail) else replace(sample, problem=sample.problem + tail)
