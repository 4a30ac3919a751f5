"""`uec-vlm eval MODEL DATASETS...`: files in, a result out; resumable; as training asks and grades."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import save_file
from typer.testing import CliRunner

from uec_vlm.cli import app
from uec_vlm.errors import DataError
from uec_vlm.geosynth import ProblemSet
from uec_vlm.trainer import evaluate_datasets
from uec_vlm.trainer.evaluation_config import EvalOptions, evaluation_config

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = str(ROOT / "configs" / "quickstart.yaml")
FAMILIES = ("linear_pair", "vertical_angles", "rectangle_area", "triangle_midsegment")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared folder with a test split of 18 problems with choices, and one that cannot be asked."""
    folder = tmp_path_factory.mktemp("prepared")
    problems = ProblemSet(split="test", count=18, seed=5, families=FAMILIES, levels=(1,))
    rows = [{**asdict(problems[place]), "metadata": "{}"} for place in range(len(problems))]
    rows.append({**rows[0], "id": "pictureless", "images": []})
    pq.write_table(pa.Table.from_pylist(rows), folder / "test.parquet")
    return folder


def evaluate(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["eval", *arguments])
    assert result.exit_code == code, result.output
    return result.output


def result_of(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "result.json").read_text())
    return found


def usual(dataset: Path, out: Path, *more: str) -> list[str]:
    return ["starter", str(dataset), "--config", QUICKSTART, "--samples", "4", "--out", str(out), *more]


