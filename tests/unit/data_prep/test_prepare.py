"""The written files: schema, byte identity, flat memory, manifest, leakage, loading."""

import hashlib
import json
import random
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest
from PIL import Image

from data_prep.common import Event, Ledger, RawRow
from data_prep.prepare import prepare
from data_prep.reasons import NOTES, REFUSALS, REPAIRS
from data_prep.registry import DATASETS
from data_prep.write import SCHEMA, as_row
from tests.unit.data_prep.world import (
    diagram,
    make_folders,
    make_many,
    put_problem,
    reasons,
    record,
    rows_source,
    run,
    with_comment,
)
from uec_vlm.errors import DataError
from uec_vlm.records import Sample

SPEC = DATASETS["geometry3k"]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_two_runs_give_the_same_bytes(tmp_path: Path) -> None:
    source = make_folders(tmp_path / "in")
    run(source, tmp_path / "a")
    run(source, tmp_path / "b")
    run(source, tmp_path / "b")
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert len(files(tmp_path / "a")) == 4


def test_another_source_gives_other_bytes(tmp_path: Path) -> None:
    source = make_folders(tmp_path / "in")
    run(source, tmp_path / "a")
    path = source / "train" / "2" / "data.json"
    path.write_text(path.read_text().replace("is right", "is left"))
    run(source, tmp_path / "b")
    differing = [name for name, data in files(tmp_path / "a").items() if files(tmp_path / "b")[name] != data]
    assert differing == ["manifest.json", "train.parquet"]


