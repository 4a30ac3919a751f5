"""Graded files, the gold audit, reward functions of the user, the spelling and value of golds, the length penalty."""

import json
from pathlib import Path

import pytest

from uec_vlm.errors import ConfigError, DataError, RunError
from uec_vlm.verifier import (
    answer_value,
    audit_golds,
    judge,
    load_reward_function,
    normalise_answer,
    overlong_penalty,
    verify_command,
)
from uec_vlm.verifier.grade_file import grade_file


def write(path: Path, rows: list[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_file_is_graded_and_counted(tmp_path: Path) -> None:
    rows = [
        {"response": r"\boxed{5}", "gold": "5", "expected": True},
        {"completion": r"\boxed{6}", "answer": 5, "score": 1.0, "id": "two"},
        {"text": r"\boxed{B}", "solution": "10", "choices": ["9", "10"]},
        {"output": "nothing", "ground_truth": "5"},
    ]
    grades = grade_file(write(tmp_path / "rows.jsonl", rows))
    assert (grades.rows, grades.correct, grades.compared, grades.accuracy) == (4, 2, 2, 0.5)
    assert {reason: n for reason, n in grades.reasons.items() if n} == {
        "exact": 1,
        "choice": 1,
        "wrong": 1,
        "no_answer": 1,
    }
    assert [(row.id, row.verdict.reason) for row in grades.disagreements] == [("two", "wrong"), ("4", "no_answer")]


def test_the_command_prints_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"response": r"\boxed{5}", "gold": "6", "expected": True}] * 3
    assert verify_command(write(tmp_path / "rows.jsonl", rows), examples=1) == 0
    shown = capsys.readouterr().out
    assert "0 of 3 right" in shown
    assert "agrees with the file on 0 of 3 rows" in shown
    assert shown.count("the file says right") == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1: not JSON"),
        ("[]", "line 1: holds list"),
        ('{"response": "x"}', "line 1: none of the fields gold"),
        ('{"response": "x", "gold": "1", "choices": "A"}', "choices is not a list"),
        ('{"response": "x", "gold": "1", "expected": "yes"}', "line 1: expected = 'yes' does not say .* true or false"),
        ('{"response": "x", "gold": "1", "score": NaN}', "line 1: score = nan does not say"),
        ('{"response": "x", "gold": "1", "correct": null, "reward": [1]}', r"line 1: reward = \[1\] does not say"),
        ("", "holds no completion; write one JSON object a line"),
    ],
)
def test_broken_lines_are_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(DataError, match=message):
        grade_file(path)
    with pytest.raises(DataError, match="no such file"):
        grade_file(tmp_path / "other.jsonl")


def test_bytes_that_are_no_text_are_named_by_their_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    row = '{"response": "Höhe 5", "gold": "5"}\r\n'
    path.write_bytes(row.encode() * 2)
    assert grade_file(path).rows == 2
    path.write_bytes(row.encode() * 2 + row.encode("latin-1"))
    with pytest.raises(DataError, match="line 3: byte 0xf6 is no UTF-8"):
        grade_file(path)


def test_the_audit_finds_what_cannot_be_trained_on() -> None:
    rows = [
        ("good", "5", ["5", "6"], None),
        ("letter", "B", ["5", "6"], None),
        ("words", "isosceles", None, None),
        ("broken", r"\frac{1}{", None, None),
        ("empty", "", None, None),
        ("twice", r"2\sqrt{221}", [r"2\sqrt{221}", "29.73"], None),
        ("elsewhere", "7", ["5", "6"], None),
        ("rounded", "0.38", ["0.38", "0.92"], "Round to the nearest hundredth."),
    ]
    report = audit_golds(rows)
    assert (report.rows, report.numbers, report.texts) == (8, 5, 1)
    found = {(finding.id, finding.kind) for finding in report.findings}
    assert found == {
        ("broken", "unparsable"),
        ("empty", "unparsable"),
        ("twice", "colliding_options"),
        ("elsewhere", "not_an_option"),
        ("rounded", "needs_rounding"),
    }
    assert report.counts()["unparsable"] == 2
    assert any("colliding_options: 1" in line for line in report.lines())


REWARDS = """
def one(response, gold):
    return 1.0 if gold in response else 0.0

def many(responses, golds, choices=None, **context):
    return [float(len(r)) for r in responses]

def marked(texts, golds):
    return [2.0 for _ in texts]
marked.batched = True

def broken(response, gold):
    raise KeyError("x")

def nothing(response, gold):
    return None

def short(responses, golds):
    return []

def lonely(response):
    return 0.0

number = 5
"""


