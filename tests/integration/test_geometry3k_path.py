"""Real Geometry3K from its problem folders to a trained checkpoint, by the shipped configurations."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from data_prep.prepare import prepare
from data_prep.registry import DATASETS
from data_prep.sources import open_source
from uec_vlm.cli import app
from uec_vlm.config import config_folder
from uec_vlm.runlog import read_run

RAW = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "geometry3k_raw"


def _ok(*arguments: str) -> None:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output


@pytest.mark.skipif(not RAW.is_dir(), reason="the real problems are not beside the project (../shared/data)")
def test_the_starter_policy_trains_on_real_problems(tmp_path: Path) -> None:
    spec, data = DATASETS["geometry3k"], tmp_path / "data"
    prepare("geometry3k", spec, open_source("geometry3k", spec, str(RAW)), data, grade_check=None)
    train, test = f"data.train.path={data}/train.parquet", f"data.validation.path={data}/test.parquet"
    _ok("sft", str(config_folder() / "sft_geometry3k_starter.yaml"), train, f"run.dir={tmp_path}/sft")
    run, model = tmp_path / "run", tmp_path / "sft" / "model"
    _ok(
        "train",
        str(config_folder() / "geometry3k_starter_cpu.yaml"),
        train,
        test,
        f"run.dir={run}",
        f"model.path={model}",
    )
    rows = read_run(run).metrics()
    assert sum(row.get("update/optimizer_steps", 0) for row in rows) >= 3
    assert all(row["update/grad_norm"] > 0 for row in rows if row.get("update/optimizer_steps"))
    before, after = (load_file(folder / "model.safetensors") for folder in (model, run / "checkpoints" / "step_6"))
    assert any(not torch.equal(value, after[name]) for name, value in before.items())
    from transformers import AutoModelForImageTextToText

    assert AutoModelForImageTextToText.from_pretrained(run / "checkpoints" / "step_6").config.model_type == "qwen2_5_vl"
