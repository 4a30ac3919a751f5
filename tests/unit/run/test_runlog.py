"""The run folder: names are checked, rows can be forgotten for a resume, pictures are stored once."""

import subprocess
import sys
from pathlib import Path

import pytest

from uec_vlm.errors import RunError
from uec_vlm.metrics import CATALOGUE, StepReport, find
from uec_vlm.runlog import open_run, read_run, sole_writer


def test_a_row_comes_back_and_an_unknown_name_is_refused(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run", resume=False, config_yaml="a: 1\n")
    run.append_metrics(1, {"rollout/accuracy": 0.5})
    assert read_run(run.path).metrics() == [{"step": 1, "rollout/accuracy": 0.5}]
    with pytest.raises(KeyError, match="CATALOGUE"):
        run.append_metrics(2, {"rollout/acuracy": 0.5})


def test_a_folder_with_a_run_is_not_overwritten(tmp_path: Path) -> None:
    run = open_run(tmp_path, resume=False, config_yaml="")
    run.append_metrics(1, {})
    with pytest.raises(RunError, match="already holds a run"):
        open_run(tmp_path, resume=False, config_yaml="")
    with pytest.raises(RunError, match="no run to resume"):
        open_run(tmp_path / "other", resume=True, config_yaml="")
    with pytest.raises(RunError, match="is no run folder"):
        read_run(tmp_path / "other")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (None, "is missing"),
        (b"", "holds NoneType"),
        (b"run: {name: [a, ", "not valid YAML"),
        (b"run: {name: \xfc}", "no UTF-8"),
    ],
)
def test_a_damaged_configuration_is_named(data: bytes | None, told: str, tmp_path: Path) -> None:
    run = open_run(tmp_path, resume=False, config_yaml="run: {name: whole}\n")
    assert run.config() == {"run": {"name": "whole"}}
    file = tmp_path / "config.yaml"
    file.unlink() if data is None else file.write_bytes(data)
    with pytest.raises(RunError, match=rf"(?s)config\.yaml .*{told}.*copy it"):
        run.config()


@pytest.mark.parametrize("data", [b'{"python": ', b"[1]", b"\xff"])
def test_a_damaged_environment_is_named(data: bytes, tmp_path: Path) -> None:
    run = open_run(tmp_path, resume=False, config_yaml="")
    assert "python" in run.environment()
    (tmp_path / "environment.json").write_bytes(data)
    with pytest.raises(RunError, match=r"environment\.json .*copy it again"):
        run.environment()


def test_rows_after_the_checkpoint_are_forgotten(tmp_path: Path) -> None:
    run = open_run(tmp_path, resume=False, config_yaml="")
    for step in range(5):
        run.append_metrics(step, {"rollout/accuracy": step / 10})
        run.append_evaluation({"step": step, "split": "validation"})
        run.write_rollouts(step, [{"images": [b"x"], "step": step}])
    run.forget_after(2)
    assert [row["step"] for row in run.metrics()] == [0, 1, 2]
    assert [row["step"] for row in run.evaluations()] == [0, 1, 2]
    assert run.rollouts()[0]["step"] == 2


def test_a_picture_is_stored_once(tmp_path: Path) -> None:
    run = open_run(tmp_path, resume=False, config_yaml="")
    run.write_rollouts(1, [{"images": [b"one"]}, {"images": [b"one", b"two"]}])
    names = [row["images"] for row in run.rollouts(1)]
    assert names[0][0] == names[1][0]
    assert (run.path / "rollouts" / names[1][1]).read_bytes() == b"two"
    assert len(list((run.path / "rollouts" / "images").iterdir())) == 2


def test_means_of_unequal_parts_are_weighted() -> None:
    report = StepReport()
    report.add("rollout/accuracy", 3.0, 4)
    report.add("rollout/accuracy", 0.0, 1)
    report.add("rollout/sampled_tokens", 10)
    report.add("rollout/sampled_tokens", 5)
    report.add("select/queue", 7)
    report.add("select/queue", 2)
    report.add("explore/accuracy", 0.0, 0)
    assert report.row() == {"rollout/accuracy": 0.6, "rollout/sampled_tokens": 15, "select/queue": 2}


def test_the_catalogue_has_each_name_once_and_finds_families() -> None:
    assert len({metric.name for metric in CATALOGUE}) == len(CATALOGUE)
    assert find("verdict/no_answer").name == "verdict/*"
    assert find("eval/pass@1").name == "eval/pass@1"


def test_a_last_line_that_a_kill_tore_is_left_out_and_written_anew(tmp_path: Path) -> None:
    run = open_run(tmp_path, resume=False, config_yaml="")
    for step in range(3):
        run.append_metrics(step, {"rollout/accuracy": 0.5})
    whole = run.metrics_file.read_bytes()
    for torn in (b'{"step": 3, "rollout/acc', b'{"step": 3, "rollout/accuracy": 0.5, "text": "\xc3', b"\0\0\0\0"):
        run.metrics_file.write_bytes(whole + torn)
        assert [row["step"] for row in read_run(tmp_path).metrics()] == [0, 1, 2]
    run.forget_after(2)
    run.append_metrics(3, {"rollout/accuracy": 0.5})
    assert [row["step"] for row in run.metrics()] == [0, 1, 2, 3]
    run.metrics_file.write_bytes(b"{" + whole)
    with pytest.raises(RunError, match=r"metrics\.jsonl line 1"):
        read_run(tmp_path).metrics()


def test_a_run_begun_anew_drops_what_the_killed_one_logged(tmp_path: Path) -> None:
    run = open_run(tmp_path, resume=False, config_yaml="")
    run.append_evaluation({"step": 0, "split": "validation"})
    assert open_run(tmp_path, resume=False, config_yaml="").evaluations() == [], "killed before its first row"
    run.append_metrics(0, {})
    assert open_run(tmp_path, resume=False, anew=True, config_yaml="").metrics() == []


def test_two_runs_in_one_folder_are_refused_by_the_holder_and_a_dead_one_does_not_block(tmp_path: Path) -> None:
    hold = "import sys, time; from uec_vlm.runlog import sole_writer\n"
    hold += "with sole_writer(sys.argv[1]):\n    print('held', flush=True)\n    time.sleep(600)"
    other = subprocess.Popen([sys.executable, "-c", hold, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(RunError, match=f"another run \\(process {other.pid} on "), sole_writer(tmp_path):
            pass
    finally:
        other.kill()
        other.wait()
    with sole_writer(tmp_path), pytest.raises(RunError, match="another run"), sole_writer(tmp_path):
        pass
    with sole_writer(tmp_path):
        pass
