"""The FormalGeo layout: rows in one file, exact answers, no choices."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.unit.data_prep.world import diagram, reasons, run
from uec_vlm.errors import DataError


def line(number: int, **changes: Any) -> dict[str, Any]:
    fields = {
        "id": number,
        "split": "train",
        "problem_text_en": f"Find side {number}.",
        "problem_answer": f"{number}*sqrt(3)/2",
        "goal_cdl": "Value(Sub(LengthOfLine(AB),LengthOfLine(CD)))",
        "problem_level": 2,
        "image": f"images/{number}.png",
    }
    return fields | changes


def make(root: Path, rows: list[dict[str, Any] | str]) -> Path:
    (root / "images").mkdir(parents=True)
    for number in range(1, 12):
        (root / "images" / f"{number}.png").write_bytes(diagram(number))
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    (root / "rows.jsonl").write_text("\n".join(lines) + "\n")
    return root


def test_good_rows(tmp_path: Path) -> None:
    manifest = run(
        make(tmp_path / "in", [line(5), line(3, split="val"), line(1)]), tmp_path / "out", "geometry3k_formalgeo"
    )
    assert manifest["refused"] == {}
    first, second = pq.read_table(tmp_path / "out" / "train.parquet").to_pylist()
    assert (first["id"], second["id"]) == ("geometry3k_formalgeo-train-5", "geometry3k_formalgeo-train-1")
    assert first["problem"] == "<image>Find side 5."
    assert first["images"] == [diagram(5)]
    assert first["answer"] == "\\frac{5\\sqrt{3}}{2}"
    assert first["choices"] == []
    assert first["answer_value"] == pytest.approx(4.330127018922193, rel=0, abs=1e-12)
    metadata = json.loads(first["metadata"])
    assert metadata["answer_original"] == "5*sqrt(3)/2"
    assert (metadata["goal"], metadata["level"], metadata["problem_id"]) == (["LengthOfLine"], 2, "5")
    assert manifest["splits"]["validation"]["rows_written"] == 1


def test_bad_rows_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(diagram(1))
    rows = [
        line(1),
        line(2, problem_answer="__import__('os').system('touch x')"),
        line(3, problem_answer="1/0"),
        line(4, problem_answer=7),
        line(5, image="../secret.png"),
        line(6, image=str(tmp_path / "secret.png")),
        line(7, image="images/none.png"),
        line(8, problem_text_en=" \x00"),
        line(9, image=None),
        line(1, image="images/11.png"),
        line(10, split="dream"),
        "{broken",
        line(True),
        line("a/b", image="images/10.png", problem_answer="1"),
    ]
    manifest = run(make(tmp_path / "in", rows), tmp_path / "out", "geometry3k_formalgeo")
    assert reasons(manifest["refused"]) == {
        "answer_not_understood": ["train/2", "train/3"],
        "bad_id": ["train/a/b"],
        "broken_record": ["line 12"],
        "duplicate_id": ["train/1"],
        "empty_text": ["train/8"],
        "image_outside_source": ["train/5", "train/6"],
        "missing_field": ["line 11", "train/4", "line 13"],
        "missing_image": ["train/7", "train/9"],
    }
    assert manifest["splits"]["train"] == {"rows_read": 12, "rows_written": 1, "rows_refused": 11}


def test_folder_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no layout of geometry3k_formalgeo.*rows\.jsonl"):
        run(tmp_path, tmp_path / "out", "geometry3k_formalgeo")
