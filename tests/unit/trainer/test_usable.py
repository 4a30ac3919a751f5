"""Rows without a gold, and rows whose id is taken, are refused by name before training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.worlds import tiny_config
from tests.unit.preflight.world import row
from uec_vlm.errors import DataError
from uec_vlm.trainer.build import build_circle, build_evaluation
from uec_vlm.trainer.circle import Circle

TinyModel = Callable[[str], Path]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def file(path: Path, *rows: dict[str, Any]) -> dict[str, Any]:
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return {"kind": "parquet", "path": str(path)}


def built(model: Path, **data: Any) -> tuple[Circle, list[str]]:
    circle, splits = build_circle(tiny_config(model, "grpo", data=data))
    return circle, splits.refused


FAULTY = (row("a"), row("b", answer=""), row("c"), row("a", problem="<image>Other."), row("d", answer=" \n"))


def test_rows_without_a_gold_or_with_a_taken_id_are_not_trained_on(tiny_model: TinyModel, tmp_path: Path) -> None:
    source = file(tmp_path / "train.parquet", *FAULTY)
    circle, refused = built(tiny_model("qwen2_5_vl"), train=source)
    assert [sample.id for sample in circle.samples] == ["a", "c"]
    assert refused == [
        f"train: {tmp_path}/train.parquet row 1 (id 'b'): its gold is empty, so no answer to it is right.",
        f"train: {tmp_path}/train.parquet row 3: the id 'a' is that of row 0 too.",
        f"train: {tmp_path}/train.parquet row 4 (id 'd'): its gold is empty, so no answer to it is right.",
    ]
    circle, refused = built(tiny_model("qwen2_5_vl"), train=source, check=False)
    assert (len(circle.samples), refused) == (5, [])


def test_the_same_id_in_two_parts_of_a_mixture_is_no_fault(tiny_model: TinyModel, tmp_path: Path) -> None:
    parts = [{"weight": 1, "source": file(tmp_path / f"{name}.parquet", row("a"))} for name in ("one", "two")]
    circle, refused = built(tiny_model("qwen2_5_vl"), train={"kind": "mixture", "parts": parts})
    assert (len(circle.samples), refused) == (2, [])


@pytest.mark.parametrize("split", ["validation", "test"])
def test_such_rows_in_a_held_out_split_are_an_error(tiny_model: TinyModel, tmp_path: Path, split: str) -> None:
    data = {split: file(tmp_path / "held.parquet", *FAULTY)}
    told = rf"data\.{split}: 3 of 5 rows cannot be measured on\. The first: .*held\.parquet row 1 \(id 'b'\): its gold"
    with pytest.raises(DataError, match=told):
        built(tiny_model("qwen2_5_vl"), **data)
    config = tiny_config(tiny_model("qwen2_5_vl"), "grpo", data=data)
    with pytest.raises(DataError, match=told):
        build_evaluation(config, split)
