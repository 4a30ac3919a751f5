"""Faults provoked for real: each is told by name, costs no more than it must, and is never paid for."""

from __future__ import annotations

import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.reliability.kill_test import SETTINGS, differences
from uec_vlm.cli import app
from uec_vlm.config import config_folder
from uec_vlm.durable import fault_of
from uec_vlm.runlog import read_run, sole_writer

QUICKSTART = str(config_folder() / "quickstart.yaml")
SMALL = (*SETTINGS, "run.steps=4", "checkpoint.every=1", "checkpoint.keep_last=9", "evaluate.every=0")


def _train(folder: Path, *more: str) -> Any:
    return CliRunner().invoke(app, ["train", QUICKSTART, f"run.dir={folder}", *SMALL, *more], catch_exceptions=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps that nothing happened to, with a checkpoint of each."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    result = _train(folder)
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def half(whole: Path, tmp_path: Path) -> Path:
    """That run as it was after its third step: two steps of it are in the way of whoever resumes wrongly."""
    folder = tmp_path / "half"
    shutil.copytree(whole, folder)
    shutil.rmtree(folder / "checkpoints" / "step_4")
    return folder


def _goes_on(half: Path, whole: Path, *told: str) -> None:
    """The run ends like the undisturbed one, and says what happened to it."""
    result = _train(half, "--resume", "auto")
    assert result.exit_code == 0, result.output
    for text in told:
        assert text in result.output, result.output
    assert [name for name in differences(whole, half) if "torn_" not in name] == []


def _truncate(checkpoint: Path) -> str:
    file = checkpoint / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    return "model.safetensors has "


def _alter(checkpoint: Path) -> str:
    file = checkpoint / "state" / "optimizer.safetensors"
    data = bytearray(file.read_bytes())
    data[-100] ^= 1
    file.write_bytes(data)
    return "optimizer.safetensors is not what was written (SHA-256 differs)"


def _lose(checkpoint: Path) -> str:
    (checkpoint / "state" / "trajectories.parquet").unlink()
    return "state/trajectories.parquet is missing"


def _tear_manifest(checkpoint: Path) -> str:
    file = checkpoint / "state" / "manifest.json"
    file.write_text(file.read_text()[:200])
    return "manifest.json cannot be read"


@pytest.mark.parametrize("harm", [_truncate, _alter, _lose, _tear_manifest], ids=lambda f: f.__name__.strip("_"))
def test_a_torn_or_altered_checkpoint_is_told_and_the_one_before_is_taken(harm: Any, whole: Path, half: Path) -> None:
    told = harm(half / "checkpoints" / "step_3")
    _goes_on(half, whole, "step_3 is not whole", told, "set aside as torn_step_3", "resumed at step 2")
    assert (half / "checkpoints" / "torn_step_3").is_dir()


def test_a_run_without_one_whole_checkpoint_is_not_begun_anew_by_itself(half: Path) -> None:
    for checkpoint in (half / "checkpoints").iterdir():
        _truncate(checkpoint)
    result = _train(half, "--resume", "auto")
    assert result.exit_code == 2
    assert "none of its 3 checkpoints is whole" in result.output
    assert len(read_run(half).metrics()) == 5, "nothing of the run is dropped"


def test_a_checkpoint_of_the_former_format_is_refused_by_its_number(half: Path) -> None:
    (half / "checkpoints" / "step_3" / "state" / "state.json").write_text('{"step": 3}')
    result = _train(half, "--resume")
    assert result.exit_code == 2
    assert "written in format 1, this version reads format 3" in result.output


@contextmanager
def _files_of_at_most(size: int) -> Iterator[None]:
    """The kernel's own limit on the size of a file: a write beyond it fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(("size", "fails"), [(1_000_000, "step_4"), (30, "metrics")])
def test_a_full_disk_is_told_and_the_old_checkpoint_stays(size: int, fails: str, whole: Path, half: Path) -> None:
    if fails == "metrics":
        (half / "checkpoints" / "step_3").rename(half / "step_3")  # what was logged after step 2 must be written anew
    with _files_of_at_most(size):
        result = _train(half, "--resume", "auto")
    assert result.exit_code == 2, result.output
    assert "cannot be written" in result.output
    assert "File too large" in result.output
    assert "MiB free" in result.output
    assert "Traceback" not in result.output
    assert not [path for path in (half / "checkpoints").iterdir() if path.name.startswith(".")], "no half checkpoint"
    assert all(fault_of(path) is None for path in (half / "checkpoints").iterdir())
    _goes_on(half, whole)


def test_a_disk_without_space_is_told(whole: Path, tmp_path: Path) -> None:
    """The same on a real file system that is full (where this user may mount one)."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this user may not mount a file system")
    try:
        result = _train(disk / "run", "run.steps=3")
        assert result.exit_code == 2, result.output
        assert "cannot be written" in result.output
        assert "No space left on device" in result.output
        kept = [path for path in (disk / "run" / "checkpoints").iterdir() if path.name.startswith("step_")]
        assert kept
        assert all(fault_of(path) is None for path in kept)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_losses_that_are_not_finite_are_skipped_and_end_the_run_at_last(tmp_path: Path) -> None:
    """An entropy bonus of 1e300 nats is a number; in the model's precision the loss made of it is not."""
    folder = tmp_path / "run"
    spoil = ["objective.entropy_term.name=bonus", "objective.entropy_term.coef=1e300"]
    result = _train(folder, *spoil, "run.steps=9", "update.max_skipped=3", "evaluate.test_problems=1")
    assert result.exit_code == 2, result.output
    assert re.search(r"[34] optimizer steps in a row were skipped", result.output), "a training batch is two steps"
    rows = read_run(folder).metrics()
    assert sum(row.get("update/skipped", 0) for row in rows) >= 3
    assert sum(row.get("update/optimizer_steps", 0) for row in rows) == 0
    assert sum(row["update/trajectories"] + row["replay/size"] for row in rows if row["step"] > 0) == 0
    newest = max((folder / "checkpoints").iterdir(), key=lambda path: int(path.name.removeprefix("step_")))
    assert fault_of(newest) is None


