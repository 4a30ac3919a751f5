"""Parquet rows as samples, lazily."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from uec_vlm.batches import load_samples
from uec_vlm.errors import DataError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def row(place: int, **changes: object) -> dict[str, object]:
    return {
        "id": f"r{place}",
        "source": "test",
        "images": [b"one", b"two"],
        "problem": f"<image><image> problem {place}",
        "answer": "30",
        "choices": ["30", "31"],
        "answer_value": 30.0,
        "metadata": json.dumps({"level": place}),
        **changes,
    }


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_a_row_becomes_a_sample(tmp_path: Path) -> None:
    rows = [row(0), row(1, images=[], choices=None, answer_value=None, metadata=None)]
    store = load_samples(write(tmp_path / "train.parquet", rows))
    assert len(store) == 2
    first, second = store
    assert (first.id, first.source, first.answer, first.answer_value) == ("r0", "test", "30", 30.0)
    assert first.images == (b"one", b"two") and first.choices == ("30", "31") and first.metadata == {"level": 0}
    assert second.images == () and second.choices == () and second.answer_value is None and second.metadata == {}


def test_pictures_as_the_datasets_library_stores_them_are_read_too(tmp_path: Path) -> None:
    rows = [row(0, images=[{"bytes": b"one", "path": None}])]
    assert load_samples(write(tmp_path / "train.parquet", rows))[0].images == (b"one",)


def test_parts_are_lazy_stores(tmp_path: Path) -> None:
    store = load_samples(write(tmp_path / "train.parquet", [row(place) for place in range(6)]))
    assert [sample.id for sample in store.take([4, 0, 0])] == ["r4", "r0", "r0"]
    assert [sample.id for sample in store[1:6:2]] == ["r1", "r3", "r5"]
    assert store[-1].id == "r5" and [sample.id for sample in store.take([4, 0])[1:]] == ["r0"]
    with pytest.raises(IndexError):
        store[6]


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    def held_after_opening(count: int) -> int:
        rows = [row(place, images=[os.urandom(50_000)]) for place in range(count)]
        path = write(tmp_path / f"{count}.parquet", rows)
        before = pa.total_allocated_bytes()
        store = load_samples(path)
        assert len(store[count - 1].images[0]) == 50_000
        return pa.total_allocated_bytes() - before

    assert held_after_opening(400) <= held_after_opening(4) + 100_000


def test_a_file_that_was_written_again_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    assert load_samples(write(path, [row(0)]))[0].answer == "30"
    assert load_samples(write(path, [row(0, answer="45")]))[0].answer == "45"


def test_a_file_that_was_replaced_under_its_old_time_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    assert load_samples(write(path, [row(0)]))[0].answer == "30"
    before = path.stat()
    write(path, [row(0, answer="45")])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as `cp -p` and `rsync -t` leave it
    assert path.stat().st_size == before.st_size
    assert load_samples(path)[0].answer == "45"


def test_a_file_is_mapped_once(tmp_path: Path) -> None:
    path = write(tmp_path / "train.parquet", [row(0)])
    load_samples(path)
    made = {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").rglob("*.arrow")}
    load_samples(path)
    assert made == {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").rglob("*.arrow")}
    assert len(made) == 1


def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent.parquet: there is no such file"):
        load_samples(tmp_path / "absent.parquet")
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match=r"broken.parquet: not a Parquet file"):
        load_samples(broken)
    fewer = {name: value for name, value in row(0).items() if name != "answer"}
    with pytest.raises(DataError, match=r"fewer.parquet: the columns answer are missing"):
        load_samples(write(tmp_path / "fewer.parquet", [fewer]))
    torn = load_samples(write(tmp_path / "torn.parquet", [row(0), row(1, metadata="{")]))
    with pytest.raises(DataError, match=r"torn.parquet row 1 \(id 'r1'\): not a sample"):
        torn[1]
    schema = pa.Table.from_pylist([row(0)]).schema
    pq.write_table(schema.empty_table(), tmp_path / "empty.parquet")
    with pytest.raises(DataError, match=r"empty.parquet: there are no rows"):
        load_samples(tmp_path / "empty.parquet")


def test_faults_name_the_rows_of_the_file(tmp_path: Path) -> None:
    rows = [row(0), row(1), row(2, answer=None), row(3, id="r1"), row(4, id="r0", answer="")]
    file = write(tmp_path / "train.parquet", rows)
    store = load_samples(file)
    assert store[2].answer == "", "no gold is no word"
    assert store.faults() == {
        2: f"{file} row 2 (id 'r2'): its gold is empty, so no answer to it is right.",
        3: f"{file} row 3: the id 'r1' is that of row 1 too.",
        4: f"{file} row 4: the id 'r0' is that of row 0 too.",
    }
    assert store.take([3, 4]).faults() == {
        1: f"{file} row 4 (id 'r0'): its gold is empty, so no answer to it is right."
    }
    assert store.take([0, 1]).faults() == {}
