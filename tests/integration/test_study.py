"""A study from its file to its page: tuned, run, skipped when done, refused when changed, the same when repeated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from uec_vlm.config import config_folder
from uec_vlm.errors import ConfigError, RunError
from uec_vlm.study.page import renew_page
from uec_vlm.study.plan import load_study
from uec_vlm.study.runner import keep_unfinished, repeat_cell, run_study

TINY = {
    "run.steps": 1, "run.trackers": [], "log.rollouts_every": 0, "rollout.prompts_per_step": 2,
    "rollout.completions_per_prompt": 2, "rollout.max_new_tokens": 8, "update.sequences_per_optimizer_step": 4,
    "evaluate.validation_problems": 3, "evaluate.validation_samples": 2, "evaluate.test_problems": 2,
    "evaluate.test_samples": 2, "evaluate.test_checkpoint": "last",
}  # fmt: skip


def _study(folder: Path) -> Path:
    shared = {**TINY, "evaluate.start_cache": str(folder / "runs" / "start")}
    tree = {
        "name": "tiny", "base": str(config_folder() / "quickstart.yaml"), "results": str(folder / "results"),
        "runs": str(folder / "runs"), "reference": "grpo", "main": ["grpo", "uec"], "shared": shared,
        "tuning": {"learning_rates": [1e-4, 1e-5], "steps": 1, "seed": 9,
                   "set": {"data.validation.seed": 12, "data.test": None}},
        "arms": {
            "grpo": {"algorithm": "grpo", "seeds": 1, "set": {"objective.exploration": {"name": "none"}}},
            "uec": {"algorithm": "uec", "seeds": 1, "rate_of": "grpo"},
        },
    }  # fmt: skip
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(tree))
    return file


@pytest.mark.timeout(1200)  # six training processes, each a few seconds on an idle machine
def test_a_study_runs_to_its_page(tmp_path: Path) -> None:
    file, console = _study(tmp_path), Console(record=True, width=200)
    run_study(file, jobs=2, only=(), console=console)
    results = tmp_path / "results"
    cells = sorted(path.stem for path in (results / "cells").glob("*.json"))
    assert cells == [
        "main-grpo-seed0", "main-uec-seed0", "tuning-grpo-lr0.0001-seed9", "tuning-grpo-lr1e-05-seed9",
    ]  # fmt: skip
    assert all((results / "cells" / f"{name}.json").stat().st_size < 8_000 for name in cells)
    tuning = json.loads((results / "tuning.json").read_text())
    assert set(tuning["accuracy"]["grpo"]) == {"0.0001", "1e-05"}
    uec = json.loads((results / "cells" / "main-uec-seed0.json").read_text())
    assert uec["learning_rate"] == tuning["chosen"]["grpo"]
    assert {row["split"] for row in uec["evaluations"]} == {"validation", "test"}

    # Both arms start from the same answers, measured once for each split; tuning has other problems and no test.
    assert len(list((tmp_path / "runs" / "start").glob("*.json"))) == 3
    grpo = json.loads((results / "cells" / "main-grpo-seed0.json").read_text())
    assert [row for row in grpo["evaluations"] if row["step"] == 0] == [
        row for row in uec["evaluations"] if row["step"] == 0
    ]

    before = (results / "cells" / "main-uec-seed0.json").read_bytes()
    run_study(file, jobs=2, only=(), console=console)
    assert "main: 2 of 2 cells are done" in console.export_text()
    assert (results / "cells" / "main-uec-seed0.json").read_bytes() == before

    repeat_cell(file, "main-uec-seed0", console=console)
    assert "the same numbers, bit for bit" in console.export_text()

    page = tmp_path / "results.md"
    with pytest.raises(RunError, match="has no place for the study"):
        renew_page(load_study(file), page)
    page.write_text("Before.\n<!-- study tiny: begin -->\nold\n<!-- study tiny: end -->\nAfter.\n")
    renew_page(load_study(file), page)
    text = page.read_text()
    assert text.startswith("Before.")
    assert text.endswith("After.\n")
    assert "old" not in text
    assert "| `uec` | 1 |" in text
    assert (tmp_path / "img" / "study_tiny.png").stat().st_size > 10_000

    tree = yaml.safe_load(file.read_text())
    tree["shared"]["rollout.max_new_tokens"] = 9
    file.write_text(yaml.safe_dump(tree))
    with pytest.raises(ConfigError, match="was made with another configuration"):
        run_study(file, jobs=1, only=(), console=console)


@pytest.mark.timeout(600)
def test_a_cell_that_fails_is_named_with_its_log_and_the_others_run(tmp_path: Path) -> None:
    file = _study(tmp_path)
    tree = yaml.safe_load(file.read_text())
    del tree["tuning"]
    tree["arms"]["uec"] = {"algorithm": "uec", "seeds": 1, "set": {"model.path": str(tmp_path / "nothing")}}
    file.write_text(yaml.safe_dump(tree))
    console = Console(record=True, width=300)
    with pytest.raises(RunError, match="1 cells failed: main-uec-seed0"):
        run_study(file, jobs=2, only=(), console=console)
    assert "there is no such folder" in (tmp_path / "runs" / "main-uec-seed0.log").read_text()
    done = tmp_path / "results" / "cells" / "main-grpo-seed0.json"
    summary = json.loads(done.read_text())

    # A run that is there and not summed up is kept apart; one that never began is not.
    keep_unfinished(file, console=console)
    assert not (tmp_path / "results" / "interrupted").exists()
    done.unlink()
    keep_unfinished(file, console=console)
    (kept,) = (tmp_path / "results" / "interrupted").iterdir()
    found = json.loads(kept.read_text())
    assert (kept.name, found["kind"]) == (done.name, "interrupted")
    assert [found[key] for key in ("curve", "evaluations", "config")] == [
        summary[key] for key in ("curve", "evaluations", "config")
    ]
    problems = tmp_path / "results" / "problems-main.json"
    known = json.loads(problems.read_text())
    problems.write_text(json.dumps({"test": known["test"]}))
    keep_unfinished(file, console=console)
    assert json.loads(problems.read_text()) == known
    problems.write_text(json.dumps({"test": known["test"][::-1]}))
    with pytest.raises(RunError, match="evaluated on other problems"):
        keep_unfinished(file, console=console)