def test_two_runs_in_one_folder_are_refused(half: Path) -> None:
    with sole_writer(half):
        result = _train(half, "--resume", "auto")
    assert result.exit_code == 2
    assert "is being written by another run" in result.output


def test_inputs_that_changed_since_the_checkpoint_are_refused_by_name(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text("def none(response, gold):\n    return 0.0\n")
    settings = [f"reward.functions={{'{own}:none': 1.0}}", "evaluate.test_problems=1"]
    assert _train(tmp_path / "run", *settings, "run.steps=1").exit_code == 0
    own.write_text("def none(response, gold):\n    return 1.0\n")
    result = _train(tmp_path / "run", *settings, "run.steps=2", "--resume")
    assert result.exit_code == 2
    assert f"another content of reward.functions: {own}:none" in result.output


@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_a_real_process_ends_when_it_is_asked_and_at_once_when_asked_twice(number: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "uec_vlm.cli", "train", QUICKSTART, f"run.dir={tmp_path / 'run'}", *SMALL]
    command += ["run.steps=999", "checkpoint.every=0", "evaluate.test_problems=1", "--resume", "auto"]
    first = _asked_to_end(command, tmp_path / "run", [number])
    assert first.returncode == 128 + number, first.stderr
    name = signal.Signals(number).name
    assert f"{name}: this step is finished and saved" in first.stderr
    assert "give the same command with --resume auto to go on" in first.stderr
    assert "Traceback" not in first.stderr
    step = int(read_run(tmp_path / "run").metrics()[-1]["step"])
    assert f"stopped after step {step} of 999" in first.stderr.replace("\n", " ")
    assert fault_of(tmp_path / "run" / "checkpoints" / f"step_{step}") is None
    if number == signal.SIGTERM:
        second = _asked_to_end(command, tmp_path / "run", [number, number])
        assert second.returncode == 128 + number
        assert "stopped after step" not in second.stderr
        assert f"resumed at step {step}" in second.stdout


def _asked_to_end(command: list[str], folder: Path, numbers: list[int]) -> Any:
    """Starts a training, lets it do a step, and sends signals."""
    before = len(read_run(folder).metrics()) if (folder / "metrics.jsonl").is_file() else 1
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and (not folder.joinpath("metrics.jsonl").is_file() or _rows(folder) <= before):
        time.sleep(0.02)
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.05)
    said, complained = process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, said, complained)


