"""What every data set of `data_prep.DATASETS` must keep; its raw records stand in `tests/golden/<name>/source`."""

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest

from data_prep.grade import grade_check
from data_prep.images import check_image
from data_prep.prepare import prepare
from data_prep.registry import DATASETS
from data_prep.sources import open_source
from data_prep.write import SCHEMA, as_row
from uec_vlm.batches.samples import load_samples
from uec_vlm.verifier import normalise_answer

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


@pytest.fixture(scope="module", params=sorted(DATASETS))
def prepared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, dict[str, Any]]:
    """Name, output folder and manifest of a data set prepared, with the grade check, from its golden source."""
    name = request.param
    source = GOLDEN / name / "source"
    assert source.is_dir(), f"data set '{name}' has no golden records in {source}"
    out = tmp_path_factory.mktemp(name)
    spec = DATASETS[name]
    return name, out, prepare(name, spec, open_source(name, spec, str(source)), out, grade_check=grade_check)


def rows(out: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(out.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_the_golden_records_become_the_expected_rows(prepared: tuple[str, Path, dict[str, Any]]) -> None:
    name, out, _ = prepared
    made = [{**row, "images": len(row["images"]), "metadata": json.loads(row["metadata"])} for row in rows(out)]
    expected = [json.loads(line) for line in (GOLDEN / name / "expected.jsonl").read_text().splitlines()]
    for row in expected:  # which canonical spelling it is, is the verifier's affair; its tests fix it
        row["answer"], row["choices"] = normalise_answer(row["answer"]), [*map(normalise_answer, row["choices"])]
    assert made == expected


def test_no_golden_record_is_refused(prepared: tuple[str, Path, dict[str, Any]]) -> None:
    assert prepared[2]["refused"] == {}


def test_the_schema_is_the_projects(prepared: tuple[str, Path, dict[str, Any]]) -> None:
    for path in prepared[1].glob("*.parquet"):
        assert pq.read_schema(path).remove_metadata() == SCHEMA


def test_ids_are_unique_and_pictures_open(prepared: tuple[str, Path, dict[str, Any]]) -> None:
    made = rows(prepared[1])
    assert len({row["id"] for row in made}) == len(made) >= 3
    for row in made:
        sizes = [[info.width, info.height] for info in map(check_image, row["images"])]
        assert json.loads(row["metadata"])["image_sizes"] == sizes


def test_placeholders_are_as_many_as_pictures(prepared: tuple[str, Path, dict[str, Any]]) -> None:
    assert all(row["problem"].count("<image>") == len(row["images"]) for row in rows(prepared[1]))


def test_the_answer_is_one_of_the_choices(prepared: tuple[str, Path, dict[str, Any]]) -> None:
    for row in rows(prepared[1]):
        assert len(set(row["choices"])) == len(row["choices"])
        if row["choices"]:
            assert row["choices"]["ABCDEFGHIJ".index(json.loads(row["metadata"])["letter"])] == row["answer"]


def test_splits_share_no_picture(prepared: tuple[str, Path, dict[str, Any]]) -> None:
    assert all(pair["rows_sharing_image"] == 0 for pair in prepared[2]["leakage"]["across"].values())


def test_the_datasets_library_loads_it(prepared: tuple[str, Path, dict[str, Any]], tmp_path: Path) -> None:
    parts = {path.stem: str(path) for path in prepared[1].glob("*.parquet")}
    loaded = datasets.load_dataset("parquet", data_files=parts, cache_dir=str(tmp_path))
    assert {split: len(loaded[split]) for split in parts} == {
        split: count["rows_written"] for split, count in prepared[2]["splits"].items()
    }


def test_the_next_station_reads_the_same_samples(prepared: tuple[str, Path, dict[str, Any]]) -> None:
    for path in prepared[1].glob("*.parquet"):
        read = [as_row(sample) for sample in load_samples(path)]
        assert read == pq.read_table(path).to_pylist()


def test_licence_citation_and_purpose_are_stated(prepared: tuple[str, Path, dict[str, Any]]) -> None:
    spec = DATASETS[prepared[0]]
    assert spec.licence and spec.citation and spec.purpose and spec.layouts
