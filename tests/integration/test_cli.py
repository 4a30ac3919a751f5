"""The command line as a user meets it: help, errors without tracebacks, a run that is stopped, resumed, read."""

from __future__ import annotations

import functools
import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from tests.unit.preflight.world import row as problem
from uec_vlm.cli import app
from uec_vlm.config import config_folder
from uec_vlm.geosynth import ProblemSet, make_problem
from uec_vlm.geosynth.write import write_splits
from uec_vlm.runlog import read_run
from uec_vlm.trainer.predict import predict

RUNNER = CliRunner()
QUICKSTART = str(config_folder() / "quickstart.yaml")
# The quickstart in small: the same path, a few problems.
SMALL = [
    "evaluate.controls=[]",  # at the end they are measured too, and the halves end elsewhere
    "evaluate.every=2",
    "evaluate.validation_problems=6",
    "evaluate.validation_samples=2",
    "evaluate.test_problems=6",
    "evaluate.test_samples=2",
    "rollout.prompts_per_step=6",
    "update.sequences_per_optimizer_step=10",
    "objective.exploration.completions=4",
    "objective.replay.every=2",
    "objective.replay.size=0.2",
    "log.rollouts_every=2",
    "checkpoint.every=2",
    "checkpoint.keep_last=5",
]


def _ok(*arguments: str) -> str:
    result = RUNNER.invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A run of four steps, and one of two steps that was resumed for two more."""
    whole, halves = tmp_path_factory.mktemp("runs") / "whole", tmp_path_factory.mktemp("runs") / "halves"
    said = _ok("train", QUICKSTART, f"run.dir={whole}", "run.steps=4", *SMALL, "--profile", "3")
    _ok("train", QUICKSTART, f"run.dir={halves}", "run.steps=2", *SMALL)
    _ok("train", QUICKSTART, f"run.dir={halves}", "run.steps=4", *SMALL, "--resume")
    return whole, halves, said


def _numbers(folder: Path) -> list[dict[str, float]]:
    rows = read_run(folder).metrics()
    return [{k: v for k, v in row.items() if not k.startswith(("time/", "memory/"))} for row in rows]


def test_a_resumed_run_equals_the_uninterrupted_one(runs: Any) -> None:
    whole, halves, _ = runs
    assert _numbers(whole) == _numbers(halves)
    for step in ("step_2", "step_4"):
        for name in ("model.safetensors", "state/optimizer.safetensors", "state/trajectories.parquet"):
            one, other = (folder / "checkpoints" / step / name for folder in (whole, halves))
            assert one.read_bytes() == other.read_bytes(), (step, name)
    rows = _numbers(whole)
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4]
    assert sum(row.get("update/optimizer_steps", 0) for row in rows) > 0


def test_the_run_folder_is_complete(runs: Any) -> None:
    whole, _, said = runs
    config = yaml.safe_load((whole / "config.yaml").read_text())
    assert config["objective"]["replay"]["max_reuse"] == 4, "defaults must be spelled out"
    assert "torch" in json.loads((whole / "environment.json").read_text())["packages"]
    assert list((whole / "tensorboard").iterdir())
    assert (whole / "report" / "curves.png").stat().st_size > 10_000
    assert (whole / "report" / "samples.png").stat().st_size > 10_000
    assert "test: 6 problems x 2 samples" in said
    assert "paired gain" in said
    splits = [(row["split"], row["step"]) for row in read_run(whole).evaluations()]
    assert splits[:2] == [("validation", 0), ("test", 0)], "the base model comes first"
    assert [step for split, step in splits if split == "test" and step > 0] != [], "the trained one is tested"
    assert len([split for split, _ in splits if split == "test"]) == 2, "the test split is used once for each model"


def test_a_run_tells_where_its_time_went(runs: Any) -> None:
    whole, halves, said = runs
    table = said.split("time of 4 steps:")[1]
    for phase in ("data", "vision", "prefill", "decode", "verify", "score", "update", "sync"):
        assert f"  {phase} " in table, phase
    for row in read_run(whole).metrics()[1:]:
        rollouts = row["time/rollout"] + row["time/explore"]
        assert 0 < row["time/vision"] + row["time/prefill"] + row["time/decode"] <= rollouts < row["time/step"]
    assert sorted(path.name for path in (whole / "profile").iterdir()) == ["step_3.json.gz", "step_3.txt"]
    trace = json.loads(gzip.decompress((whole / "profile" / "step_3.json.gz").read_bytes()))
    assert any(event.get("name") == "aten::addmm" for event in trace["traceEvents"])
    assert "aten::addmm" in (whole / "profile" / "step_3.txt").read_text()
    assert not (halves / "profile").exists()


def test_resuming_a_finished_run_changes_nothing(runs: Any) -> None:
    halves = runs[1]
    before = (halves / "evaluations.jsonl").read_text(), (halves / "metrics.jsonl").read_text()
    _ok("train", QUICKSTART, f"run.dir={halves}", "run.steps=4", *SMALL, "--resume")
    assert ((halves / "evaluations.jsonl").read_text(), (halves / "metrics.jsonl").read_text()) == before


def test_a_rollout_is_dumped_with_what_a_reader_needs(runs: Any) -> None:
    row = read_run(runs[0]).rollouts(2)[0]
    assert len(row["token_ids"]) == len(row["behaviour_logprobs"])
    assert row["entropies"] == [] or len(row["entropies"]) == len(row["token_ids"])
    assert (runs[0] / "rollouts" / row["images"][0]).is_file()
    assert {"reason", "extracted", "advantage", "kept", "source", "gold", "text"} <= set(row)


def test_a_checkpoint_loads_in_transformers(runs: Any) -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    folder = runs[0] / "checkpoints" / "step_4"
    assert AutoModelForImageTextToText.from_pretrained(folder).num_parameters() > 100_000
    assert AutoProcessor.from_pretrained(folder).chat_template


def test_report_eval_and_predict_work_on_the_run(runs: Any, tmp_path: Path) -> None:
    whole = runs[0]
    assert "paired gain" in _ok("report", str(whole))
    model = str(whole / "checkpoints" / "step_4")
    assert "eval/pass@2" in _ok("eval", QUICKSTART, *SMALL, "--model", model)
    problem = make_problem("right_triangle", 1, 5)
    picture = tmp_path / "diagram.png"
    picture.write_bytes(problem.picture)
    said = _ok("predict", model, str(picture), problem.question, "--gold", problem.answer, "--max-new-tokens", "32")
    assert "verdict: " in said


def test_predict_answers_as_long_as_the_run_unless_it_is_told(runs: Any, tmp_path: Path) -> None:
    model = tmp_path / "checkpoints" / "step_4"
    shutil.copytree(runs[0] / "checkpoints" / "step_4", model)
    config = yaml.safe_load((runs[0] / "config.yaml").read_text())
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**config, "rollout": {"max_new_tokens": 3}}))
    picture = tmp_path / "diagram.png"
    picture.write_bytes(make_problem("right_triangle", 1, 5).picture)
    assert len(predict(str(model), picture, "Find x.", max_new_tokens=None).completion_ids) == 3
    assert len(predict(str(model), picture, "Find x.", max_new_tokens=2).completion_ids) == 2


def test_verify_grades_a_file(tmp_path: Path) -> None:
    rows = [{"response": r"\boxed{48°}", "gold": "48", "expected": True}, {"response": "none", "gold": "48"}]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = _ok("verify", str(path))
    assert "1 of 2 right" in said
    assert "no_answer" in said


def test_a_reward_function_of_the_users_is_added_to_the_reward(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def brevity(response, gold):\n    return 1.0 if len(response) < 10**6 else 0.0\n"
    )
    out = tmp_path / "run"
    own = [f"reward.functions={{'{tmp_path}/mine.py:brevity': 0.5}}", "run.steps=1", "evaluate.test_problems=2"]
    _ok("train", QUICKSTART, f"run.dir={out}", *SMALL, *own, "evaluate.every=0")
    row = read_run(out).metrics()[1]
    assert row["rollout/reward"] == pytest.approx(row["rollout/accuracy"] + 0.5)


def test_sft_writes_a_model_that_train_takes(tmp_path: Path) -> None:
    config = {
        "run": {"dir": str(tmp_path / "sft")},
        "model": {"path": "starter"},
        "data": {"train": {"kind": "geosynth", "count": 8}},
        "sft": {"steps": 2, "batch_size": 4},
    }
    path = tmp_path / "sft.yaml"
    path.write_text(yaml.safe_dump(config))
    assert "loss" in _ok("sft", str(path))
    assert (tmp_path / "sft" / "model" / "model.safetensors").is_file()
    refused = RUNNER.invoke(app, ["sft", str(path)])
    assert refused.exit_code == 2
    assert "already there" in refused.output


@pytest.mark.parametrize(
    ("template", "told"),
    [("{solutio}", "has no 'solutio'"), ("{answer", "expected '}'"), ("{answer.x}", "has no attribute 'x'")],
)
def test_a_target_that_cannot_be_filled_is_told_before_the_first_step(template: str, told: str, tmp_path: Path) -> None:
    config = {
        "run": {"dir": str(tmp_path / "sft")},
        "data": {"train": {"kind": "geosynth", "count": 8}, "target": template},
        "sft": {"steps": 2, "batch_size": 4},
    }
    path = tmp_path / "sft.yaml"
    path.write_text(yaml.safe_dump(config))
    refused = RUNNER.invoke(app, ["sft", str(path)])
    assert refused.exit_code == 2
    assert told in " ".join(refused.output.split()) and "step 1/" not in refused.output


def test_sft_teaches_no_empty_answer(tmp_path: Path) -> None:
    rows = [problem("a"), problem("b", answer=" ")]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet")
    data = {"train": {"kind": "parquet", "path": str(tmp_path / "train.parquet")}, "target": "{{{answer}}}"}
    config = {"run": {"dir": str(tmp_path / "sft")}, "data": data, "sft": {"steps": 1, "batch_size": 1}}
    (tmp_path / "sft.yaml").write_text(yaml.safe_dump(config))
    refused = RUNNER.invoke(app, ["sft", str(tmp_path / "sft.yaml")])
    assert refused.exit_code == 2
    assert "sample 'b' has an empty answer" in " ".join(refused.output.split())


def test_sft_leaves_a_run_alone(runs: Any, tmp_path: Path) -> None:
    before = (runs[0] / "config.yaml").read_text()
    path = tmp_path / "sft.yaml"
    path.write_text(yaml.safe_dump({"data": {"train": {"kind": "geosynth", "count": 8}}, "sft": {"steps": 1}}))
    refused = RUNNER.invoke(app, ["sft", str(path), f"run.dir={runs[0]}"])
    assert refused.exit_code == 2 and "metrics.jsonl is already there" in refused.output
    assert (runs[0] / "config.yaml").read_text() == before


@pytest.mark.parametrize("command", ["train", "sft", "eval", "predict", "verify", "report"])
def test_help_has_an_example(command: str) -> None:
    said = _ok(command, "--help")
    assert f"Example: uec-vlm {command}" in " ".join(said.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["train", "none.yaml"], "no such configuration file"),
        (["train", QUICKSTART, "run.sed=1"], "did you mean 'seed'"),
        (["train", QUICKSTART, "model.path=./none", "run.dir=DIR"], "no such folder"),
        (["train", QUICKSTART, "run.dir=DIR", "--resume"], "holds no checkpoint"),
        (["train", "--resume", QUICKSTART, "run.dir=DIR"], "holds no checkpoint"),
        (["train", QUICKSTART, "--resume", "run.dir=DIR"], "holds no checkpoint"),
        (["train", QUICKSTART, "run.dir=DIR", "--resume", "latest"], "'latest' is not one of 'newest'"),
        (
            ["train", QUICKSTART, "data.train.kind=parquet", "data.train.path=none.parquet", "run.dir=DIR"],
            "none.parquet",
        ),
        (["train", QUICKSTART, "run.dir=FILE"], "cannot be made"),
        (["train", QUICKSTART, "run.dir=FILE/below"], "cannot be made"),
        (["sft", "SFT", "run.dir=FILE"], "cannot be made"),
        (["eval", "starter", "PARQUET", "--out", "FILE"], "Give another path"),
        (["report", "DIR"], "is no run folder"),
        (["predict", "starter", "none.png", "Find x."], "no such picture file"),
        (["eval", QUICKSTART, "--limit", "3", "--out", "DIR"], "--limit, --out: would not be read"),
        (["eval", "starter", "test", "--split", "test"], "--split: would not be read"),
        (["eval", "starter", "test", "--model", "DIR"], "--model: would not be read"),
        (["report", "DIR", "--serve", "--out", "page.html"], "--out: would not be read"),
        (["report", "DIR", "--port", "80"], "--port: would not be read"),
        (["study", "none.yaml", "--page", "page.md", "--only", "uec"], "--only: would not be read"),
        (["study", "none.yaml", "--repeat", "main-uec-seed0", "--unfinished"], "--unfinished: would not be read"),
    ],
)
def test_what_the_user_can_mend_is_said_without_a_traceback(arguments: list[str], told: str, tmp_path: Path) -> None:
    file, sft, parquet = tmp_path / "file", tmp_path / "sft.yaml", tmp_path / "test.parquet"
    file.write_text("a file, and no folder")
    sft.write_text(yaml.safe_dump({"data": {"train": {"kind": "geosynth", "count": 8}}, "sft": {"steps": 1}}))
    if "PARQUET" in arguments:
        write_splits({"test": ProblemSet(split="test", count=1, seed=0)}, tmp_path)
    places = {"DIR": tmp_path / "run", "FILE": file, "SFT": sft, "PARQUET": parquet}
    given = [functools.reduce(lambda text, name: text.replace(name, str(places[name])), places, x) for x in arguments]
    result = RUNNER.invoke(app, given)
    assert result.exit_code == 2, result.output
    assert told in result.output
    assert "Traceback" not in result.output


def test_a_resume_with_other_settings_is_refused(runs: Any) -> None:
    result = RUNNER.invoke(
        app, ["train", QUICKSTART, f"run.dir={runs[0]}", "run.steps=6", *SMALL, "update.learning_rate=1e-5", "--resume"]
    )
    assert result.exit_code == 2
    assert "update.learning_rate" in result.output


def test_a_run_is_not_resumed_to_a_step_behind_it(runs: Any) -> None:
    """Its model would be evaluated as that of the earlier step."""
    before = (runs[0] / "evaluations.jsonl").read_text()
    result = RUNNER.invoke(app, ["train", QUICKSTART, f"run.dir={runs[0]}", "run.steps=3", *SMALL, "--resume", "auto"])
    assert result.exit_code == 2
    assert "is at step 4 already" in result.output
    assert (runs[0] / "evaluations.jsonl").read_text() == before


def test_a_folder_with_a_run_is_not_overwritten(runs: Any) -> None:
    result = RUNNER.invoke(app, ["train", QUICKSTART, f"run.dir={runs[0]}", *SMALL])
    assert result.exit_code == 2
    assert "already holds a run" in result.output
