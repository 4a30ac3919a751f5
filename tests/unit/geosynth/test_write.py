"""The command writes what data_prep writes, the same bytes every time."""

import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from data_prep.write import SCHEMA as DATA_PREP_SCHEMA
from uec_vlm.geosynth import ProblemSet
from uec_vlm.geosynth.__main__ import main
from uec_vlm.geosynth.sheet import contact_sheet
from uec_vlm.geosynth.write import SCHEMA

SMALL = ["--families", "chord,linear_pair", "--levels", "1,3", "--seed", "4"]


def test_columns_are_those_of_data_prep() -> None:
    assert SCHEMA.equals(DATA_PREP_SCHEMA)


def test_the_command_writes_three_splits_and_a_manifest(tmp_path: Path) -> None:
    assert main(["--out", str(tmp_path / "a"), "--count", "30", "--held-out", "4", *SMALL]) == 0
    assert main(["--out", str(tmp_path / "b"), "--count", "30", "--held-out", "4", *SMALL]) == 0
    for name, rows in (("train", 30), ("validation", 4), ("test", 4)):
        path = tmp_path / "a" / f"{name}.parquet"
        assert path.read_bytes() == (tmp_path / "b" / f"{name}.parquet").read_bytes()
        table = pq.read_table(path)
        assert table.num_rows == rows
        row = table.to_pylist()[0]
        first = ProblemSet(
            split=name, count=rows, seed=4, families=["chord", "linear_pair"], levels=(1, 3)  # type: ignore[arg-type]
        )[0]  # fmt: skip
        assert (row["id"], row["problem"], row["answer"]) == (first.id, first.problem, first.answer)
        assert json.loads(row["metadata"]) == first.metadata and tuple(row["choices"]) == first.choices
        assert Image.open(io.BytesIO(row["images"][0])).size == (112, 112)
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert manifest["families"] == ["chord", "linear_pair"] and manifest["files"]["train.parquet"]["rows"] == 30


def test_the_command_refuses_unknown_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path), "--count", "2", "--families", "cord"]) == 2
    assert "cord" in capsys.readouterr().err


def test_a_sheet_holds_every_problem() -> None:
    found = list(ProblemSet(split="train", count=5, seed=0).problems())
    sheet = contact_sheet(found, columns=3, zoom=2, boxes=True)
    assert sheet.width == 3 * (224 + 8) and sheet.height == 2 * (224 + 74)