def test_reward_functions_of_the_user(tmp_path: Path) -> None:
    path = tmp_path / "rewards.py"
    path.write_text(REWARDS)
    assert load_reward_function(f"{path}:one")(["a5", "b"], ["5", "5"], [{"choices": None}, {}]) == [1.0, 0.0]
    many = load_reward_function(f"{path}:many")
    assert many.batched
    assert many(["a", "bb"], ["", ""], [{"choices": ["1"], "question": "?"}, {}]) == [1.0, 2.0]
    assert load_reward_function(f"{path}:marked")(["a"], [""]) == [2.0]
    for name, message in (
        ("broken", "failed on completion 0: KeyError"),
        ("nothing", "reward None"),
        ("short", "0 rewards"),
    ):
        with pytest.raises(RunError, match=message):
            load_reward_function(f"{path}:{name}")(["a"], ["5"])


def test_a_reward_file_may_hold_a_dataclass_whose_annotations_are_text(tmp_path: Path) -> None:
    source = """
from __future__ import annotations
from dataclasses import dataclass

@dataclass
class Reading:
    length: int

def length(response, gold):
    return float(Reading(len(response)).length)
"""
    for folder in ("here", "there"):
        path = tmp_path / folder / "rewards.py"
        path.parent.mkdir()
        path.write_text(source)
        assert load_reward_function(f"{path}:length")(["abc"], ["5"]) == [3.0]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("rewards", "not of the form"),
        ("missing.py:one", "there is no file"),
        ("{path}:absent", "defines no function 'absent'"),
        ("{path}:number", "defines no function 'number'"),
        ("{path}:lonely", "must take"),
        ("{broken}:one", "SyntaxError"),
    ],
)
def test_a_wrong_reward_function_is_refused_with_its_name(tmp_path: Path, spec: str, message: str) -> None:
    (tmp_path / "rewards.py").write_text(REWARDS)
    (tmp_path / "broken.py").write_text("def (")
    with pytest.raises(ConfigError, match=message):
        load_reward_function(spec.format(path=tmp_path / "rewards.py", broken=tmp_path / "broken.py"))


GOLDS = [
    (r"2 \sqrt { 221 }", r"2\sqrt{221}", 29.732137494637012),
    ("48°", r"48^\circ", 48.0),
    ("sqrt { 80 }", r"\sqrt{80}", 8.94427190999916),
    ("22 / 3", "22/3", 22 / 3),
    (r"6 \sqrt 2", r"6\sqrt{2}", 8.485281374238571),
    (r"$16 \sqrt{3}$", r"16\sqrt{3}", 27.712812921102035),
    (r"4 \frac { 4 } { 11 }", r"4\frac{4}{11}", 48 / 11),
    ("  13.0 ", "13.0", 13.0),
    ("8+8*sqrt(5)", "8+8*sqrt(5)", 25.88854381999832),
    ("angles 2,3, 6, and 7", "angles 2,3, 6, and 7", None),
    ("A D and B E", "A D and B E", None),
    (r"\angle 3 \cong \angle Z", r"\angle 3 \cong \angle Z", None),
    ("50\\%", "50\\%", 50.0),
    ("12 cm", "12 cm", 12.0),
    ("(3, 4)", "(3, 4)", None),
    (r"\frac{", r"\frac{", None),
    ("x", "x", None),
    (r"\text{Ann and } Bob { }", r"\text{Ann and } Bob { }", None),
    ("", "", None),
]


@pytest.mark.parametrize(("gold", "spelling", "value"), GOLDS)
def test_golds_have_one_spelling_and_a_value(gold: str, spelling: str, value: float | None) -> None:
    assert normalise_answer(gold) == spelling
    assert normalise_answer(spelling) == spelling
    found = answer_value(gold)
    assert found == value or (found is not None and value is not None and abs(found - value) < 1e-12)
    if spelling and gold != r"\frac{":
        assert judge(f"\\boxed{{{spelling}}}", gold).correct


def test_the_length_penalty_is_linear_in_the_buffer() -> None:
    assert [overlong_penalty(n, max_length=100, buffer=20) for n in (0, 80, 90, 100, 500)] == [0, 0, -0.5, -1, -1]
    with pytest.raises(ValueError, match="buffer"):
        overlong_penalty(1, max_length=10, buffer=11)