@pytest.fixture(scope="module")
def finished(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("eval") / "result"
    evaluate(*usual(dataset, out))
    return out


def test_a_result_has_figures_counts_and_a_page(finished: Path, dataset: Path) -> None:
    result = result_of(finished)
    entry = result["datasets"][str(dataset)]
    assert (entry["problems"], entry["refused"]) == (18, 1)
    assert 0 < entry["figures"]["mean@4"]["mean"] < 1, "the starter solves some of these families"
    assert entry["figures"]["pass@4"]["mean"] >= entry["figures"]["pass@1"]["mean"]
    assert entry["figures"]["mean@4"]["low"] < entry["figures"]["mean@4"]["high"]
    page = (finished / "result.md").read_text()
    assert "| pass@4 |" in page and "1 problems could not be asked" in page and result["settings_hash"] in page


def test_an_evaluation_that_was_stopped_goes_on_to_the_same_result(
    finished: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "halves"
    asked: list[str] = []
    plain = evaluate_datasets._row

    def stopping(dataset: str, sample: Any, judged: Any) -> Any:
        asked.append(sample.id)
        if len(asked) == 7:
            raise KeyboardInterrupt
        return plain(dataset, sample, judged)

    monkeypatch.setattr(evaluate_datasets, "_row", stopping)
    evaluate(*usual(dataset, out), code=130)
    with (out / "rows.jsonl").open("a") as file:
        file.write('{"dataset": "torn')  # as a kill leaves it
    first = set(asked[:6])
    asked[:] = ["already"] * 7
    said = evaluate(*usual(dataset, out))
    assert "6 problems are there" in said
    assert not first & set(asked[7:]) and len(asked) == 7 + 12
    assert result_of(out)["datasets"] == result_of(finished)["datasets"]


def test_other_settings_or_weights_do_not_mix(
    finished: Path, dataset: Path, tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    told = evaluate(*usual(dataset, finished, "--temperature", "0.5"), code=2)
    assert "evaluation with other settings" in told
    other = [str(tiny_model("qwen2_5_vl")), *usual(dataset, finished)[1:]]
    assert "evaluation with other weights" in evaluate(*other, code=2)


def test_the_settings_hash_tells_questions_and_grader_apart(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def described(*overrides: Any, mode: str | None = None) -> dict[str, Any]:
        options = EvalOptions(mode=mode)
        return evaluate_datasets._describe(evaluation_config("starter", Path(QUICKSTART), options), {}, None)

    assert described() == described()
    assert described(mode="choices") != described()
    before = described()
    monkeypatch.setattr(evaluate_datasets, "DEFAULT_POLICY", "another grader")
    assert described()["grader"] != before["grader"]


def test_four_choices_are_listed_and_graded(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "choices"
    evaluate(*usual(dataset, out, "--mode", "choices", "--limit", "3", "--max-new-tokens", "8"))
    result = result_of(out)
    assert result["settings"]["prompt"]["four_choices"] and result["settings"]["sampling"]["mode"] == "choices"


def test_a_paired_test_against_another_result(finished: Path, dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "greedy"
    said = evaluate(*usual(dataset, out, "--temperature", "0", "--against", str(finished / "result.json")))
    gain = result_of(out)["datasets"][str(dataset)]["against"]
    assert gain["problems"] == 18 and 0 < gain["p_value"] <= 1 and gain["low"] <= gain["mean"] <= gain["high"]
    assert "p = " in said


def test_a_checkpoint_is_asked_as_its_run_asked(tmp_path: Path, tiny_model: Callable[[str], Path]) -> None:
    checkpoint = tmp_path / "run" / "checkpoints" / "step_4"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.symlink_to(tiny_model("qwen2_5_vl"))
    text = Path(QUICKSTART).read_text().replace("model: {", "data_: 0\nmodel: {").replace("data_: 0\n", "")
    (tmp_path / "run" / "config.yaml").write_text(text.replace("max_new_tokens: 96", "max_new_tokens: 33"))
    config = evaluation_config(str(checkpoint), None, EvalOptions(samples=3))
    assert (config.rollout.max_new_tokens, config.evaluate.test_samples) == (33, 3)
    assert config.model.path == str(checkpoint)
    assert evaluation_config("starter", None, EvalOptions()).rollout.max_new_tokens == 256


@pytest.mark.parametrize("above", [{"quantization": "nf4"}, {"quantization": None}])
def test_a_checkpoint_of_an_adapter_is_asked_as_the_whole_model_that_it_is(
    above: dict[str, str | None], tmp_path: Path
) -> None:
    checkpoint = tmp_path / "run" / "checkpoints" / "step_4"
    checkpoint.mkdir(parents=True)
    tree = yaml.safe_load(Path(QUICKSTART).read_text())
    tree["model"] = {"path": "starter", "lora": {"rank": 2}, **above}
    tree["checkpoint"] = {"lora": "both"}
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(tree))
    model = evaluation_config(str(checkpoint), None, EvalOptions()).model
    assert (model.lora, model.quantization, model.path) == (None, None, str(checkpoint))


def test_weights_that_differ_behind_the_first_tensors_are_other_weights(tmp_path: Path) -> None:
    head = torch.zeros(2**20)
    for name, value in (("one", 0.0), ("other", 1.0)):
        (tmp_path / name).mkdir()
        save_file({"a": head, "b": torch.full((8,), value)}, tmp_path / name / "model.safetensors")
    assert evaluate_datasets._fingerprint(tmp_path / "one") != evaluate_datasets._fingerprint(tmp_path / "other")


def test_no_folder_is_made_for_a_model_that_is_none(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    told = evaluate(str(tmp_path / "empty"), str(dataset), "--out", str(tmp_path / "out"), code=2)
    assert "Give a folder with a config.json" in " ".join(told.split())
    assert not (tmp_path / "out").exists()


def test_a_folder_of_training_problems_is_not_evaluated_unasked(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "train.parquet").write_bytes((dataset / "test.parquet").read_bytes())
    config = evaluation_config("starter", None, EvalOptions())
    with pytest.raises(DataError, match="training problems only"):
        evaluate_datasets.open_dataset(str(tmp_path), config)


def test_rows_that_cannot_be_told_apart_or_graded_are_refused(dataset: Path, tmp_path: Path) -> None:
    """The second row of an id was asked and its answers were thrown away."""
    rows = pq.read_table(dataset / "test.parquet").to_pylist()[:2]
    file = tmp_path / "faulty.parquet"
    pq.write_table(pa.Table.from_pylist([*rows, rows[0], {**rows[1], "id": "x", "answer": " "}]), file)
    told = evaluate(*usual(file, tmp_path / "out"), code=2)
    assert "faulty.parquet': 2 of 4 rows cannot be measured on. The first:" in " ".join(told.split())
    assert not (tmp_path / "out").exists()
    run = yaml.safe_load(Path(QUICKSTART).read_text())
    run["data"]["validation"] = {"kind": "parquet", "path": str(file)}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run))
    told = evaluate("starter", "validation", "--config", str(tmp_path / "run.yaml"), code=2)
    assert "'validation': 2 of 4 rows cannot be measured on." in " ".join(told.split())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["starter"], "no data set"),
        (["starter", "none.parquet"], "neither a Parquet file"),
        (["starter", "test"], "no such split"),
        (["starter", "validation", "--mode", "essay"], "there is no such mode"),
        (["starter", "validation", "--against", "nowhere", "--out", "OUT", "--limit", "1"], "there is no rows.jsonl"),
    ],
)
def test_what_cannot_be_evaluated_is_said_plainly(arguments: list[str], told: str, tmp_path: Path) -> None:
    said = evaluate(*[a.replace("OUT", str(tmp_path / "out")) for a in arguments], code=2)
    assert told in said and "Traceback" not in said
