"""A checkpoint leaves its run: a fresh process loads it and answers as the live policy did; its card tells the run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from typer.testing import CliRunner

from uec_vlm.batches import PromptSettings, render
from uec_vlm.cli import app
from uec_vlm.errors import ModelError
from uec_vlm.geosynth import ProblemSet
from uec_vlm.geosynth.asset import starter_folder
from uec_vlm.policy import LoraSettings, Policy, load_policy, prefill, save_policy
from uec_vlm.rollouts import ENGINES, SamplingSettings
from uec_vlm.trainer.export import push, stage

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = [ProblemSet(split="test", count=3, seed=1, levels=(1,))[place] for place in range(3)]
# What a user writes: transformers alone, the folder alone.
FRESH = """
import io, json, sys, torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor
folder, prompts = sys.argv[1], json.load(open(sys.argv[2]))
model, processor = AutoModelForImageTextToText.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)
answers = []
for text, picture in prompts:
    image = Image.open(io.BytesIO(bytes.fromhex(picture))).convert("RGB")
    inputs = processor(text=[text], images=[image], return_tensors="pt")
    with torch.no_grad():
        ids = model.generate(**inputs, do_sample=False, max_new_tokens=40)[0, inputs["input_ids"].shape[1]:]
    answers.append(ids.tolist())
print(json.dumps({"answers": answers, "peft": "peft" in sys.modules, "eos": model.generation_config.eos_token_id}))
"""


def greedy(policy: Policy) -> list[list[int]]:
    prompts = [render(sample, policy.processor, PromptSettings()) for sample in SAMPLES]
    sampling = SamplingSettings(temperature=0.0, max_new_tokens=40)
    groups = ENGINES["hf"]()(policy, prefill).generate(prompts, completions=1, sampling=sampling, seeds=[0] * 3)
    return [group[0].completion_ids.tolist() for group in groups]


def in_a_fresh_process(folder: Path, policy: Policy, scratch: Path) -> dict[str, Any]:
    prompts = [(render(s, policy.processor, PromptSettings()).text, s.images[0].hex()) for s in SAMPLES]
    asked, script = scratch / "prompts.json", scratch / "fresh.py"
    asked.write_text(json.dumps(prompts))
    script.write_text(FRESH)
    shown = subprocess.run([sys.executable, str(script), str(folder), str(asked)], capture_output=True, text=True)
    assert shown.returncode == 0, f"status {shown.returncode} (-9: killed for memory)\n{shown.stderr[-2000:]}"
    found: dict[str, Any] = json.loads(shown.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def adapted() -> Policy:
    """The starter policy under an adapter that changes its answers, the same in whatever order tests run."""
    torch.manual_seed(2)
    policy = load_policy(starter_folder(), lora=LoraSettings(rank=4, alpha=8.0))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in policy.model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return policy


@pytest.mark.timeout(900)  # each loads the libraries anew in a fresh process: 8 s alone, minutes on a crowded machine
@pytest.mark.parametrize(
    ("files", "inner"),
    [
        pytest.param("merged", ".", marks=pytest.mark.slow),
        pytest.param("adapter", ".", marks=pytest.mark.slow),
        ("both", "."),
        ("both", "adapter"),
    ],
)
def test_a_fresh_process_answers_as_the_live_policy(adapted: Policy, files: Any, inner: str, tmp_path: Path) -> None:
    folder = save_policy(adapted, tmp_path / "saved", lora=files)
    expected = greedy(adapted)
    with adapted.without_adapter():
        assert greedy(adapted) != expected, "the adapter must matter"
    if inner == ".":
        found = in_a_fresh_process(folder, adapted, tmp_path)
        assert found["answers"] == expected
        assert set(found["eos"]) == set(adapted.end_ids)
    names = {path.name for path in (folder / inner).iterdir()}
    assert ("adapter_config.json" in names) == (files == "adapter" or inner == "adapter")
    assert ("model.safetensors" in names) == (inner == "." and files != "adapter")
    assert greedy(load_policy(folder)) == expected


def test_end_tokens_that_only_the_tokenizer_knew_are_written(tmp_path: Path) -> None:
    policy = load_policy(starter_folder())
    policy.model.generation_config.eos_token_id = None
    folder = save_policy(policy, tmp_path / "saved")
    assert set(json.loads((folder / "generation_config.json").read_text())["eos_token_id"]) == set(policy.end_ids)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps with an adapter, whose checkpoint is the adapter alone."""
    folder = tmp_path_factory.mktemp("export") / "run"
    own = [
        f"run.dir={folder}", "run.steps=2", "run.trackers=[]", "evaluate.every=2",
        "evaluate.validation_problems=4", "evaluate.test_problems=4", "evaluate.test_samples=2",
        "rollout.prompts_per_step=4", "rollout.max_new_tokens=24",
        "update.sequences_per_optimizer_step=10", "objective.exploration.completions=2", "model.lora={rank: 2}",
        "checkpoint.lora=adapter",
    ]  # fmt: skip
    result = CliRunner().invoke(app, ["train", str(ROOT / "configs" / "quickstart.yaml"), *own])
    assert result.exit_code == 0, result.output
    return folder


