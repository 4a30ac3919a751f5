"""The audit of golds finds what was planted, and says nothing of good rows."""

import json
from pathlib import Path
from typing import Any

import pytest

from data_prep.__main__ import main
from data_prep.audit import FINDINGS, audit_answers, audit_row
from tests.unit.data_prep.world import diagram as picture
from tests.unit.data_prep.world import make_folders, put_problem, record, run
from uec_vlm.errors import DataError


def row(answer: str, choices: list[str] | None = None, **changes: Any) -> dict[str, Any]:
    metadata = changes.pop("metadata", {})
    good = {"id": "r", "problem": "<image>Find x.", "answer": answer, "choices": choices or [], "answer_value": 1.0}
    return {**good, **changes, "metadata": json.dumps(metadata)}


def names(one: dict[str, Any]) -> list[str]:
    return [finding.name for finding in audit_row(one)]


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (row("48", ["48", "49", "50"]), []),
        (row("2\\sqrt{221}"), []),
        (row("A D and B E", answer_value=None), ["gold_without_value"]),
        (row("", answer_value=None), ["gold_not_graded_right", "gold_not_parsed"]),
        (row("0.5", ["0.5", "\\frac{1}{2}", "7"]), ["choices_collide", "choices_collide", "choices_close"]),
        (row("100", ["100", "100.9"]), ["choices_close"]),
        (row("100", ["100", "101.1"]), []),
        (row("0.4", problem="<image>Find x. Round to the nearest tenth."), ["rounding_asked"]),
        (row("0.4", problem="<image>What surrounds the circle?"), []),
        (
            row(
                "0.38",
                ["0.41", "0.38"],
                answer_value=0.38,
                metadata={"precise_value": [None, 5 / 13], "letter_original": "B"},
            ),
            ["gold_is_rounded"],
        ),
        (row("0.38", answer_value=0.38, metadata={"precise_value": [0.38], "letter_original": "A"}), []),
        (row("0.38", answer_value=0.38, metadata={"precise_value": None, "letter_original": "A"}), []),
    ],
)
def test_findings_by_name(one: dict[str, Any], expected: list[str]) -> None:
    assert names(one) == expected
    assert set(expected) <= set(FINDINGS)


def test_whole_folder_is_read(tmp_path: Path) -> None:
    source = make_folders(tmp_path / "in")
    put_problem(source, "test", "13", record(13, annotat_text="Round to the nearest tenth."), picture(13))
    run(source, tmp_path / "out")
    assert [(one.row, one.name) for one in audit_answers(tmp_path / "out")] == [
        ("geometry3k-test-13", "rounding_asked")
    ]


def test_command_prints_counts_and_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = make_folders(tmp_path / "in")
    for number in (13, 14, 15):
        text = f"Round side {number} to the nearest tenth."
        put_problem(source, "test", str(number), record(number, annotat_text=text), picture(number))
    run(source, tmp_path / "out")
    with pytest.raises(SystemExit) as ended:
        main(["audit-answers", str(tmp_path / "out"), "--show", "2"])
    printed = capsys.readouterr().out
    assert not ended.value.code
    assert "3 x rounding_asked" in printed
    assert "geometry3k-test-14" in printed
    assert "geometry3k-test-15" not in printed
    assert "... and 1 more" in printed
    assert "0 x choices_collide" in printed


def test_folder_without_prepared_files_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no train\.parquet.*python -m data_prep geometry3k --source SOURCE"):
        list(audit_answers(tmp_path))
    (tmp_path / "train.parquet").write_bytes(b"PAR1 no parquet")
    with pytest.raises(DataError, match=r"train\.parquet: cannot be read.*prepare it again"):
        list(audit_answers(tmp_path))
