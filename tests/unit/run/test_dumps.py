"""Rollout dumps: the documented columns, the budget, the sample, and readers that need one line."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from uec_vlm.dumps import COLUMNS, dump_files, markdown_table, read_dumps, sample_rows, write_dump

ROOT = Path(__file__).resolve().parents[3]


def _row(number: int, **above: Any) -> dict[str, Any]:
    row = {
        "step": 1,
        "id": f"p{number}",
        "source": "regular",
        "correct": False,
        "images": [b"picture"],
        "place": number,
    }
    return row | {"text": f"answer {number}", "entropies": [0.5] * 20, "kept": True} | above


def test_every_file_has_the_documented_columns_with_their_types(tmp_path: Path) -> None:
    write_dump(tmp_path, 1, [_row(1)])
    write_dump(tmp_path, 2, [_row(2, entropies=[], images=[], step=2)])
    for file in dump_files(tmp_path):
        schema = pq.read_schema(file)
        assert [(field.name, str(field.type)) for field in schema] == [(c.name, c.type) for c in COLUMNS]
        assert schema.field("why").metadata[b"meaning"].startswith(b"kept, replayed")


def test_the_documented_table_is_the_one_of_the_code() -> None:
    assert markdown_table() in (ROOT / "docs" / "results_of_a_run.md").read_text(encoding="utf-8")


def test_a_folder_of_dumps_reads_in_one_line(tmp_path: Path) -> None:
    import pandas as pd
    from datasets import load_dataset

    for step in (1, 2):
        # A step without any scored rollout must not give a column another type.
        write_dump(
            tmp_path / "rollouts", step, [_row(n, step=step, entropies=[0.5] if step > 1 else []) for n in (1, 2)]
        )
    files = str(tmp_path / "rollouts" / "*.parquet")
    table = load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))["train"]
    assert table["step"][:] == [1, 1, 2, 2]
    frame = pd.concat(map(pd.read_parquet, sorted((tmp_path / "rollouts").glob("*.parquet"))))
    assert list(frame["entropies"].map(len)) == [0, 0, 1, 1]
    assert read_dumps(tmp_path / "rollouts", steps=[2], columns=["id"]) == [{"id": "p1"}, {"id": "p2"}]


def test_a_picture_lies_there_once_under_its_hash(tmp_path: Path) -> None:
    write_dump(tmp_path, 1, [_row(1), _row(2), _row(3, images=[b"picture", b"other"])])
    assert len(list((tmp_path / "images").iterdir())) == 2
    rows = read_dumps(tmp_path)
    assert [(tmp_path / name).read_bytes() for name in rows[2]["images"]] == [b"picture", b"other"]


def test_the_budget_holds_for_all_dumps_together_and_every_dump_has_its_share(tmp_path: Path) -> None:
    rows = [_row(n, images=[bytes([n]) * 2_000]) for n in range(50)]
    budget = 120_000
    written = [write_dump(tmp_path, step, rows, budget=budget, dumps_left=3 - step) for step in range(4)]
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) <= budget
    assert all(count >= 5 for count in written)
    assert max(written) < 50 or written[0] < 50
    assert write_dump(tmp_path, 9, rows, budget=1) == 0
    assert len(dump_files(tmp_path)) == 4
    assert write_dump(tmp_path, 10, rows) == 50


def test_a_sample_keeps_every_kind_in_proportion_and_its_order() -> None:
    rows = [_row(n, correct=n % 10 == 0) for n in range(100)] + [_row(200, source="extra", correct=True)]
    chosen = sample_rows(rows, 21)
    assert len(chosen) == 21
    assert chosen == sample_rows(rows, 21)
    assert [row["place"] for row in chosen] == sorted(row["place"] for row in chosen)
    assert Counter((row["source"], row["correct"]) for row in chosen) == {
        ("regular", False): 18,
        ("regular", True): 2,
        ("extra", True): 1,
    }
    assert sample_rows(rows, 500) == rows


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_tiny_sample_is_never_too_large(count: int) -> None:
    rows = [_row(n, source=source) for n, source in enumerate(["regular", "extra", "replay"] * 4)]
    assert len(sample_rows(rows, count)) == count
