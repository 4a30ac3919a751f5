"""Checks of the data: every row is made the prompt that training would make of it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from uec_vlm.config import RunConfig
from uec_vlm.errors import DataError, PromptError
from uec_vlm.geosynth import ProblemSet
from uec_vlm.policy import Reader
from uec_vlm.preflight.findings import Finding, several
from uec_vlm.records import Prompt, Sample
from uec_vlm.verifier import audit_golds

# Generated problems are right by construction; this many of each split are looked at all the same.
_GENERATED = 256
_FATAL_GOLDS = ("unparsable", "refused", "not_an_option", "colliding_options")


@dataclass
class Reading:
    """What one pass over a split collects. lengths: tokens of each prompt; refused: reasons, with the row's id."""

    rows: int = 0
    asked: int = 0
    lengths: list[tuple[int, str]] = field(default_factory=list)
    images: int = 0
    image_tokens: int = 0
    refused: list[str] = field(default_factory=list)
    ids: Counter[str] = field(default_factory=Counter)
    contents: dict[str, str] = field(default_factory=dict)
    golds: list[tuple[str, str, Sequence[str] | None, str | None]] = field(default_factory=list)

    @property
    def longest(self) -> tuple[int, str]:
        """Tokens and id of the longest prompt."""
        return max(self.lengths, default=(0, ""))


def read_split(
    samples: Sequence[Sample], render: Callable[[Sample], Prompt], *, image_token_id: int | None, limit: int | None
) -> Reading:
    """Make a prompt of every row (generated sets: of the first `_GENERATED`); pictures are not kept.

    limit: rows at most, None for all.
    """
    bound = _GENERATED if isinstance(samples, ProblemSet) and limit is None else limit
    reading = Reading(rows=len(samples))
    for place in range(min(len(samples), bound or len(samples))):
        reading.asked += 1
        try:
            sample = samples[place]
        except DataError as error:
            reading.refused.append(str(error))
            continue
        reading.ids[sample.id] += 1
        reading.contents[_digest(sample)] = sample.id
        reading.golds.append((sample.id, sample.answer, sample.choices or None, sample.problem))
        try:
            prompt = render(sample)
        except (PromptError, DataError) as error:
            reading.refused.append(str(error))
            continue
        reading.lengths.append((len(prompt.token_ids), sample.id))
        reading.images += len(prompt.image_grid_thw)
        if image_token_id is not None:
            reading.image_tokens += int((prompt.token_ids == image_token_id).sum())
    return reading


def rows(readings: Mapping[str, Reading], *, check: bool) -> Iterator[Finding]:
    """Refused rows by split. check: whether they are left out beforehand; else an evaluation stops at them."""
    for split, reading in readings.items():
        good = len(reading.lengths)
        seen = f"{split}: {good} of {reading.asked} rows become prompts"
        if reading.asked < reading.rows:
            seen += f" (of {reading.rows}, generated)" if reading.asked == _GENERATED else f" (of {reading.rows})"
        if reading.images:
            seen += f", {reading.images} pictures of {reading.image_tokens / reading.images:.0f} tokens"
        if not reading.refused:
            yield Finding("rows", "ok", seen)
            continue
        fatal = good == 0 or (not split.startswith("train") and not check)
        remedy = "Mend the rows, or prepare the data again." if fatal else "They are left out of training; see above."
        yield Finding("rows", "error" if fatal else "warning", f"{seen}. {several(reading.refused)}", remedy)


def lengths(readings: Mapping[str, Reading], config: RunConfig, reader: Reader) -> Iterator[Finding]:
    """The longest prompt with a whole completion against the model's positions and the budgets."""
    split, (longest, name) = max(((s, r.longest) for s, r in readings.items()), key=lambda item: item[1])
    whole = longest + config.rollout.max_new_tokens
    told = f"longest prompt {longest} tokens ({split} '{name}'), {whole} with its completion"
    places = reader.config.get_text_config().max_position_embeddings
    if whole > places:
        yield Finding(
            "lengths", "error", f"{told}: more than the model's {places} positions",
            "Lower rollout.max_new_tokens, data.prompt.max_tokens or data.prompt.max_pixels.",
        )  # fmt: skip
        return
    small = [
        f"{key} = {budget}"
        for key, budget in (
            ("update.micro_batch_tokens", config.update.micro_batch_tokens),
            ("rollout.batch_tokens", config.rollout.batch_tokens),
        )
        if whole > budget
    ]
    if small:
        yield Finding(
            "lengths", "warning", f"{told}: above {' and '.join(small)}, so such rows are computed alone, over budget",
            "Raise the budget, or plan the memory for it.",
        )  # fmt: skip
        return
    yield Finding("lengths", "ok", told)


def golds(readings: Mapping[str, Reading], *, check: bool) -> Iterator[Finding]:
    """Golds that cannot be read or graded, by the verifier's own audit. check: a held-out empty one ends the run."""
    for split, reading in readings.items():
        report = audit_golds(reading.golds)
        bad = [f"{f.id}: {f.kind} ({f.detail})" for f in report.findings if f.kind in _FATAL_GOLDS]
        if not bad:
            yield Finding("golds", "ok", f"{split}: {report.rows} golds, {report.texts} of them words")
            continue
        ends = check and not split.startswith("train") and any(not gold.strip() for _, gold, *_ in reading.golds)
        yield Finding(
            "golds", "error" if ends or len(bad) == report.rows else "warning",
            f"{split}: {len(bad)} of {report.rows} golds cannot be graded. {several(bad)}",
            "Mend or drop these rows; `python -m data_prep audit-answers DIR` lists them all.",
        )  # fmt: skip


def splits(readings: Mapping[str, Reading], *, check: bool) -> Iterator[Finding]:
    """Ids that repeat, and held-out problems (same text and same pictures) that training has.

    check: the later rows of an id are left out of training; a held-out split ends the run.
    """
    faults = 0
    for split, reading in readings.items():
        twice = [name for name, count in reading.ids.items() if count > 1]
        if twice:
            faults += 1
            yield Finding(
                "splits",
                "warning" if check and split.startswith("train") else "error",
                f"{split}: {len(twice)} ids are there twice: {several(twice)}",
                "Number the rows anew; training with data.check leaves the later ones out.",
            )
    trained = {digest for split, r in readings.items() if split.startswith("train") for digest in r.contents}
    for split, reading in readings.items():
        leaked = [name for digest, name in reading.contents.items() if digest in trained]
        if not split.startswith("train") and leaked:
            faults += 1
            yield Finding(
                "splits", "warning",
                f"{len(leaked)} of {reading.asked} {split} problems are in training: {several(leaked)}",
                "Take them out of one of the two; `python -m data_prep audit` finds near copies as well.",
            )  # fmt: skip
    if not faults:
        yield Finding("splits", "ok", f"{', '.join(readings)}: ids unique, no problem in two splits")


def _digest(sample: Sample) -> str:
    digest = hashlib.blake2b(sample.problem.strip().encode(), digest_size=16)
    for image in sample.images:
        digest.update(hashlib.blake2b(image, digest_size=16).digest())
    return digest.hexdigest()