def test_the_card_tells_the_run(run: Path) -> None:
    checkpoint = run / "checkpoints" / "step_2"
    card = (checkpoint / "README.md").read_text()
    header = yaml.safe_load(card.split("---")[1])
    assert header["library_name"] == "peft" and header["license"] == "apache-2.0"
    assert header["pipeline_tag"] == "image-text-to-text" and "uec-rl" in header["tags"]
    for told in (
        "`uec`, 2 of 2 steps of 4 prompts x 5 completions, from `starter` (qwen2_5_vl), seed 0",
        "| train | generated geometry, seed 1 | 20000 | made from the seed | Apache-2.0 |",
        "| validation | 2 | 4 x 2 |",
        "| step | accuracy of rollouts | entropy, nats |",
        "| validation | 0 | another problem's |",
        "max_new_tokens: 24",
        "AutoModelForImageTextToText",
        "torch 2.",
    ):
        assert told in card, told
    assert "| test | 2 |" not in card, "the test split comes after the checkpoint"


def test_what_is_staged_has_no_training_state_and_the_whole_story(run: Path, tmp_path: Path) -> None:
    staged = stage(run / "checkpoints" / "step_2", tmp_path / "staged")
    names = {path.name for path in staged.iterdir()}
    assert (
        "state" not in names
        and {"adapter_model.safetensors", "README.md", "curves.png", "adapter_config.json"} <= names
    )
    card = (staged / "README.md").read_text()
    assert "| test | 2 | another problem's |" in card, "whether the published weights look at the picture"
    assert "| test | 2 | 4 x 2 |" in card and "![curves of the run](curves.png)" in card
    load_policy(staged)


def test_data_from_files_are_told_with_hash_and_licence(run: Path, tmp_path: Path) -> None:
    from uec_vlm.reports.card import model_card
    from uec_vlm.runlog import read_run

    folder = tmp_path / "copy"
    folder.mkdir()
    for name in ("config.yaml", "environment.json", "metrics.jsonl", "evaluations.jsonl"):
        (folder / name).write_bytes((run / name).read_bytes())
    manifest = {
        "dataset": "geometry3k",
        "licence": "MIT (lupantech/InterGPS)",
        "files": {"train.parquet": {"sha256": "0123456789abcdef" * 4}},
        "splits": {"train": {"rows_written": 2101}},
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["data"]["train"] = {"kind": "parquet", "path": str(tmp_path / "train.parquet")}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    card = model_card(read_run(folder), step=2, family="qwen2_5_vl", sees=True, adapter=False)
    assert "| train | geometry3k | 2101 | `0123456789abcdef` | MIT (lupantech/InterGPS) |" in card


def test_an_upload_that_cannot_be_is_said_plainly(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = run / "checkpoints" / "step_2"
    monkeypatch.setenv("HF_TOKEN", "hf_none")
    with pytest.raises(ModelError, match="--repo me/x: the Hub could not be reached or refused"):
        push(checkpoint, repo="me/x", endpoint="http://127.0.0.1:9")
    with pytest.raises(ModelError, match="not a repository's name"):
        push(checkpoint, repo="a/b/c d", endpoint="http://127.0.0.1:9")
    result = CliRunner().invoke(app, ["push", str(tmp_path), "--repo", "me/x"])
    assert result.exit_code == 2 and "is no checkpoint" in result.output


def test_an_adapter_s_files_without_an_adapter_are_refused() -> None:
    result = CliRunner().invoke(app, ["train", str(ROOT / "configs" / "quickstart.yaml"), "checkpoint.lora=both"])
    assert result.exit_code == 2 and "set model.lora" in result.output