def test_manifest_holds_source_licence_counts_and_hashes(tmp_path: Path) -> None:
    manifest = run(make_folders(tmp_path / "in"), tmp_path / "out")
    assert manifest["source"] == {"layout": "intergps_folders", "name": "in", "revision": None}
    assert manifest["licence"].startswith("MIT")
    assert "Inter-GPS" in manifest["citation"]
    for name, entry in manifest["files"].items():
        data = (tmp_path / "out" / name).read_bytes()
        assert entry == {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    assert sorted(manifest["files"]) == ["test.parquet", "train.parquet", "validation.parquet"]
    assert str(tmp_path) not in (tmp_path / "out" / "manifest.json").read_text()


def test_load_dataset_loads_it(tmp_path: Path) -> None:
    run(make_folders(tmp_path / "in"), tmp_path / "out")
    parts = {split: str(tmp_path / "out" / f"{split}.parquet") for split in ("train", "validation", "test")}
    loaded = datasets.load_dataset("parquet", data_files=parts, cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 5, "validation": 3, "test": 4}
    row = loaded["train"][0]
    assert list(row) == SCHEMA.names
    assert row["images"] == [diagram(1)]
    assert row["problem"].count("<image>") == len(row["images"])
    assert json.loads(row["metadata"])["image_sizes"] == [[64, 48]]
    assert row["choices"][1] == row["answer"]


def test_the_order_of_metadata_keys_does_not_change_the_bytes() -> None:
    one = Sample(id="a", source="a", problem="p", answer="1", metadata={"b": [1, None], "a": "∠"})
    other = replace(one, metadata={"a": "∠", "b": [1, None]})
    assert as_row(one) == as_row(other)
    assert json.loads(as_row(one)["metadata"]) == one.metadata


def test_text_row_without_pictures_passes(tmp_path: Path) -> None:
    def convert(raw: RawRow) -> Any:
        made = SPEC.convert(raw)
        return replace(made, sample=replace(made.sample, images=(), problem="Find x.", answer="A D", answer_value=None))

    rows = [RawRow("train", "train/1", "intergps", record(1), (diagram(1),))]
    prepare("words", replace(SPEC, convert=convert), rows_source(rows), tmp_path, grade_check=None)
    (row,) = pq.read_table(tmp_path / "train.parquet").to_pylist()
    assert (row["images"], row["answer_value"]) == ([], None)


@pytest.mark.parametrize("problem", ["Find x.", "<image><image>Find x.", "<image>Find <image>."])
def test_conversion_that_loses_count_of_placeholders_is_refused(problem: str, tmp_path: Path) -> None:
    def convert(raw: RawRow) -> Any:
        made = SPEC.convert(raw)
        return replace(made, sample=replace(made.sample, problem=problem)) if raw.place == "train/2" else made

    rows = [RawRow("train", f"train/{n}", "intergps", record(n), (diagram(n),)) for n in (1, 2)]
    manifest = prepare("g", replace(SPEC, convert=convert), rows_source(rows), tmp_path, grade_check=None)
    assert reasons(manifest["refused"]) == {"placeholder_mismatch": ["train/2"]}


def test_row_groups_are_cut_by_rows_and_by_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [RawRow("train", f"train/{n}", "intergps", record(n), (diagram(n),)) for n in range(1, 11)]
    monkeypatch.setattr("data_prep.write.GROUP_ROWS", 4)
    prepare("g", SPEC, rows_source(rows), tmp_path / "a", grade_check=None)
    assert _group_sizes(tmp_path / "a") == [4, 4, 2]
    monkeypatch.setattr("data_prep.write.GROUP_BYTES", 3 * len(diagram(1)) - 40)
    prepare("g", SPEC, rows_source(rows), tmp_path / "b", grade_check=None)
    assert _group_sizes(tmp_path / "b") == [3, 3, 3, 1]


def _group_sizes(folder: Path) -> list[int]:
    meta = pq.ParquetFile(folder / "train.parquet").metadata
    return [meta.row_group(group).num_rows for group in range(meta.num_row_groups)]


def test_failed_run_leaves_the_earlier_files_as_they_were(tmp_path: Path) -> None:
    run(make_folders(tmp_path / "in"), tmp_path / "out")
    before = files(tmp_path / "out")

    def broken() -> Any:
        yield RawRow("train", "train/1", "intergps", record(1), (diagram(1),))
        raise OSError("the disk is gone")

    source = replace(rows_source([]), splits=("train", "validation", "test"), read=lambda _: broken())
    with pytest.raises(OSError, match="the disk is gone"):
        prepare("g", SPEC, source, tmp_path / "out", grade_check=None)
    assert files(tmp_path / "out") == before


def test_nothing_is_written_when_every_row_is_refused(tmp_path: Path) -> None:
    put_problem(tmp_path / "in", "train", "1", record(1, answer="Z"), diagram(1))
    put_problem(tmp_path / "in", "train", "2", record(2), None)
    with pytest.raises(DataError, match=r"no row was accepted.*'letter_without_choice': 1.*'missing_image': 1"):
        run(tmp_path / "in", tmp_path / "out")
    assert files(tmp_path / "out") == {}


def test_out_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(DataError, match="choose another"):
        run(make_folders(tmp_path / "in"), tmp_path / "out")


def test_the_folder_of_a_known_set_is_not_written_to(tmp_path: Path) -> None:
    source = make_folders(tmp_path / "in")
    with pytest.raises(DataError, match=r"--out .*/in: --source .*/in is read from there"):
        run(source, source / "." / ".." / "in")
    assert not list(source.glob("*.parquet*"))


def test_refusals_of_the_source_stand_in_the_manifest(tmp_path: Path) -> None:
    rows = [RawRow("train", "train/1", "intergps", record(1), (diagram(1),))]
    source = replace(rows_source(rows), refused=(Event("a.zip:../x", "zip_outside_path", "'../x'"),))
    manifest = prepare("g", SPEC, source, tmp_path, grade_check=None)
    assert manifest["refused"]["zip_outside_path"]["rows"] == [{"row": "a.zip:../x", "detail": "'../x'"}]


def test_leakage_across_and_within_splits_is_counted(tmp_path: Path) -> None:
    source = tmp_path / "in"
    put_problem(source, "train", "1", record(1), diagram(1))
    put_problem(source, "train", "2", record(2), diagram(1))  # same picture within the split
    put_problem(source, "train", "3", record(3, annotat_text="Find x."), diagram(3))
    put_problem(source, "val", "4", record(4, annotat_text="find $x$ ."), diagram(4))  # same text as 3
    put_problem(source, "test", "5", record(5), diagram(1))  # same picture as 1 and 2
    put_problem(source, "test", "6", record(6, annotat_text="Find x."), diagram(3))  # same as 3 altogether
    put_problem(source, "test", "7", record(7), with_comment(diagram(4), "other bytes"))
    leakage = run(source, tmp_path / "out")["leakage"]
    assert leakage["across"]["train_test"] == {
        "rows_sharing_image": 2,
        "rows_sharing_text": 1,
        "rows_sharing_image_and_text": 1,
        "image_pairs": [["geometry3k-test-5", "geometry3k-train-1"], ["geometry3k-test-6", "geometry3k-train-3"]],
        "image_and_text_pairs": [["geometry3k-test-6", "geometry3k-train-3"]],
    }
    assert leakage["across"]["train_validation"]["rows_sharing_image"] == 0
    assert leakage["across"]["train_validation"]["rows_sharing_text"] == 1
    assert leakage["across"]["validation_test"]["rows_sharing_image"] == 0
    assert leakage["across"]["validation_test"]["rows_sharing_text"] == 1
    assert leakage["within"]["train"] == {"repeated_images": 1, "repeated_texts": 0, "repeated_images_and_texts": 0}
    assert leakage["within"]["test"] == {"repeated_images": 0, "repeated_texts": 0, "repeated_images_and_texts": 0}


# VmHWM is the peak of this program alone; getrusage also counts the process that started it.
_MEASURE = """
import re, sys
from pathlib import Path
from data_prep.prepare import prepare
from data_prep.reasons import NOTES, REFUSALS, REPAIRS
from data_prep.registry import DATASETS
from data_prep.sources import open_source

spec = DATASETS["geometry3k"]
for source in sys.argv[1:]:
    prepare("geometry3k", spec, open_source("geometry3k", spec, source), Path(source + "_out"), grade_check=None)
    print(1024 * int(re.search(r"VmHWM:\\s+([0-9]+) kB", Path("/proc/self/status").read_text())[1]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc (Linux)")
@pytest.mark.parametrize("layout", ["zip", pytest.param("parquet", marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_rows(layout: str, tmp_path: Path) -> None:
    """Peak resident memory of 2 000 rows is that of 200 within 20 MB, though their pictures are 78 MB more."""
    noise = Image.frombytes("RGB", (120, 120), random.Random(0).randbytes(120 * 120 * 3))
    file = BytesIO()
    noise.save(file, "PNG", compress_level=0)
    few, many = (make_many(tmp_path / str(count), layout, count, file.getvalue()) for count in (200, 2000))
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-c", _MEASURE, str(few), str(many)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=root, check=True)
    peaks = [int(line) for line in ran.stdout.split()]
    sizes = [(Path(f"{source}_out") / "train.parquet").stat().st_size for source in (few, many)]
    assert sizes[1] - sizes[0] > 75e6
    assert peaks[1] - peaks[0] < 20e6


def test_all_events_are_counted_and_a_bounded_number_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_prep.common.LISTED", 3)
    ledger = Ledger()
    for number in range(8):
        ledger.enter(Event(f"train/{number}", "placeholder_added", ""))
    account = ledger.repaired["placeholder_added"]
    assert (account.count, [event.place for event in account.events]) == (8, ["train/0", "train/1", "train/2"])


def test_every_name_of_the_manifest_is_used_and_tested() -> None:
    """A reason that no code gives, or that no test has seen, is not a reason yet."""
    root = Path(__file__).resolve().parents[3]
    code = "".join(path.read_text() for path in (root / "data_prep").glob("*.py") if path.name != "reasons.py")
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    for reason in (*REFUSALS, *REPAIRS, *NOTES):
        assert f'"{reason}"' in code, reason
        assert f'"{reason}"' in tests, reason
