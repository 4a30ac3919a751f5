"""The golds of a prepared folder reach the verifier's audit, with their choices and questions."""

from pathlib import Path

import pytest

from data_prep.__main__ import main
from data_prep.audit import audit_answers
from tests.unit.data_prep.world import diagram, make_folders, put_problem, record, run
from uec_vlm.errors import DataError


def planted(root: Path) -> Path:
    """Twelve good rows, three that ask for a rounded answer, and one with two choices that rounding confuses."""
    source = make_folders(root / "in")
    for number in (13, 14, 15):
        text = f"Round side {number} to the nearest tenth."
        choices = [f"{number}.1", f"{number}.4", f"{number}.7", f"{number}.9"]
        put_problem(source, "test", str(number), record(number, annotat_text=text, choices=choices), diagram(number))
    collide = ["\\frac { 1 } { 3 }", "0.3333", "5", "6"]
    put_problem(source, "test", "16", record(16, choices=collide, precise_value=...), diagram(16))
    run(source, root / "out")
    return root / "out"


def test_planted_golds_are_found_and_no_others(tmp_path: Path) -> None:
    report = audit_answers(planted(tmp_path))
    assert report.rows == 16
    assert [(one.id, one.kind) for one in report.findings] == [
        *[(f"geometry3k-test-{number}", "needs_rounding") for number in (13, 14, 15)],
        ("geometry3k-test-16", "colliding_options"),
    ]


def test_command_prints_counts_and_some_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["audit-answers", str(planted(tmp_path)), "--show", "2"])
    printed = capsys.readouterr().out
    assert not ended.value.code
    assert "16 golds" in printed
    assert "needs_rounding: 3" in printed
    assert "geometry3k-test-14" in printed
    assert "geometry3k-test-15" not in printed
    assert "... and 1 more" in printed
    assert "unparsable: 0" in printed


def test_folder_without_prepared_files_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no train\.parquet.*python -m data_prep geometry3k --source SOURCE"):
        audit_answers(tmp_path)
    (tmp_path / "train.parquet").write_bytes(b"PAR1 no parquet")
    with pytest.raises(DataError, match=r"train\.parquet: cannot be read.*prepare it again"):
        audit_answers(tmp_path)
