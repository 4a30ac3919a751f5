"""The layouts of Geometry3K give the same rows, and hostile archives are refused by name."""

import struct
import zipfile
from pathlib import Path
from typing import Any

import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.intergps import by_number
from data_prep.registry import DATASETS
from data_prep.sources import open_source
from tests.unit.data_prep.world import (
    diagram,
    make_folders,
    make_hub_parquet,
    make_zips,
    put_problem,
    reasons,
    record,
    run,
)
from uec_vlm.errors import DataError

FILES = ["test.parquet", "train.parquet", "validation.parquet"]


def rows(out: Path) -> list[dict[str, Any]]:
    return [row for name in FILES for row in pq.read_table(out / name).to_pylist()]


def test_folders_archives_and_parquet_give_the_same_rows(tmp_path: Path) -> None:
    folders = make_folders(tmp_path / "folders")
    zips = make_zips(folders, tmp_path / "zips")
    parquet = make_hub_parquet(folders, tmp_path / "parquet")
    for name, source in (("a", folders), ("b", zips), ("c", parquet)):
        manifest = run(source, tmp_path / name)
        assert {split: count["rows_written"] for split, count in manifest["splits"].items()} == {
            "train": 5,
            "validation": 3,
            "test": 4,
        }
        assert manifest["refused"] == manifest["repaired"] == {}
    assert rows(tmp_path / "a") == rows(tmp_path / "b")
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    common = ("images", "problem", "answer", "answer_value", "source")  # the Hub form has no ids and no choices
    from_folders, from_parquet = ([{key: row[key] for key in common} for row in rows(tmp_path / name)] for name in "ac")
    assert from_folders == from_parquet
    assert len({row["images"][0] for row in from_folders}) == 12


