"""A picture that is destroyed after the data were prepared: its prompt is skipped, told once and counted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from data_prep.write import split_writer
from tests.reliability.kill_test import SETTINGS, differences
from tests.support.tiny_models import picture
from tests.support.worlds import tiny_circle
from uec_vlm.batches import draw_places
from uec_vlm.cli import app
from uec_vlm.config import config_folder
from uec_vlm.errors import DataError
from uec_vlm.geosynth import ProblemSet
from uec_vlm.records import Sample
from uec_vlm.runlog import read_run
from uec_vlm.trainer.build import first_state
from uec_vlm.trainer.loop import train

TinyModel = Callable[[str], Path]
QUICKSTART = str(config_folder() / "quickstart.yaml")
BROKEN = 3


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the rows lie that a run reads from: nobody else's are altered."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def prepared(file: Path, samples: Sequence[Sample]) -> Path:
    with split_writer(file) as writer:
        for sample in samples:
            writer.write(sample)
    return file


def destroyed(data: bytes) -> bytes:
    """A picture of the same length whose second half is lost."""
    return data[: len(data) // 2] + bytes(len(data) - len(data) // 2)


def destroy_rows(file: Path, places: Sequence[int]) -> None:
    table = pq.read_table(file)
    rows = table.to_pylist()
    for place in places:
        rows[place]["images"] = [destroyed(data) for data in rows[place]["images"]]
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), file)


def _train(folder: Path, file: Path, steps: int, *more: str) -> Any:
    source = json.dumps({"kind": "parquet", "path": str(file)})
    own = [f"data.train={source}", "data.check=false", f"run.steps={steps}", "log.rollouts_every=1"]
    asked = [setting for setting in SETTINGS if not setting.startswith("data.train")]
    command = ["train", QUICKSTART, f"run.dir={folder}", *asked, *own, "log.rollouts_per_step=999", *more]
    return CliRunner().invoke(app, command, catch_exceptions=False)


def test_a_picture_destroyed_before_it_is_read_is_skipped_counted_and_told_once(tmp_path: Path) -> None:
    problems = ProblemSet(split="train", count=10, seed=0, families=("linear_pair", "vertical_angles"))
    file = prepared(tmp_path / "train.parquet", [problems[place] for place in range(10)])
    destroy_rows(file, [BROKEN])
    result = _train(tmp_path / "run", file, 6)
    assert result.exit_code == 0, result.output
    assert result.output.replace("\n", "").count(f"train.parquet row {BROKEN}: sample ") == 1
    assert "picture 1: the picture cannot be decoded" in result.output
    run = read_run(tmp_path / "run")
    skipped = sum(row.get("data/skipped", 0) for row in run.metrics())
    assert skipped >= 2, "it is drawn once in each of the two epochs, and told in the first only"
    drawn = json.loads((tmp_path / "run/checkpoints/step_6/state/state.json").read_text())["drawn"]
    assert drawn == 6 * 4 + skipped
    regular = [row for step in range(1, 7) for row in run.rollouts(step) if row["source"] == "regular"]
    assert Counter(row["step"] for row in regular) == dict.fromkeys(range(1, 7), 4 * 4), "all prompts of every step"
    assert {row["id"] for row in regular} == {problems[place].id for place in range(10) if place != BROKEN}
    # A run that goes on from its middle draws the same ones.
    assert _train(tmp_path / "halves", file, 3).exit_code == 0
    assert _train(tmp_path / "halves", file, 6, "--resume", "auto").exit_code == 0
    found = differences(tmp_path / "run", tmp_path / "halves", checkpoints="step_6")
    assert [name for name in found if name != "evaluations.jsonl"] == [], "but the test split at the end of the half"


def test_a_picture_destroyed_in_the_middle_of_an_epoch_is_skipped(tiny_model: TinyModel, tmp_path: Path) -> None:
    """After the check of all rows, in the very bytes that the run has mapped into its memory."""
    samples = [Sample(f"p{n}", "own", "<image>What is x?", "1", (picture(seed=n),)) for n in range(12)]
    file = prepared(tmp_path / "train.parquet", samples)
    source = {"kind": "parquet", "path": str(file)}
    circle = tiny_circle(tiny_model("qwen2_5_vl"), "grpo", data={"train": source, "prefetch": False})
    assert len(circle.samples) == 12, "all rows were good when they were checked"
    turns = train(circle, first_state(), last_step=2)
    assert "data/skipped" not in next(turns).report.row()
    places = draw_places(circle.samples, seed=circle.settings.seed, start=0, count=9)
    _destroy_mapped(tmp_path / "cache", samples[places[5]].images[0])
    turn = next(turns)
    assert turn.report.row()["data/skipped"] == 1
    assert [note.split(": the picture")[0] for note in turn.report.notes] == [
        f"{file} row {places[5]}: sample 'p{places[5]}': picture 1"
    ]
    wanted = [samples[place].id for place in (*places[4:5], *places[6:9])]
    assert [chosen.group.prompt.sample.id for chosen in turn.chosen] == wanted, "the next one takes its place"
    assert turn.state.drawn == 9


def _destroy_mapped(cache: Path, data: bytes) -> None:
    found = [file for file in cache.rglob("*.arrow") if data in file.read_bytes()]
    assert len(found) == 1
    place = found[0].read_bytes().index(data)
    with found[0].open("r+b") as mapped:
        mapped.seek(place)
        mapped.write(destroyed(data))


def test_data_that_are_gone_end_the_run_by_name(tiny_model: TinyModel, tmp_path: Path) -> None:
    samples = [Sample(f"p{n}", "own", "<image>What is x?", "1", (picture(seed=n),)) for n in range(6)]
    file = prepared(tmp_path / "train.parquet", samples)
    destroy_rows(file, range(6))
    source = {"kind": "parquet", "path": str(file)}
    circle = tiny_circle(tiny_model("qwen2_5_vl"), "grpo", data={"train": source, "check": False})
    with pytest.raises(DataError, match=r"17 prompts of one step could not be made.*train\.parquet row \d: sample 'p"):
        next(train(circle, first_state(), last_step=1))
