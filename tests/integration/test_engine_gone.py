"""An engine that is gone for good: the run saves its last step, says so, and goes on later as if nothing had been."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.support.worlds import tiny_config
from uec_vlm.errors import EngineError
from uec_vlm.rollouts import ENGINES
from uec_vlm.rollouts.hf import HFEngine
from uec_vlm.trainer.run import run_training


class Leaves(HFEngine):
    """Samples like the engine in memory until the weights have seen some steps of training, then never again."""

    def generate(self, *arguments: Any, **settings: Any) -> Any:
        if settings.get("source") != "extra" and self.policy_version >= 4:
            raise EngineError("no vLLM server answers")
        return super().generate(*arguments, **settings)


def _metrics(run: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [
        {k: v for k, v in row.items() if not k.startswith(("time/", "memory/", "throughput/", "rollout/tokens_per"))}
        for row in rows
    ]


def test_the_last_step_is_saved_and_the_run_goes_on_exactly(
    tiny_model: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(name: str, **arguments: Any) -> str:
        keep = {"retention": {"regular": {"truncated_answers": "keep"}}}
        run = {"dir": str(tmp_path / name), "steps": 4}
        config = tiny_config(tiny_model("qwen2_5_vl"), "grpo", run=run, objective=keep)
        shown = io.StringIO()
        run_training(config, console=Console(file=shown, width=200), **{"resume": None, **arguments})
        return shown.getvalue()

    train("whole")
    with monkeypatch.context() as changed, pytest.raises(EngineError, match="no vLLM server answers"):
        changed.setitem(ENGINES, "hf", lambda: Leaves)
        train("torn")
    saved = sorted(path.name for path in (tmp_path / "torn" / "checkpoints").glob("step_*"))
    assert saved == [f"step_{len(_metrics(tmp_path / 'torn')) - 1}"] and saved != ["step_4"]
    assert "resumed at step" in train("torn", resume="newest")
    assert _metrics(tmp_path / "torn") == _metrics(tmp_path / "whole")