def test_hub_id_is_downloaded_once_and_read_as_a_local_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Hub cannot be reached in tests: the download is replaced by a local folder, all else is the real code."""
    local = make_hub_parquet(make_folders(tmp_path / "folders"), tmp_path / "abc123")
    asked = []

    def snapshot(name: str, **settings: Any) -> str:
        asked.append((name, settings))
        return str(local)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    manifest = run("hiyouga/geometry3k@v1", tmp_path / "hub")
    wanted = {"repo_type": "dataset", "revision": "v1", "allow_patterns": ["*.parquet"]}
    assert asked == [("hiyouga/geometry3k", wanted)]
    assert manifest["source"] == {"layout": "parquet", "name": "hiyouga/geometry3k", "revision": "abc123"}
    run(local, tmp_path / "local")
    assert rows(tmp_path / "hub") == rows(tmp_path / "local")


def test_hub_that_cannot_be_reached_names_the_local_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot(name: str, **_: Any) -> str:
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    with pytest.raises(DataError, match=r"no network.*copy of its files"):
        open_source("geometry3k", DATASETS["geometry3k"], "hiyouga/geometry3k")


def test_hub_revision_without_the_layout_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(tmp_path))
    with pytest.raises(DataError, match=r"holds none of the layouts that are known. Give one of: a folder with train"):
        open_source("geometry3k", DATASETS["geometry3k"], "hiyouga/geometry3k")


@pytest.mark.parametrize("part", ["train", "train.zip", "data/train-00000-of-00001.parquet"])
def test_one_split_alone_is_a_source(part: str, tmp_path: Path) -> None:
    folders = make_folders(tmp_path / "folders")
    zips = make_zips(folders, tmp_path / "zips")
    parquet = make_hub_parquet(folders, tmp_path / "parquet")
    source = next(root / part for root in (folders, zips, parquet) if (root / part).exists())
    assert run(source, tmp_path / "out")["splits"] == {"train": {"rows_read": 5, "rows_written": 5, "rows_refused": 0}}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["manifest.json", "train.parquet"]


def test_folder_wins_over_the_archive_of_the_same_split(tmp_path: Path) -> None:
    source = make_folders(tmp_path / "folders")
    for archive in make_zips(source, tmp_path / "zips").iterdir():
        archive.rename(source / archive.name)
    (source / "train" / "1" / "data.json").unlink()
    (source / "test").rename(tmp_path / "elsewhere")
    manifest = run(source, tmp_path / "out")
    assert manifest["source"]["layout"] == "intergps_folders_and_zips"
    assert reasons(manifest["refused"]) == {"missing_record": ["train/1"]}
    assert {split: count["rows_written"] for split, count in manifest["splits"].items()} == {
        "train": 4,
        "validation": 3,
        "test": 4,
    }


def test_problems_are_sorted_by_number() -> None:
    assert sorted(["10", "9", "b", "1", "a2", "02"], key=by_number) == ["1", "02", "9", "10", "a2", "b"]


def archive(path: Path, entries: list[tuple[str | zipfile.ZipInfo, bytes]]) -> Path:
    """An archive with one good problem, train/1, and the given entries."""
    import json

    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("train/1/data.json", json.dumps(record(1)))
        file.writestr("train/1/img_diagram.png", diagram(1))
        for name, data in entries:
            file.writestr(name, data)
    return path


def special(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


def method(name: str, number: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.compress_type = number
    return info


RECORD2 = b'{"id": 2}'


@pytest.mark.parametrize(
    ("entries", "refused"),
    [
        ([("../evil/data.json", RECORD2)], {"zip_outside_path": ["train.zip:../evil/data.json"]}),
        ([("train/../../evil.png", b"x")], {"zip_outside_path": ["train.zip:train/../../evil.png"]}),
        ([("train\\..\\..\\evil.png", b"x")], {"zip_outside_path": ["train.zip:train\\..\\..\\evil.png"]}),
        ([("/etc/2/data.json", RECORD2)], {"zip_absolute_path": ["train.zip:/etc/2/data.json"]}),
        ([("C:\\2\\data.json", RECORD2)], {"zip_absolute_path": ["train.zip:C:\\2\\data.json"]}),
        ([(special("train/2/img_diagram.png", 0o120777), b"/etc/passwd")], {"zip_symlink": ["train/2"]}),
        ([(special("train/2/data.json", 0o010666), b"")], {"zip_symlink": ["train/2"]}),
        ([(special("link", 0o120777), b"/etc/passwd")], {"zip_symlink": ["train.zip:link"]}),
        ([("train/2/img_diagram.png", bytes(2**21))], {"zip_absurd_ratio": ["train/2"]}),
        ([("notes.txt", bytes(2**21))], {"zip_absurd_ratio": ["train.zip:notes.txt"]}),
        ([("train/2/img_diagram.png", bytes(65 * 2**20))], {"zip_absurd_size": ["train/2"]}),
        ([(method("train/2/data.json", zipfile.ZIP_LZMA), RECORD2)], {"zip_unsupported_method": ["train/2"]}),
        ([("train/2/data.json", RECORD2)], {"missing_image": ["train/2"]}),
        ([("train/2/img_diagram.png", b"x")], {"missing_record": ["train/2"]}),
    ],
)
def test_hostile_entries_are_refused_by_name(
    entries: list[tuple[str | zipfile.ZipInfo, bytes]], refused: dict[str, list[str]], tmp_path: Path
) -> None:
    before = set(tmp_path.parent.rglob("*"))
    manifest = run(archive(tmp_path / "train.zip", entries), tmp_path / "out")
    assert reasons(manifest["refused"]) == refused
    assert manifest["splits"]["train"]["rows_written"] == 1
    written = {path.name for path in set(tmp_path.parent.rglob("*")) - before}
    assert written == {"train.zip", "out", "train.parquet", "manifest.json"}, "nothing may be extracted"


def test_entry_that_stands_twice_refuses_its_problem(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = archive(tmp_path / "train.zip", [("train/2/data.json", RECORD2), ("train/2/data.json", b"{}")])
    assert reasons(run(path, tmp_path / "out")["refused"]) == {"zip_duplicate_entry": ["train/2"]}


def test_encrypted_entry_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "train.zip", [("train/2/data.json", RECORD2)])
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\x01\x02") + 8] |= 1  # the flag in the last entry of the central directory
    path.write_bytes(data)
    assert reasons(run(path, tmp_path / "out")["refused"]) == {"zip_encrypted": ["train/2"]}


def test_entry_whose_header_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    """A bomb that claims 100 bytes: never more than claimed is unpacked, and the row is refused."""
    path = archive(tmp_path / "train.zip", [("train/2/data.json", bytes(2**20))])
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.rindex(b"PK\x01\x02") + 24, 100)
    path.write_bytes(data)
    assert reasons(run(path, tmp_path / "out")["refused"]) == {"zip_unreadable": ["train/2"]}


def test_damaged_entry_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "train.zip", [("train/2/data.json", RECORD2 * 50)])
    data = bytearray(path.read_bytes())
    at = data.index(b"train/2/data.json") + len(b"train/2/data.json") + 5
    data[at] ^= 0xFF
    path.write_bytes(data)
    assert reasons(run(path, tmp_path / "out")["refused"]) == {"zip_unreadable": ["train/2"]}


def test_junk_of_macos_and_other_files_is_passed_over(tmp_path: Path) -> None:
    entries = [
        ("__MACOSX/train/1/._data.json", b"x"),
        ("__MACOSX/train/1/data.json", b"x"),
        ("train/1/logic_form.json", b"{}"),
    ]
    manifest = run(archive(tmp_path / "train.zip", [*entries, ("train/.DS_Store", b"")]), tmp_path / "out")
    assert manifest["refused"] == {}


@pytest.mark.parametrize("prefix", ["", "geometry3k/train/", "train\\"])
def test_archive_with_other_folders_around_the_problems(prefix: str, tmp_path: Path) -> None:
    import json

    with zipfile.ZipFile(tmp_path / "train.zip", "w") as file:
        for name, data in (("data.json", json.dumps(record(5)).encode()), ("img_diagram.png", diagram(5))):
            file.writestr(f"{prefix}5{prefix[-1:] or '/'}{name}", data)
    assert run(tmp_path / "train.zip", tmp_path / "out")["splits"]["train"]["rows_written"] == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: root / "nowhere", r"no such file or folder\. Give one of: a folder with train"),
        (lambda root: root, r"no layout of geometry3k is found there \(it holds \[\]\)"),
        (lambda root: _written(root / "train.zip", b"PK no zip"), "not a readable zip archive.*download it again"),
        (
            lambda root: _written(root / "train-0.parquet", b"PAR1 no parquet"),
            "cannot be read.*get the file again",
        ),
        (
            lambda root: _table(root / "train-0.parquet", {"image": [b"x"], "question": ["q"]}),
            r"columns \['problem', 'answer', 'images'\] are missing",
        ),
        (
            lambda root: _table(root / "train-0.parquet", {"images": [5], "problem": ["q"], "answer": ["1"]}),
            "missing_image",
        ),
        (lambda root: _odd_archive(root / "geometry.zip"), "does not tell its split"),
        (lambda root: "hiyouga/geometry4k", "no such file or folder"),
    ],
)
def test_wrong_sources_say_what_to_do(make: Any, message: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    with pytest.raises(DataError, match=message):
        run(make(source), tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _table(path: Path, columns: dict[str, list[Any]]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def _odd_archive(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("5/data.json", b"{}")
    return path


def test_parquet_rows_without_bytes_are_refused_and_no_path_is_opened(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(diagram(1))
    images = [
        [{"bytes": None, "path": str(secret)}],
        [],
        [{"bytes": diagram(2), "path": None}],
        [{"bytes": b"", "path": ""}],
    ]
    table = pa.table({"images": images, "problem": ["<image>q"] * 4, "answer": ["1"] * 4})
    pq.write_table(table, tmp_path / "test-0.parquet")
    manifest = run(tmp_path / "test-0.parquet", tmp_path / "out")
    assert reasons(manifest["refused"]) == {
        "image_outside_source": ["test/00000"],
        "missing_image": ["test/00003"],
        "placeholder_mismatch": ["test/00001"],
    }


def test_stale_split_of_another_source_is_not_left_beside_the_new_ones(tmp_path: Path) -> None:
    folders = make_folders(tmp_path / "folders")
    run(folders, tmp_path / "out")
    with pytest.raises(DataError, match=r"test\.parquet.*remove them"):
        run(folders / "train", tmp_path / "out")
    run(folders, tmp_path / "out")


def test_problem_of_a_folder_may_hold_other_files(tmp_path: Path) -> None:
    put_problem(tmp_path / "in", "test", "1", record(1), diagram(1))
    (tmp_path / "in" / "test" / "1" / "logic_form.json").write_text("{}")
    (tmp_path / "in" / "test" / ".DS_Store").write_text("")
    (tmp_path / "in" / "test" / ".cache").mkdir()
    assert run(tmp_path / "in", tmp_path / "out")["refused"] == {}
