"""The page of a study from a results folder: which runs it shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.unit.study.test_tables import GRPO, IDS, UEC
from uec_vlm.study.page import study_text
from uec_vlm.study.plan import Study


def _study(results: Path, **settings: Any) -> Study:
    arms = {name: {"algorithm": name, "seeds": 2} for name in ("grpo", "uec")}
    return Study(
        name="s",
        base="b",
        results=str(results),
        runs="r",
        reference="grpo",
        main=("grpo", "uec"),
        arms=arms,
        **settings,
    )


def test_an_arm_besides_the_reference_has_a_table_of_differences_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "cells").mkdir()
    (tmp_path / "problems-main.json").write_text(json.dumps({"validation": IDS, "test": IDS}))
    for run in (GRPO[0], UEC[0]):
        (tmp_path / "cells" / f"{run['arm']}.json").write_text(json.dumps({**run, "name": run["arm"]}))
    text = study_text(_study(tmp_path, also_against=("uec",)), images=tmp_path, link="img")
    ours, theirs = text.index("| arm less `grpo` | equal steps"), text.index("| arm less `uec` | equal steps")
    assert ours < theirs
    assert "| `grpo` | -0.375" in text[theirs:]
    assert "| arm less `uec`" not in study_text(_study(tmp_path), images=tmp_path, link="img")


def test_a_run_that_was_cut_short_is_not_shown_once_it_is_finished(tmp_path: Path) -> None:
    results = tmp_path / "results"
    (results / "interrupted").mkdir(parents=True)
    (results / "cells").mkdir()
    (results / "problems-main.json").write_text(json.dumps({"validation": IDS, "test": IDS}))
    for folder, runs in {"cells": [GRPO[0], {**UEC[0], "device": "H100"}], "interrupted": [GRPO[0], GRPO[1]]}.items():
        for run in runs:
            name = f"main-{run['arm']}-seed{run['seed']}"
            (results / folder / f"{name}.json").write_text(json.dumps({**run, "name": name}))
    text = study_text(_study(results), images=tmp_path, link="img")
    assert text.startswith("2 cells are finished, 1 on CPU, 1 on H100 ")
    cut_short = text.split("### Runs that were cut short")[1]
    assert "| `grpo` | 1 | all |" in cut_short and "`uec`" not in cut_short
