"""The real problems in `../shared/data`, where that folder stands beside the project."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from data_prep.arithmetic import evaluate, parse
from data_prep.grade import grade_check
from data_prep.prepare import prepare
from data_prep.registry import DATASETS
from data_prep.sources import open_source
from data_prep.tables import read_lines
from tests.unit.data_prep.world import SHARED, diagram, reasons
from uec_vlm.errors import DataError
from uec_vlm.verifier import judge

pytestmark = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the real problems (../shared/data) are not beside the project"
)
FOLDERS = {
    "geometry3k": "geometry3k_raw",
    "geometry3k_formalgeo": "geometry3k_answers_only",
    "geoqa_formalgeo": "other/geoqa_cn_sample",
    "mathvision": "other/mathvision_sample",
    "mathvista": "other/mathvista_testmini_geometry_json",
}


@pytest.fixture(scope="module", params=sorted(FOLDERS))
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, dict[str, Any]]:
    """Name, folder and manifest of the real problems, prepared with the grade check."""
    name, out = request.param, tmp_path_factory.mktemp(request.param)
    spec = DATASETS[name]
    folder = SHARED / FOLDERS[name]
    if name == "mathvista":  # the sample has no pictures; made-up ones stand in for them
        folder = with_pictures(folder, tmp_path_factory.mktemp("mathvista_source"))
    source = open_source(name, spec, str(folder))
    return name, out, prepare(name, spec, source, out, grade_check=grade_check)


def with_pictures(folder: Path, into: Path) -> Path:
    """The sample's rows with a picture for each that names one."""
    text = (folder / "testmini.json").read_text(encoding="utf-8")
    (into / "testmini.json").write_text(text, encoding="utf-8")
    (into / "images").mkdir()
    for row in json.loads(text).values():
        (into / row["image"]).write_bytes(diagram(int(row["pid"])))
    return into


def rows(out: Path) -> list[dict[str, Any]]:
    columns = ["id", "answer", "choices", "answer_value", "metadata"]
    return [row for path in sorted(out.glob("*.parquet")) for row in pq.read_table(path, columns=columns).to_pylist()]


def test_counts(real: tuple[str, Path, dict[str, Any]]) -> None:
    name, _, manifest = real
    written = {split: count["rows_written"] for split, count in manifest["splits"].items()}
    refused = {reason: len(places) for reason, places in reasons(manifest["refused"]).items()}
    assert (written, refused) == {
        "geometry3k": ({"train": 10, "test": 189}, {}),
        "geometry3k_formalgeo": ({"train": 600, "validation": 100}, {}),
        "geoqa_formalgeo": ({"train": 80}, {}),
        # options such as 5-4-3-2-1 and 5-2-3-4-1, which are equal as numbers, are different answers
        "mathvision": ({"test": 40}, {}),
        "mathvista": ({"test": 60}, {}),
    }[name]


def test_rows_whose_picture_is_missing_are_all_named(tmp_path: Path) -> None:
    source = open_source("mathvista", DATASETS["mathvista"], str(SHARED / FOLDERS["mathvista"]))
    with pytest.raises(DataError, match=r"no row was accepted.*'missing_image': 60"):
        prepare("mathvista", DATASETS["mathvista"], source, tmp_path, grade_check=None)


def test_every_gold_is_graded_right_and_every_wrong_choice_wrong(real: tuple[str, Path, dict[str, Any]]) -> None:
    """Asked of `judge` itself, with and without the choices beside the gold."""
    wrong_choices = 0
    for row in rows(real[1]):
        for choices in ([], row["choices"]):
            assert judge(f"\\boxed{{{row['answer']}}}", row["answer"], choices or None).correct, row
            for choice in set(row["choices"]) - {row["answer"]}:
                assert not judge(f"\\boxed{{{choice}}}", row["answer"], choices or None).correct, (choice, row)
                wrong_choices += 1
    assert wrong_choices >= {"geometry3k": 2 * 3 * 199, "mathvision": 2 * 4 * 20, "mathvista": 2 * 3 * 55}.get(
        real[0], 0
    )


def test_the_original_spelling_is_graded_right_too(real: tuple[str, Path, dict[str, Any]]) -> None:
    for row in rows(real[1]):
        original = json.loads(row["metadata"])["answer_original"]
        if real[0] == "geometry3k":
            assert judge(f"\\boxed{{{original}}}", row["answer"]).correct, row


def test_every_geometry3k_value_is_the_sources_own_value() -> None:
    """The 199 real problems have numbers as answers; Inter-GPS computed them independently of us."""
    source = open_source("geometry3k", DATASETS["geometry3k"], str(SHARED / "geometry3k_raw"))
    compared = 0
    for split in source.splits:
        for raw in source.read(split):
            sample = DATASETS["geometry3k"].convert(raw).sample
            precise = sample.metadata["precise_value"]["ABCD".index(sample.metadata["letter_original"])]
            assert sample.answer_value == pytest.approx(precise, rel=5e-3, abs=0), sample.id
            compared += 1
    assert compared == 199


def test_every_formalgeo_answer_has_the_value_that_sympy_gives_it() -> None:
    import sympy

    compared = 0
    for _, record in read_lines(SHARED / "geometry3k_answers_only" / "rows.jsonl"):
        answer = record["problem_answer"]
        assert evaluate(parse(answer)) == pytest.approx(float(sympy.sympify(answer)), rel=1e-9, abs=0), answer
        compared += 1
    assert compared == 700
