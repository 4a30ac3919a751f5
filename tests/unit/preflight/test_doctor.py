"""The doctor finds each planted fault and names it, and passes a healthy configuration."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import transformers
from typer.testing import CliRunner

from tests.support.readings import prompts_for
from tests.unit.preflight.world import edit_json, healthy, row
from uec_vlm.cli import app
from uec_vlm.policy import load_policy, prefill
from uec_vlm.preflight import data_checks, machine_checks
from uec_vlm.preflight.data_checks import Reading
from uec_vlm.preflight.doctor import Options, examine
from uec_vlm.preflight.findings import CHECKS, Finding
from uec_vlm.rollouts import ENGINES

TinyModel = Callable[[str], Path]
ROOT = Path(__file__).resolve().parents[3]
SERVED = "rollout.vllm={servers: [http://127.0.0.1:1]}"


def found(path: Path, *overrides: str, **options: int) -> list[Finding]:
    """Everything but the checks that passed."""
    return [f for f in examine(path, overrides, Options(**options)).findings if f.level != "ok"]


def only(path: Path, *overrides: str, **options: int) -> tuple[str, str, str]:
    """Check, level and text of the single finding."""
    (finding,) = found(path, *overrides, **options)
    assert finding.remedy or finding.check == "model", "an error says what to do"
    return finding.check, finding.level, finding.said


@pytest.fixture
def model(tiny_model: TinyModel) -> Path:
    return tiny_model("qwen2_5_vl")


def test_the_quickstart_is_healthy(tmp_path: Path) -> None:
    """In a folder of its own: a reader may have run the quickstart already."""
    config = str(ROOT / "configs" / "quickstart.yaml")
    result = CliRunner().invoke(app, ["doctor", config, "--rows", "20", "--json", f"run.dir={tmp_path / 'run'}"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.output)
    assert told["healthy"] and {finding["check"] for finding in told["findings"]} == set(CHECKS)
    assert all(finding["level"] == "ok" for finding in told["findings"])


def test_a_run_folder_that_cannot_be_made_is_told(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert only(healthy(tmp_path, model), f"run.dir={file}/run") == (
        "disk", "error", f"run.dir = {file}/run: {file} is a file",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["algorithm=kl_cov"], "the gradient of the penalty is 0"),
        (["algorithm=kl_cov", "update.sequences_per_optimizer_step=2"], None),
        (["algorithm=uec", "reward.format_weight=0.1"], "of extra rollouts that are all wrong"),
        (["algorithm=uec", "reward.format_weight=0.1", "objective.retention.extra=correct"], None),
        (["algorithm=grpo", "reward.format_weight=0.1"], None),
    ],
)
def test_parts_of_the_objective_that_defeat_each_other_are_told(
    model: Path, tmp_path: Path, overrides: list[str], said: str | None
) -> None:
    told = [f for f in found(healthy(tmp_path, model), *overrides) if f.check == "objective"]
    assert len(told) == (said is not None)
    assert all(f.level == "warning" and said in f.said and f.remedy for f in told if said)


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_moe"])
def test_a_healthy_configuration_of_files_passes(tiny_model: TinyModel, family: str, tmp_path: Path) -> None:
    plain = {split: [row(f"{split}{n}", images=[], problem=f"Find {split}{n}.") for n in range(3)] for split in SPLITS}
    splits = plain if family == "qwen3_moe" else {}
    assert found(healthy(tmp_path, tiny_model(family), **splits)) == []


SPLITS = ("train", "validation")


def test_a_key_that_does_not_exist(model: Path, tmp_path: Path) -> None:
    check, level, said = only(healthy(tmp_path, model), "run.sed=1")
    assert (check, level) == ("configuration", "error") and "did you mean 'seed'" in said


def test_a_reward_function_that_is_not_there(model: Path, tmp_path: Path) -> None:
    check, _, said = only(healthy(tmp_path, model), "reward.functions={none.py:f: 1.0}")
    assert check == "configuration" and "none.py" in said


def test_a_model_that_is_not_there_or_not_supported(model: Path, tmp_path: Path) -> None:
    path = healthy(tmp_path, model)
    assert "no such folder" in only(path, "model.path=./absent")[2]
    transformers.Qwen3_5Config().save_pretrained(tmp_path / "other")
    assert "linear-attention" in only(path, f"model.path={tmp_path}/other")[2]


def test_a_torn_weight_file(model: Path, tmp_path: Path) -> None:
    path = healthy(tmp_path, model)
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    check, level, said = only(path)
    assert (check, level) == ("model", "error") and "not a whole weight file" in said


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("<|im_end|>", "", "none would ever stop"),
        ("{% if add_generation_prompt %}", "{% if false %}", "no answer's turn is opened"),
    ],
)
def test_a_chat_template_that_cannot_work(model: Path, tmp_path: Path, old: str, new: str, told: str) -> None:
    path = healthy(tmp_path, model)
    template = tmp_path / "model" / "chat_template.jinja"
    template.write_text(template.read_text().replace(old, new))
    check, level, said = only(path)
    assert (check, level) == ("chat template", "error") and told in said


def test_tokens_of_another_checkpoint(model: Path, tmp_path: Path) -> None:
    path = healthy(tmp_path, model)
    edit_json(tmp_path / "model" / "config.json", image_token_id=250)
    check, level, said = only(path)
    assert (check, level) == ("special tokens", "error") and "262 in the processor and 250 in config.json" in said


def test_ids_beyond_the_embedding(model: Path, tmp_path: Path) -> None:
    path = healthy(tmp_path, model)
    config = tmp_path / "model" / "config.json"
    text = json.loads(config.read_text())["text_config"]
    edit_json(config, text_config={**text, "vocab_size": 260})
    assert "the embedding has 260 rows" in only(path)[2]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"problem": "Find x."}, "0 placeholders '<image>' in the text, but 1 pictures"),
        ({"images": [b"torn"]}, "picture 1: the picture cannot be decoded"),
        ({"problem": "<image>" + "x" * 200}, "more than max_prompt_tokens = 200"),
        ({"problem": "<image><video>What moves?"}, "videos are not supported"),
        ({"problem": "<image>What is <|im_end|>?"}, "a special token of the model"),
        ({"metadata": "[1]"}, "metadata is list, not an object"),
    ],
)
def test_a_row_that_is_no_prompt(model: Path, tmp_path: Path, changes: dict[str, object], told: str) -> None:
    path = healthy(tmp_path, model, train=[row("bad", **changes), row("good")])
    check, level, said = only(path)
    assert (check, level) == ("rows", "warning") and "train: 1 of 2 rows" in said and told in said and "bad" in said
    assert only(path, "data.check=false")[:2] == ("rows", "warning"), "training skips it when it is drawn"
    (tmp_path / "other").mkdir()
    path = healthy(tmp_path / "other", model, validation=[row("bad", **changes), row("good")])
    assert only(path)[:2] == ("rows", "warning")
    assert only(path, "data.check=false")[:2] == ("rows", "error"), "an evaluation would stop at it"


def test_a_split_without_rows_that_can_be_used(model: Path, tmp_path: Path) -> None:
    path = healthy(tmp_path, model, validation=[row("bad", images=[])])
    assert only(path)[:2] == ("rows", "error")
    (tmp_path / "train.parquet").unlink()
    assert "there is no such file" in found(path)[0].said


def test_completions_that_the_model_has_no_positions_for(model: Path, tmp_path: Path) -> None:
    path = healthy(tmp_path, model)
    assert "more than the model's 4096 positions" in only(path, "rollout.max_new_tokens=4090")[2]
    assert only(path, "update.micro_batch_tokens=20")[:2] == ("lengths", "warning")


def test_golds_that_cannot_be_graded(model: Path, tmp_path: Path) -> None:
    path = healthy(tmp_path, model, train=[row("bad", answer="???"), row("good")])
    check, level, said = only(path)
    assert (check, level) == ("golds", "warning") and "bad: unparsable" in said


@pytest.mark.parametrize(("split", "level"), [("train", "warning"), ("validation", "error")])
def test_rows_that_the_check_of_a_run_refuses(model: Path, tmp_path: Path, split: str, level: str) -> None:
    for name, rows in (
        ("golds", [row("a", answer=" "), row("b")]),
        ("splits", [row("a"), row("a", problem="<image>B.")]),
    ):
        path = healthy(tmp_path / name, model, **{split: rows})
        assert only(path)[:2] == (name, level), "left out of training, or the end of a run"
    assert only(tmp_path / "golds/run.yaml", "data.check=false")[:2] == ("golds", "warning")
    assert only(tmp_path / "splits/run.yaml", "data.check=false")[:2] == ("splits", "error")


def test_ids_that_repeat_and_problems_that_leak(model: Path, tmp_path: Path) -> None:
    twice = found(healthy(tmp_path / "a", model, train=[row("same"), row("same", problem="<image>Other.")]))
    assert [(f.check, f.level) for f in twice] == [("splits", "warning")] and "same" in twice[0].said
    leaked = row("train0", id="held")
    check, level, said = only(healthy(tmp_path / "b", model, validation=[leaked, row("v")]))
    assert (check, level) == ("splits", "warning") and "1 of 2 validation problems are in training: held" in said


@pytest.mark.parametrize(
    ("package", "installed", "told", "command"),
    [
        ("transformers", "4.57.0", "has no mm_token_type_ids", "pip install 'transformers>=5.0'"),
        ("qwen-vl-utils", "0.0.10", "knows no image_patch_size", "pip install 'qwen-vl-utils>=0.0.14'"),
        ("tokenizers", "0.22.0", "but tokenizers 0.22.0 is installed", "pip install 'tokenizers"),
    ],
)
def test_versions_that_do_not_work(package: str, installed: str, told: str, command: str) -> None:
    def version(name: str) -> str:
        return installed if name == package else machine_checks.metadata.version(name)

    faults = [finding for finding in machine_checks.versions(version) if told in finding.said]
    assert faults and all(f.level == "error" and f.remedy.startswith(command) for f in faults)


def test_a_full_disk_and_a_folder_that_has_a_run(model: Path, tmp_path: Path) -> None:
    from uec_vlm.config import load_config

    path = healthy(tmp_path, model)
    config = load_config(path)
    (full,) = machine_checks.disk(config, weight_bytes=10**9, state_bytes=2 * 10**9, free=11 * 10**9)
    assert full.level == "error" and "4 checkpoints need 12.00 GB, 11.0 GB are free" in full.said
    (room,) = machine_checks.disk(config, weight_bytes=10**9, state_bytes=2 * 10**9, free=13 * 10**9)
    assert room.level == "ok"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text("{}\n")
    assert only(path)[:2] == ("disk", "warning")


def test_more_processes_than_prompts(model: Path, tmp_path: Path) -> None:
    path = healthy(tmp_path, model)
    assert only(path, processes=5)[:2] == ("ranks", "error")
    assert only(path, processes=3)[:2] == ("ranks", "warning")
    assert found(path, processes=2) == []


def test_what_training_will_refuse_is_told(model: Path, tmp_path: Path) -> None:
    path = healthy(tmp_path, model)
    (lost,) = [
        f for f in found(path, "model.dtype=bfloat16", "update.learning_rate=1e-6") if f.check == "configuration"
    ]
    assert lost.level == "warning" and "would be lost" in lost.said
    served = ["model.lora={rank: 2}", "model.quantization=nf4", "rollout.engine=vllm", SERVED]
    (refused,) = [f for f in found(path, *served) if f.check == "configuration"]
    assert refused.level == "error" and "model.quantization = nf4" in refused.said


def test_a_row_of_a_mixture_is_one_of_training(tmp_path: Path) -> None:
    reading = Reading(rows=3, asked=3)
    reading.lengths.extend([(5, "one"), (6, "two")])
    reading.refused.append("row 3: no picture")
    (finding,) = data_checks.rows({"train part 0": reading}, check=False)
    assert finding.level == "warning"


def test_an_engine_with_other_weights(tiny_model: TinyModel, tmp_path: Path) -> None:
    from tests.support.tiny_models import build_model_folder

    policy = load_policy(tiny_model("qwen2_5_vl"))
    other = load_policy(build_model_folder(tmp_path / "other", "qwen2_5_vl", seed=1))
    for sampled, level in ((policy, "ok"), (other, "error")):
        engine = ENGINES["hf"]()(sampled, prefill)
        (finding,) = machine_checks.engine(policy, engine, prompts_for(policy), dtype="float32")
        assert (finding.check, finding.level) == ("engine", level)


def test_an_error_is_exit_status_1_in_a_table(model: Path, tmp_path: Path) -> None:
    path = healthy(tmp_path, model)
    result = CliRunner().invoke(app, ["doctor", str(path), "rollout.max_new_tokens=4090"])
    assert result.exit_code == 1
    assert "1 errors, 0 warnings" in result.output and "4096" in result.output