def _rows(folder: Path) -> int:
    return len(read_run(folder).metrics())


def test_a_reward_function_that_crashes_stops_the_run_or_is_counted_and_never_paid(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text("def moody(response, gold):\n    return 5.0 if len(response) % 2 else 1 // 0\n")
    settings = [f"reward.functions={{'{own}:moody': 1.0}}", "run.steps=1", "evaluate.test_problems=1"]
    result = _train(tmp_path / "stops", *settings)
    assert result.exit_code == 2
    assert f"{own}:moody failed on completion" in result.output
    assert "ZeroDivisionError" in result.output
    result = _train(tmp_path / "goes_on", *settings, "reward.on_error=zero", "log.rollouts_per_step=999")
    assert result.exit_code == 0, result.output
    counted = read_run(tmp_path / "goes_on").metrics()[1]["verdict/error"]
    crashed = [row for row in read_run(tmp_path / "goes_on").rollouts() if row["reason"] == "error"]
    assert counted == len(crashed) > 0
    assert {row["reward"] for row in crashed} == {0.0}
    assert {len(row["text"]) % 2 for row in crashed} == {0}


def test_a_step_that_fails_leaves_what_was_done_before_it(tmp_path: Path, whole: Path) -> None:
    """A reward function fails in the third step, once; no checkpoint was due."""
    own, trap = tmp_path / "own.py", tmp_path / "trap"
    own.write_text(f"""
import pathlib
calls = []
def nothing(response, gold):
    calls.append(1)
    if len(calls) > 60 and pathlib.Path({str(trap)!r}).exists():
        raise OSError("the grader's server is gone")
    return 0.0
""")
    trap.touch()
    settings = [f"reward.functions={{'{own}:nothing': 1.0}}", "checkpoint.every=0"]
    result = _train(tmp_path / "run", *settings)
    assert result.exit_code == 2
    assert "the grader's server is gone" in result.output
    rows = read_run(tmp_path / "run").metrics()
    step = int(rows[-1]["step"])
    assert 0 < step < 4
    assert f"step {step + 1} failed; what was done before it is saved in" in result.output
    trap.unlink()
    result = _train(tmp_path / "run", *settings, "--resume", "auto")
    assert result.exit_code == 0, result.output
    assert f"resumed at step {step}" in result.output
    found = differences(whole, tmp_path / "run", checkpoints="step_4")
    assert [name for name in found if not name.endswith(("state.json", "manifest.json"))] == [], (
        "but the inputs' hashes"
    )


def test_a_verifier_that_crashes_is_counted_and_never_paid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from uec_vlm.verifier import judging

    decide = judging.decide

    def brittle(item: Any, policy: Any) -> Any:
        if len(item.response) % 2:
            raise RecursionError("as a bug of the verifier would")
        return decide(item, policy)

    monkeypatch.setattr(judging, "decide", brittle)
    result = _train(tmp_path / "run", "run.steps=1", "evaluate.test_problems=1", "log.rollouts_per_step=999")
    assert result.exit_code == 0, result.output
    crashed = [row for row in read_run(tmp_path / "run").rollouts() if row["reason"] == "error"]
    assert len(crashed) == read_run(tmp_path / "run").metrics()[1]["verdict/error"] > 0
    assert {row["reward"] for row in crashed} == {0.0}
