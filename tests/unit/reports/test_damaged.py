"""Run folders that were damaged after the run wrote them: what cannot be read is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from tests.support.run_folders import evaluated, make_run, rollout_row
from uec_vlm.errors import LeftOut, RunError
from uec_vlm.reports import load_groups, load_run
from uec_vlm.reports.summary import print_summary, write_report
from uec_vlm.runlog import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run with rollouts of two steps and two evaluations."""
    folder = make_run(tmp_path / "run", steps=2)
    for step in (1, 2):
        folder.write_rollouts(step, [rollout_row(number, step=step) for number in range(10)])
        evaluated(folder, step, [1, 2])
    return folder


@pytest.mark.parametrize("name", ["config.yaml", "environment.json"])
@pytest.mark.parametrize("data", [b"{half: [", b"\xff\xfe"])
def test_a_damaged_file_of_settings_is_named(name: str, data: bytes, run: RunFolder) -> None:
    (run.path / name).write_bytes(data)
    for read in (lambda: load_run(run.path), lambda: load_groups([run.path])):
        with pytest.raises(RunError, match=rf"{name}(?s:.*)copy it again"):
            read()


@pytest.mark.parametrize("junk", [b"", b"junk" * 100, None])
def test_a_dump_that_is_damaged_is_left_out_and_named(junk: bytes | None, run: RunFolder) -> None:
    file = run.path / "rollouts" / "step_000002.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if junk is None else junk)
    with pytest.warns(LeftOut, match=r"step_000002\.parquet is left out: it is no whole dump"):
        assert len(write_report(run)) == 2, "the newest dump has no samples to draw"
    with pytest.warns(LeftOut, match=r"step_000002\.parquet"):
        assert set(load_run(run.path).rollouts()["step"]) == {1}
    file.write_bytes(whole)
    assert len(write_report(run)) == 3


def test_a_picture_that_is_missing_is_left_out_and_named(run: RunFolder) -> None:
    pictures = run.path / "rollouts" / "images"
    for file in pictures.iterdir():
        file.unlink()
    pictures.rmdir()
    with pytest.warns(LeftOut, match=r"rollouts/images/\w+ is not shown: .*No such file"):
        assert len(write_report(run)) == 3


@pytest.mark.parametrize("row", ['{"rollout/accuracy": 0.5}', '{"step": "2"}', "7"])
@pytest.mark.parametrize("name", ["metrics.jsonl", "evaluations.jsonl"])
def test_a_row_without_its_step_is_named(name: str, row: str, run: RunFolder) -> None:
    with (run.path / name).open("a") as out:
        out.write(row + "\n")
    with pytest.raises(RunError, match=rf"{name} row \d has no step .*take the line out"):
        load_run(run.path)


@pytest.mark.parametrize("row", ['{"step": 2, "split": "test"}', '{"step": 2}'])
def test_an_evaluation_that_lacks_its_counts_is_named(row: str, run: RunFolder) -> None:
    with (run.path / "evaluations.jsonl").open("a") as out:
        out.write(row + "\n")
    with pytest.raises(RunError, match=r"evaluations\.jsonl: the row of step 2 lacks .*'samples'.*take the line out"):
        load_run(run.path)


def test_the_command_says_once_what_it_left_out(run: RunFolder) -> None:
    (run.path / "rollouts" / "step_000002.parquet").write_bytes(b"junk")
    command = [sys.executable, "-m", "uec_vlm.cli", "report", str(run.path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert said.startswith(f"uec-vlm: {run.path}/rollouts/step_000002.parquet is left out")
    assert said.count("\n") == 1, said


def test_a_run_without_a_step_has_no_report(run: RunFolder) -> None:
    run.metrics_file.write_text("")
    for read in (lambda: write_report(run), lambda: load_groups([run.path])):
        with pytest.raises(RunError, match=r"metrics\.jsonl is empty: .*Wait for one"):
            read()
    assert len(load_run(run.path).metrics) == 0, "the live page shows a run that begins"


def test_a_report_without_an_evaluation_says_so(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(run, Console(width=500))
    assert "has no evaluation" not in capsys.readouterr().out
    run.evaluations_file.unlink()
    print_summary(run, Console(width=500))
    assert f"{run.evaluations_file} has no evaluation" in capsys.readouterr().out


def test_a_run_that_cannot_be_compared_is_refused(run: RunFolder, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", steps=2, seed=1)
    with pytest.raises(RunError, match=r"other/evaluations\.jsonl has no evaluation, .*leave it out"):
        load_groups([run.path, other.path])
    evaluated(other, 2, [1, 2])
    assert [group.seeds for group in load_groups([run.path, other.path])] == [[0, 1]]
    (other.path / "config.yaml").unlink()
    with pytest.raises(RunError, match=r"other/config\.yaml is missing"):
        load_groups([run.path, other.path])
