"""`uec-vlm verify FILE.jsonl`: grade a file of completions, count the reasons, show the disagreements."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uec_vlm.errors import DataError
from uec_vlm.records import Verdict
from uec_vlm.verifier.batch import judge_many
from uec_vlm.verifier.grading import Item
from uec_vlm.verifier.policy import CORRECT_REASONS, DEFAULT_POLICY, REASONS, Policy

# the names that files use for the same thing, the first one found wins
RESPONSE_NAMES = ("response", "completion", "output", "prediction", "text", "generated_text")
GOLD_NAMES = ("gold", "answer", "ground_truth", "solution", "reference", "target", "label")
EXPECTED_NAMES = ("expected", "correct", "is_correct", "score", "reward", "accuracy")
_BATCH = 256


@dataclass(frozen=True)
class Graded:
    """One row of a graded file. expected: what the file says of it, None where it says nothing."""

    line: int
    id: str
    response: str
    gold: str
    verdict: Verdict
    expected: bool | None


@dataclass(frozen=True)
class FileGrades:
    """The table of a graded file.

    reasons: count per reason, every reason present. disagreements: rows whose expected value differs from the verdict,
    or, where the file expects nothing, rows that are not plainly wrong: refused for a reason worth a look.
    """

    path: str
    rows: int
    correct: int
    reasons: dict[str, int]
    compared: int
    disagreements: tuple[Graded, ...]

    @property
    def accuracy(self) -> float:
        """The share of right answers, in [0, 1]."""
        return self.correct / self.rows if self.rows else 0.0


def grade_file(path: str | Path, *, policy: Policy = DEFAULT_POLICY, timeout_s: float = 0.5) -> FileGrades:
    """Grade a JSON Lines file, one completion per line, a few hundred lines in memory at a time.

    A line holds the completion (`response`, or another of RESPONSE_NAMES), the gold (GOLD_NAMES), and perhaps
    `choices`, `question`, `finish_reason`, `id` and what is expected (EXPECTED_NAMES: a bool or a number above 0.5).
    Raises DataError naming the line, or that there is none.
    """
    reasons = dict.fromkeys(REASONS, 0)
    rows = correct = compared = 0
    disagreements: list[Graded] = []
    for graded in _graded_rows(Path(path), policy, timeout_s):
        rows += 1
        correct += graded.verdict.correct
        reasons[graded.verdict.reason] += 1
        if graded.expected is not None:
            compared += 1
            if graded.expected != graded.verdict.correct:
                disagreements.append(graded)
        elif not graded.verdict.correct and graded.verdict.reason != "wrong":
            disagreements.append(graded)
    if not rows:
        raise DataError(f"{path}: holds no completion; write one JSON object a line, with response and gold")
    return FileGrades(str(path), rows, correct, reasons, compared, tuple(disagreements))


def _graded_rows(path: Path, policy: Policy, timeout_s: float) -> Iterator[Graded]:
    batch: list[tuple[int, str, Item, bool | None]] = []
    for entry in _rows(path):
        batch.append(entry)
        if len(batch) == _BATCH:
            yield from _judged(batch, policy, timeout_s)
            batch = []
    yield from _judged(batch, policy, timeout_s)


def _judged(batch: list[tuple[int, str, Item, bool | None]], policy: Policy, timeout_s: float) -> Iterator[Graded]:
    verdicts = judge_many([item for _, _, item, _ in batch], policy=policy, timeout_s=timeout_s)
    for (line, row_id, item, expected), verdict in zip(batch, verdicts, strict=True):
        yield Graded(line, row_id, item.response, item.gold, verdict, expected)


def _rows(path: Path) -> Iterator[tuple[int, str, Item, bool | None]]:
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    with path.open("rb") as lines:
        for line, data in enumerate(lines, 1):
            if not data.strip():
                continue
            try:
                row = json.loads(data.decode("utf-8"))
            except UnicodeDecodeError as problem:
                byte = data[problem.start]
                raise DataError(f"{path} line {line}: byte 0x{byte:02x} is no UTF-8; save the file as UTF-8") from None
            except json.JSONDecodeError as problem:
                raise DataError(f"{path} line {line}: not JSON ({problem.msg})") from problem
            if not isinstance(row, dict):
                raise DataError(f"{path} line {line}: holds {type(row).__name__}, not an object with named fields")
            yield _row(row, path, line)


def _row(row: Mapping[str, Any], path: Path, line: int) -> tuple[int, str, Item, bool | None]:
    response, gold = _text(row, RESPONSE_NAMES, path, line), _text(row, GOLD_NAMES, path, line)
    choices = row.get("choices") or None
    if choices is not None and not (isinstance(choices, list) and all(isinstance(choice, str) for choice in choices)):
        raise DataError(f"{path} line {line}: choices is not a list of texts")
    question = row.get("question") or row.get("problem")
    item = Item(response, gold, choices, question if isinstance(question, str) else None, row.get("finish_reason"))
    return line, str(row.get("id", line)), item, _expected(row, path, line)


def _expected(row: Mapping[str, Any], path: Path, line: int) -> bool | None:
    """What the row says of its completion; DataError where that is neither a truth value nor a number."""
    name = next((name for name in EXPECTED_NAMES if row.get(name) is not None), None)
    if name is None:
        return None
    value = row[name]
    if not isinstance(value, bool | int | float) or not math.isfinite(value):
        raise DataError(
            f"{path} line {line}: {name} = {value!r} does not say whether the response is right; write true or false, "
            "or a number from 0 to 1, or call the field otherwise"
        )
    return float(value) > 0.5


def _text(row: Mapping[str, Any], names: tuple[str, ...], path: Path, line: int) -> str:
    for name in names:
        value = row.get(name)
        if isinstance(value, str):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
    raise DataError(f"{path} line {line}: none of the fields {', '.join(names)} holds a text; it has {sorted(row)}")


def verify_command(path: str | Path, examples: int = 5) -> int:
    """Grade a file and print the table by reason with examples of disagreements; the exit status, 0."""
    from rich.console import Console
    from rich.table import Table

    grades = grade_file(path)
    console = Console()
    console.print(grades.path, soft_wrap=True, markup=False, highlight=False)
    table = Table(title=f"{grades.correct} of {grades.rows} right ({100 * grades.accuracy:.1f} %)")
    table.add_column("reason")
    table.add_column("rows", justify="right")
    table.add_column("share", justify="right")
    table.add_column("counts as")
    for reason, count in grades.reasons.items():
        if count:
            share = f"{100 * count / grades.rows:.1f} %"
            table.add_row(reason, str(count), share, "right" if reason in CORRECT_REASONS else "not right")
    console.print(table)
    if grades.compared:
        agreed = grades.compared - len(grades.disagreements)
        console.print(f"agrees with the file on {agreed} of {grades.compared} rows")
    _print_examples(console, grades, examples)
    return 0


def _print_examples(console: Any, grades: FileGrades, examples: int) -> None:
    shown: Counter[str] = Counter()
    for graded in grades.disagreements:
        kind = graded.verdict.reason
        shown[kind] += 1
        if shown[kind] > examples:
            continue
        expected = "" if graded.expected is None else f", the file says {'right' if graded.expected else 'wrong'}"
        console.print(f"line {graded.line} ({graded.id}): {kind}{expected}", markup=False, highlight=False)
        console.print(f"    gold      {graded.gold[:100]!a}", markup=False, highlight=False)
        answer = graded.verdict.extracted if graded.verdict.extracted is not None else graded.response[-100:]
        console.print(f"    answer    {answer[:100]!a}", markup=False, highlight=False)
