"""What every data set of `data_prep.DATASETS` must keep; its raw records stand in `tests/golden/<name>/source`."""

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest
from transformers import AutoProcessor

from data_prep.grade import grade_check
from data_prep.images import check_image
from data_prep.prepare import prepare
from data_prep.registry import DATASETS
from data_prep.sources import open_source
from data_prep.write import SCHEMA, as_row
from uec_vlm.batches import PromptSettings, load_samples, render
from uec_vlm.geosynth.asset import starter_folder
from uec_vlm.verifier import judge, normalise_answer

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


def test_the_prompt_has_the_question_and_one_picture_place_per_picture(
    prepared: tuple[str, Path, dict[str, Any]],
) -> None:
    """Every piece of the problem's text stands in the prompt, every picture a grid."""
    processor = AutoProcessor.from_pretrained(starter_folder(), use_fast=True)
    for path in prepared[1].glob("*.parquet"):
        for sample in load_samples(path):
            prompt = render(sample, processor, PromptSettings(max_prompt_tokens=4096))
            for piece in sample.problem.split("<image>"):
                assert piece in prompt.text
            assert prompt.text.count("<|image_pad|>") == len(sample.images) == len(prompt.image_grid_thw)


def test_the_gold_grades_itself_right(prepared: tuple[str, Path, dict[str, Any]]) -> None:
    for row in rows(prepared[1]):
        for known in (row["choices"] or None, None):
            assert judge(f"\\boxed{{{row['answer']}}}", row["answer"], known, question=row["problem"]).correct, row[
                "id"
            ]


def test_the_manifest_states_licence_citation_and_purpose(prepared: tuple[str, Path, dict[str, Any]]) -> None:
    name, out, _ = prepared
    spec, written = DATASETS[name], json.loads((out / "manifest.json").read_text())
    assert spec.licence and spec.citation and spec.about and spec.layouts and spec.rows and spec.schema
    assert (written["licence"], written["citation"], written["purpose"]) == (spec.licence, spec.citation, spec.purpose)
    assert spec.purpose in ("training", "evaluation only")
    if spec.purpose == "evaluation only":
        assert not (out / "train.parquet").exists()
