"""The command line: help, counts, and errors that need no traceback."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from data_prep.__main__ import main
from data_prep.registry import DATASETS
from tests.unit.data_prep.world import make_folders

ROOT = Path(__file__).resolve().parents[3]


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the command line, in this process."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


def test_help_names_every_data_set_and_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    code, shown, _ = call(capsys, "--help")
    assert code == 0
    assert "Example: python -m data_prep geometry3k --source" in " ".join(shown.split())
    for name in [*DATASETS, "audit-answers"]:
        assert name in shown


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_help_of_a_data_set_tells_layouts_options_and_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, shown, _ = call(capsys, name, "--help")
    words = " ".join(shown.split())
    assert code == 0
    for part in (
        "--source",
        "--out",
        "--no-grade-check",
        f"Example: python -m data_prep {name}",
        DATASETS[name].licence,
    ):
        assert part in words
    for layout in DATASETS[name].layouts:
        assert layout in words


def test_preparing_prints_the_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = make_folders(tmp_path / "in")
    (source / "test" / "9" / "img_diagram.png").unlink()
    code, out, _ = call(
        capsys, "geometry3k", "--source", str(source), "--out", str(tmp_path / "out"), "--no-grade-check"
    )
    assert code == 0
    assert "train: 5 rows written of 5, 0 refused" in out
    assert "test: 3 rows written of 4, 1 refused" in out
    assert "refused 1 x missing_image" in out
    assert "test/9" in out
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["grade_check"] is False


def test_golds_are_graded_unless_told_otherwise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = make_folders(tmp_path / "in")
    code, _, _ = call(capsys, "geometry3k", "--source", str(source), "--out", str(tmp_path / "out"))
    assert code == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["grade_check"], manifest["refused"]) == (True, {})


def test_wrong_source_is_told_without_a_traceback_by_a_process_of_its_own(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "data_prep",
        "geometry3k",
        "--source",
        str(tmp_path / "nowhere"),
        "--out",
        str(tmp_path),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert ran.stderr.startswith(
        f"error: --source {tmp_path / 'nowhere'}: there is no such file or folder. Give one of:"
    )
    assert "Traceback" not in ran.stderr


def test_unknown_data_set_and_missing_option_end_with_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, told = call(capsys, "geometry4k", "--source", "x", "--out", "y")
    assert code == 2
    assert "No such command 'geometry4k'" in told
    code, _, told = call(capsys, "geometry3k", "--out", str(tmp_path))
    assert code == 2
    assert "--source" in told


def test_disk_that_cannot_be_written_is_told_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("data_prep.write.SplitWriter.flush", full)
    source = make_folders(tmp_path / "in")
    code, _, told = call(
        capsys, "geometry3k", "--source", str(source), "--out", str(tmp_path / "out"), "--no-grade-check"
    )
    assert (code, list((tmp_path / "out").iterdir())) == (2, [])
    assert "error: [Errno 28] No space left on device" in told
