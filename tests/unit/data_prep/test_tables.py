"""Tables of every kind give the same rows; pictures are found beside them, in archives, and never outside."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_prep.common import Event, RawRow, RowRefused
from data_prep.pictures import PictureShelf
from data_prep.tables import TableLayout, read_table
from tests.unit.data_prep.world import diagram
from uec_vlm.errors import DataError

ROWS = [{"q": "one, two", "a": "1", "image": "images/0.png"}, {"q": "a\nb", "a": "2", "image": "images/1.png"}]
LAYOUT = TableLayout(columns=("q", "a"), images=("image",))


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps({str(n): row for n, row in enumerate(rows)}))
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        import csv

        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)


def read(root: Path, layout: TableLayout = LAYOUT) -> list[RawRow | Event]:
    source = layout.open(root)
    assert source is not None
    return [row for split in source.splits for row in source.read(split)]


@pytest.mark.parametrize("suffix", [".parquet", ".json", ".jsonl", ".csv", ".tsv"])
@pytest.mark.parametrize("packed", [False, True])
def test_every_kind_of_file_gives_the_same_rows(suffix: str, packed: bool, tmp_path: Path) -> None:
    write(tmp_path / f"train{suffix}", ROWS)
    if packed:
        with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
            for n in range(2):
                archive.writestr(f"images/{n}.png", diagram(n))
    else:
        (tmp_path / "images").mkdir()
        for n in range(2):
            (tmp_path / "images" / f"{n}.png").write_bytes(diagram(n))
    assert read(tmp_path) == [
        RawRow("train", "train/00000", "table", {"q": "one, two", "a": "1"}, (diagram(0),)),
        RawRow("train", "train/00001", "table", {"q": "a\nb", "a": "2"}, (diagram(1),)),
    ]


def test_a_split_in_two_forms_is_read_once_and_from_parquet(tmp_path: Path) -> None:
    write(tmp_path / "train.json", [{"q": "from json", "a": "1", "image": None}])
    write(tmp_path / "train.parquet", [{"q": "from parquet", "a": "1", "image": ""}])
    assert [row.fields["q"] for row in read(tmp_path) if isinstance(row, RawRow)] == ["from parquet"]


@pytest.mark.parametrize("name", ["../x.png", "/etc/x.png", "a/../../x.png", "C:\\x.png", "a\0b"])
def test_names_that_lead_outside_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(diagram(1))
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "train.jsonl", [{"q": "q", "a": "1", "image": name}])
    [event] = read(tmp_path / "in")
    assert isinstance(event, Event) and event.reason == "image_outside_source"


@pytest.mark.parametrize(
    ("entries", "asked", "found"),
    [
        (["train/1.png"], "train/1.png", 0),
        (["train/1.png"], "1.png", 0),
        (["train/1.png"], "val/1.png", None),
        (["train/1.png"], "images/1.png", 0),
        (["train/1.png", "other/2.png"], "images/1.png", None),
        (["train/1.png", "other/2.png"], "images/train/1.png", 0),
        (["train/1.png", "other/1.png"], "1.png", None),
        (["1.png", "2.png"], "images/2.png", 1),
        (["1.png", "2.png"], "data/2.png", None),
        (["images/geo/1.png", "__MACOSX/images/geo/._1.png"], "geo/1.png", 0),
        (["thumbs/geo/1.png", "geo/1.png"], "geo/1.png", 1),
        (["geo/1.png", "thumbs/geo/1.png"], "geo/1.png", 0),
        (["thumbs/geo/1.png", "geo/1.png"], "1.png", 1),
        (["images\\1.png"], "images/1.png", 0),
        (["./images/1.png"], "1.png", 0),
    ],
)
def test_a_packed_picture_is_found_by_its_own_names_only(
    entries: list[str], asked: str, found: int | None, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for n, name in enumerate(entries):
            archive.writestr(name, diagram(n))
    if found is None:
        with pytest.raises(RowRefused, match="missing_image"):
            PictureShelf(tmp_path).read(asked)
    else:
        assert PictureShelf(tmp_path).read(asked) == diagram(found)


def test_a_name_that_two_entries_share_is_told_with_both(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("train/1.png", diagram(0))
        archive.writestr("val/1.png", diagram(1))
    with pytest.raises(RowRefused, match=r"'1\.png' may be 'train/1\.png', 'val/1\.png'; give the path inside"):
        PictureShelf(tmp_path).read("1.png")


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "folder/" * 1000 + "x.png"])
def test_a_name_that_is_too_long_for_a_file_is_a_missing_picture(name: str, tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(diagram(1))
    rows = [{"q": "q", "a": "1", "image": one} for one in (name, "1.png")]
    write(tmp_path / "train.jsonl", rows)
    missing, found = read(tmp_path)
    assert isinstance(missing, Event) and missing.reason == "missing_image" and len(missing.detail) < 120
    assert isinstance(found, RawRow) and found.images == (diagram(1),)


def test_hostile_entries_of_the_picture_archive_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images/0.png", bytes(50 * 2**20))
    write(tmp_path / "train.jsonl", ROWS[:1])
    [event] = read(tmp_path)
    assert isinstance(event, Event) and event.reason == "zip_absurd_ratio"


def test_broken_lines_are_events_and_the_others_are_read(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"q": "a", "a": "1", "image": null}\n[1]\n\n{"q": "b", "a": "2"}\n')
    kinds = [(type(row).__name__, row.place) for row in read(tmp_path)]
    assert kinds == [("RawRow", "train/00000"), ("Event", "train/00001"), ("RawRow", "train/00002")]
    (tmp_path / "t.csv").write_text("q,a\nx,1\ny\nz,3,4\n")
    refused = [number for number, row in read_table(tmp_path / "t.csv") if isinstance(row, DataError)]
    assert refused == [1, 2]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("train.json", "[1, 2", "its rows cannot be read .JSONDecodeError"),
        ("train.json", "7", "a list of rows, or an object of rows"),
        ("train.csv", 'q,a\n"x,1', "its rows cannot be read"),
        ("train.jsonl", '{"q": 1}', r"the columns \['a', 'image'\] are missing; it has \['q'\]"),
    ],
)
def test_wrong_files_are_told_by_name(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=f"{name}: {message}"):
        read(tmp_path)


def test_pictures_of_every_kind_of_cell(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(diagram(3))
    shelf, data = PictureShelf(tmp_path), diagram(3)
    for cell in (data, "a.png", {"bytes": data, "path": None}, {"bytes": None, "path": "a.png"}, ["a.png"]):
        assert shelf.pictures(cell) == (data,)
    assert shelf.pictures([data, "a.png"]) == (data, data)
    assert shelf.pictures(None) == shelf.pictures([]) == shelf.pictures("") == ()
