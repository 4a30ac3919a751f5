"""The documentation says what the code does."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from uec_vlm.verifier import CORRECT_REASONS, REASONS, Policy, judge

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "verifier.md").read_text(encoding="utf-8")


def table(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its first two lines."""
    section = PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def test_the_reasons_are_listed() -> None:
    listed = {row[0].strip("`"): row[1] for row in table("Reasons")}
    assert tuple(listed) == REASONS
    assert {reason for reason, right in listed.items() if right == "yes"} == CORRECT_REASONS


def test_the_switches_are_listed() -> None:
    named = set(re.findall(r"`(\w+)(?:=\d)?`", " ".join(row[0] for row in table("The policy"))))
    assert named == {field.name for field in fields(Policy)}


SPANS = re.compile(r"`([^`]+)`")
EXAMPLES = [row for row in table("What counts as the same") if row[0] not in ("option", "words")]


@pytest.mark.parametrize("row", EXAMPLES, ids=lambda row: row[0])
def test_the_examples_are_true(row: list[str]) -> None:
    _, gold, right, wrong = row
    gold = SPANS.findall(gold)[0]
    for answer in SPANS.findall(right):
        assert judge(f"\\boxed{{{answer}}}", gold).correct, answer
    for answer in SPANS.findall(wrong):
        assert not judge(f"\\boxed{{{answer}}}", gold).correct, answer


def test_the_first_examples_are_true() -> None:
    first = PAGE.split("```python\n", 1)[1].split("```", 1)[0]
    names: dict[str, object] = {}
    calls = re.findall(r"^(judge\(.*?\)(?:\.reason)?)\s*(?:\n#|#)\s*(.*)$", first, re.MULTILINE)
    assert len(calls) == 4
    exec("from uec_vlm.verifier import judge", names)
    for call, shown in calls:
        assert str(repr(eval(call, names))).startswith(shown.split(",")[0]), call
