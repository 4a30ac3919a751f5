"""Audit the golds of a prepared data set: what the verifier cannot read, cannot tell apart, or will round."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.common import SPLITS, shown
from uec_vlm.errors import DataError
from uec_vlm.verifier import answer_value, judge

FINDINGS = {
    "gold_not_graded_right": "the verifier does not grade the gold itself as right",
    "gold_not_parsed": "the gold is no mathematics that the verifier reads: only its own text is graded as right",
    "gold_without_value": "the gold has no number as its value (a text, a list, a relation ...)",
    "choices_collide": "one choice is graded right where another is the gold",
    "choices_close": "the values of two choices differ by less than 1 %: a loose tolerance takes one for the other",
    "rounding_asked": "the question asks for a rounded answer",
    "gold_is_rounded": "the source's exact value differs from the gold: the gold is rounded",
}
CLOSE = 0.01
_ROUNDING = re.compile(r"\bround|\bnearest\b|\bapproximat|\bdecimal", re.IGNORECASE)
_COLUMNS = ["id", "problem", "answer", "choices", "answer_value", "metadata"]
# No gold is this; asking for it tells whether the gold can be parsed.
_PROBE = "\\boxed{0.7320508075688}"


@dataclass(frozen=True)
class Finding:
    """What is to be known of one row; `name` is a name of `FINDINGS`."""

    row: str
    name: str
    detail: str


def audit_answers(folder: Path) -> Iterator[Finding]:
    """The findings of all splits in `folder`, row by row; raises `DataError` where nothing prepared is in it."""
    files = [folder / f"{split}.parquet" for split in SPLITS if (folder / f"{split}.parquet").is_file()]
    if not files:
        raise DataError(
            f"{folder}: no train.parquet, validation.parquet or test.parquet is there; prepare a data set into it, "
            f"for example: python -m data_prep geometry3k --source SOURCE --out {folder}"
        )
    for file in files:
        try:
            with pq.ParquetFile(file) as parquet:
                for batch in parquet.iter_batches(batch_size=256, columns=_COLUMNS):
                    for row in batch.to_pylist():
                        yield from audit_row(row)
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            raise DataError(f"{file}: cannot be read ({error}); prepare it again") from error


def audit_row(row: dict[str, Any]) -> Iterator[Finding]:
    """The findings of one row: a mapping with the columns of a prepared file but the pictures."""
    name, gold, choices, question = row["id"], row["answer"], row["choices"], row["problem"]
    if not judge(f"\\boxed{{{gold}}}", gold, choices or None, question=question).correct:
        yield Finding(name, "gold_not_graded_right", shown(gold))
    if judge(_PROBE, gold, question=question).reason == "gold_unparsable":
        yield Finding(name, "gold_not_parsed", shown(gold))
    elif row["answer_value"] is None:
        yield Finding(name, "gold_without_value", shown(gold))
    for one, other in permutations(choices, 2):
        if judge(f"\\boxed{{{one}}}", other, question=question).correct:
            yield Finding(name, "choices_collide", f"{shown(one)} is right for the gold {shown(other)}")
    yield from _close_choices(name, choices)
    if _ROUNDING.search(question):
        yield Finding(name, "rounding_asked", shown(gold))
    yield from _rounded_gold(name, row["answer_value"], json.loads(row["metadata"]))


def _close_choices(row: str, choices: list[str]) -> Iterator[Finding]:
    valued = [(choice, value) for choice in choices if (value := answer_value(choice)) is not None]
    for (one, first), (other, second) in combinations(valued, 2):
        if abs(first - second) < CLOSE * max(abs(first), abs(second)):
            yield Finding(row, "choices_close", f"{shown(one)} and {shown(other)}")


def _rounded_gold(row: str, value: float | None, metadata: dict[str, Any]) -> Iterator[Finding]:
    """Inter-GPS gives every choice its own `precise_value`."""
    precise, letter = metadata.get("precise_value"), metadata.get("letter_original")
    exact = precise[ord(letter) - ord("A")] if precise and letter else None
    if value is not None and exact is not None and not math.isclose(value, exact, rel_tol=1e-6, abs_tol=1e-9):
        yield Finding(row, "gold_is_rounded", f"gold {value:g}, exact {exact:.10g}")
