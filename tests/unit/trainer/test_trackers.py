"""Trackers: what reaches TensorBoard, MLflow and Weights & Biases, pictures of completions included."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from accelerate import PartialState
from PIL import Image

from uec_vlm.errors import ConfigError
from uec_vlm.trainer import trackers as module
from uec_vlm.trainer.trackers import open_trackers, require_trackers


def _rows() -> list[dict[str, Any]]:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
    text = "<script>alert(1)</script> | \\boxed{4}\nnext"
    row = {"id": "p", "source": "regular", "text": text, "gold": "4", "correct": True, "reason": "exact"}
    return [row | {"reward": 1.0, "advantage": 0.5, "images": images} for images in ([buffer.getvalue()], [])]


def _send(names: list[str], folder: Path, resumed_at: int | None = None) -> None:
    PartialState(cpu=True)  # a run has it by then
    config = {"run": {"seed": 3, "trackers": names}, "algorithm": "uec"}
    first = 0 if resumed_at is None else resumed_at + 1
    with open_trackers(names, folder=folder, name="mine", config=config, resumed_at=resumed_at) as trackers:
        for step in (first, first + 1):
            trackers.log(step, {"rollout/accuracy": 0.25 * step, "eval/pass@1": 0.5})
        trackers.completions(first + 1, _rows())


def test_tensorboard_has_numbers_text_and_pictures_and_resumes(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _send(["tensorboard"], tmp_path)
    _send(["tensorboard"], tmp_path, resumed_at=0)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("rollout/accuracy")] == [(0, 0.0), (1, 0.25), (2, 0.5)]
    assert [e.value for e in events.Scalars("eval/pass@1")] == [0.5] * 3
    assert next((e.width, e.height) for e in events.Images("completions/00")) == (8, 8)
    text = events.Tensors("completions/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "&lt;script&gt;" in text
    assert "<script>" not in text
    assert text.count("\n") == 3, "a completion of two lines stays in its row"


def test_mlflow_has_numbers_settings_and_a_table_with_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    pytest.importorskip("sqlalchemy", reason="sqlalchemy is not installed; it comes with the extra 'test'")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    require_trackers(["mlflow"])
    _send(["mlflow"], tmp_path)
    _send(["mlflow"], tmp_path, resumed_at=1)
    run_id = json.loads((tmp_path / "mlflow.json").read_text())["run_id"]
    client = mlflow.MlflowClient()
    history = client.get_metric_history(run_id, "rollout/accuracy")
    assert sorted((one.step, one.value) for one in history) == [(0, 0.0), (1, 0.25), (2, 0.5), (3, 0.75)]
    run = client.get_run(run_id)
    assert run.data.params["run.seed"] == "3"
    assert run.data.metrics["eval/pass_at_1"] == 0.5
    artifacts = tmp_path / "mlruns"
    assert (tmp_path / "mlflow.db").is_file(), "numbers and pictures lie in the run folder"
    table = json.loads(next(artifacts.rglob("completions/step_000001.json")).read_text())
    assert table["columns"][0] == "picture"
    assert "<script>" in table["data"][0][table["columns"].index("text")]
    assert list(artifacts.rglob("table_images/**/*.png"))


def test_wandb_offline_has_a_table_with_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    _send(["wandb"], tmp_path)
    staged = [path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert any(data.startswith(b"\x89PNG") for data in staged), "the picture goes with the table"
    table = next(json.loads(data) for data in staged if data.startswith(b'{"_type": "table"'))
    assert table["columns"][0] == "picture"
    assert table["data"][0][0]["_type"] == "image-file"
    assert table["data"][1][0] is None


def test_a_tracker_that_is_not_installed_is_refused_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ConfigError, match="pip install trackio"):
        require_trackers(["trackio"])
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: object() if name == "mlflow" else None)
    with pytest.raises(ConfigError, match=r"no sqlalchemy.*pip install sqlalchemy alembic"):
        require_trackers(["mlflow"])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    require_trackers(["mlflow"])
