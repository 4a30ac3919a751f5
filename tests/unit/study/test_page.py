"""The page of a study from a results folder: which runs it shows."""

from __future__ import annotations

import json
from pathlib import Path

from tests.unit.study.test_tables import GRPO, IDS, UEC
from uec_vlm.study.page import study_text
from uec_vlm.study.plan import Study


def test_a_run_that_was_cut_short_is_not_shown_once_it_is_finished(tmp_path: Path) -> None:
    results = tmp_path / "results"
    (results / "interrupted").mkdir(parents=True)
    (results / "cells").mkdir()
    (results / "problems-main.json").write_text(json.dumps({"validation": IDS, "test": IDS}))
    for folder, runs in {"cells": [GRPO[0], {**UEC[0], "device": "H100"}], "interrupted": [GRPO[0], GRPO[1]]}.items():
        for run in runs:
            name = f"main-{run['arm']}-seed{run['seed']}"
            (results / folder / f"{name}.json").write_text(json.dumps({**run, "name": name}))
    arms = {name: {"algorithm": name, "seeds": 2} for name in ("grpo", "uec")}
    study = Study(name="s", base="b", results=str(results), runs="r", reference="grpo", main=("grpo", "uec"), arms=arms)
    text = study_text(study, images=tmp_path, link="img")
    assert text.startswith("2 cells are finished, 1 on CPU, 1 on H100 ")
    cut_short = text.split("### Runs that were cut short")[1]
    assert "| `grpo` | 1 | all |" in cut_short and "`uec`" not in cut_short
