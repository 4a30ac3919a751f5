"""The rows of files that can be used, before training begins; the others are named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from uec_vlm.batches import Mixture, SampleStore
from uec_vlm.errors import DataError, PromptError
from uec_vlm.records import Prompt, Sample


def usable(
    samples: Sequence[Sample], render: Callable[[Sample], Prompt], *, split: str, refused: list[str]
) -> Sequence[Sample]:
    """The rows of files that become prompts and can be graded; `refused` gets the reasons of the others.

    DataError where none is left, and for a held-out split with an empty gold or the same id twice.
    """
    if isinstance(samples, Mixture):
        return replace(
            samples, parts=tuple(usable(part, render, split=split, refused=refused) for part in samples.parts)
        )
    if not isinstance(samples, SampleStore):
        return samples
    if split != "train":
        refuse_unmeasurable(samples, f"data.{split}")
    faults = samples.faults() if split == "train" else {}
    good = []
    for place in range(len(samples)):
        reason = faults.get(place) or _reason(samples, place, render)
        if reason is None:
            good.append(place)
        else:
            refused.append(f"{split}: {reason}")
    if not good:
        raise DataError(f"data.{split}: no row becomes a prompt. The first reason: {refused[-1]}")
    return samples if len(good) == len(samples) else samples.take(good)


def refuse_unmeasurable(samples: Sequence[Sample], name: str) -> None:
    """DataError for rows of files with an empty gold or the id of an earlier one. name: of the data, as it is told."""
    faults = samples.faults() if isinstance(samples, SampleStore) else {}
    if faults:
        raise DataError(
            f"{name}: {len(faults)} of {len(samples)} rows cannot be measured on. The first: "
            f"{next(iter(faults.values()))} Mend them or take them out of the file."
        )


def _reason(samples: SampleStore, place: int, render: Callable[[Sample], Prompt]) -> str | None:
    """Why a row becomes no prompt; None where it does."""
    try:
        render(samples[place])
    except (PromptError, DataError) as error:
        return str(error)
    return None
