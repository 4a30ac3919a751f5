"""Your own tables: every form gives the same rows, and what is wrong is told by file, row, column and value."""

import csv
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pyarrow.parquet as pq
import pytest

from data_prep.__main__ import main, summary
from data_prep.own import load_mapping, open_own_source, own_spec
from data_prep.prepare import prepare
from tests.unit.data_prep.world import diagram, reasons
from uec_vlm.errors import ConfigError, DataError

MAPPING = """
problem: question
answer: gold
images: pictures
choices: options
id: name
metadata: [level]
name: mine
licence: CC0
"""
ROWS: list[dict[str, Any]] = [
    {"name": "one", "question": "How long is AB?", "gold": "5", "pictures": ["a.png"], "options": [], "level": 1},
    {"name": "two", "question": "<image> or <image>?", "gold": "left", "pictures": ["a.png", "b.png"],
     "options": ["left", "right"], "level": 2},
    {"name": "three", "question": "What is 2 + 2?", "gold": "B", "pictures": [], "options": ["3", "4"], "level": 3},
]  # fmt: skip


def folder(root: Path, kind: str, rows: list[dict[str, Any]] = ROWS) -> Path:
    """The rows as `train.<kind>` with their pictures beside them; "image" is Parquet with the Hub's Image feature."""
    root.mkdir(exist_ok=True)
    for number, name in enumerate(("a.png", "b.png")):
        (root / name).write_bytes(diagram(number))
    if kind == "jsonl":
        (root / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif kind == "csv":
        with (root / "train.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows([{**row, **{c: json.dumps(row[c]) for c in ("pictures", "options")}} for row in rows])
    else:
        made = [{**row, "pictures": [(root / name).read_bytes() for name in row["pictures"]]} for row in rows]
        table = datasets.Dataset.from_list(made)
        if kind == "image":
            table = table.cast_column("pictures", datasets.List(datasets.Image()))
        table.to_parquet(root / "train.parquet")
    return root


def mapping(root: Path, text: str = MAPPING) -> Path:
    (root / "mapping.yaml").write_text(text)
    return root / "mapping.yaml"


def run(source: Path | str, out: Path, mapped: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    known = load_mapping(mapped)
    manifest = prepare(known.name, own_spec(known), open_own_source(known, str(source)), out, grade_check=None)
    return manifest, [row for file in sorted(out.glob("*.parquet")) for row in pq.read_table(file).to_pylist()]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "image"])
def test_every_form_gives_the_same_rows(kind: str, tmp_path: Path) -> None:
    source = folder(tmp_path / "in", kind)
    manifest, rows = run(source, tmp_path / "out", mapping(tmp_path))
    assert [row["id"] for row in rows] == ["mine-train-one", "mine-train-two", "mine-train-three"]
    assert [row["problem"] for row in rows] == ["<image>How long is AB?", "<image> or <image>?", "What is 2 + 2?"]
    assert [(row["answer"], row["choices"]) for row in rows] == [
        ("5", []),
        ("left", ["left", "right"]),
        ("4", ["3", "4"]),
    ]
    assert [row["images"] for row in rows] == [[diagram(0)], [diagram(0), diagram(1)], []]
    assert [int(json.loads(row["metadata"])["level"]) for row in rows] == [1, 2, 3]
    assert (manifest["dataset"], manifest["licence"], manifest["purpose"]) == ("mine", "CC0", "training")


def test_a_hub_id_is_downloaded_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = folder(tmp_path / "abc", "image")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **_: str(local))
    manifest, rows = run("me/mine@main", tmp_path / "out", mapping(tmp_path))
    assert manifest["source"] == {"layout": "own", "name": "me/mine", "revision": "abc"}
    assert len(rows) == 3


def test_without_ids_rows_are_numbered_over_all_files_and_splits_come_from_names(tmp_path: Path) -> None:
    for name, count in (("train-1.csv", 2), ("train-2.csv", 1), ("val.csv", 1)):
        (tmp_path / name).write_text("q,a\n" + "".join(f"{name} {n},{n}\n" for n in range(count)))
    _, rows = run(tmp_path, tmp_path / "out", mapping(tmp_path, "problem: q\nanswer: a\n"))
    assert [row["id"] for row in rows] == [
        "own-train-row-00000", "own-train-row-00001", "own-train-row-00002", "own-validation-row-00000"
    ]  # fmt: skip


def test_a_column_may_tell_the_split(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text("q,a,part\nx,1,train\ny,2,dev\nz,3,Test\nw,4,exam\n")
    manifest, _ = run(tmp_path / "all.csv", tmp_path / "out", mapping(tmp_path, "problem: q\nanswer: a\nsplit: part\n"))
    assert {split: count["rows_written"] for split, count in manifest["splits"].items()} == {
        "train": 1, "validation": 1, "test": 1,
    }  # fmt: skip
    [refused] = manifest["refused"]["missing_field"]["rows"]
    assert refused == {"row": "all.csv row 4", "detail": "column 'part': 'exam'"}


def test_choices_in_columns_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("q,a,A,B,C\nx,C,1,2,3\ny,2,1,2,\nz,C,1,,3\n")
    text = "problem: q\nanswer: a\nchoices: [A, B, C]\n"
    _, rows = run(tmp_path / "t.csv", tmp_path / "out", mapping(tmp_path, text))
    assert [(row["answer"], row["choices"]) for row in rows] == [
        ("3", ["1", "2", "3"]),
        ("2", ["1", "2"]),
        ("3", ["1", "3"]),  # an empty place keeps the letters behind it
    ]


def test_an_answer_that_is_one_choices_letter_and_anothers_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("q,a,A,B,C,D\nx,B,C,D,A,B\ny,B,A,B,C,D\nz,(b),1,2,3,4\nw,C,AB,AC,C,BC\n")
    text = "problem: q\nanswer: a\nchoices: [A, B, C, D]\n"
    manifest, rows = run(tmp_path / "t.csv", tmp_path / "out", mapping(tmp_path, text))
    assert [row["answer"] for row in rows] == ["B", "2", "C"]
    [refused] = manifest["refused"]["two_answers"]["rows"]
    assert refused["row"] == "t.csv row 1"
    assert "column 'a' is 'B', the choices are ['C', 'D', 'A', 'B']: it is the letter of one" in refused["detail"]


def test_wrong_rows_are_refused_by_row_column_and_value(tmp_path: Path) -> None:
    good = ROWS[0]
    wrong = [
        {**good, "name": "a", "gold": None},
        {**good, "name": "b", "pictures": ["nowhere.png"]},
        {**good, "name": "c", "options": ["1", "2"]},
        {**good, "name": "d", "question": " "},
        {**good, "name": "one"},
    ]
    manifest, rows = run(folder(tmp_path / "in", "jsonl", [good, *wrong]), tmp_path / "out", mapping(tmp_path))
    assert len(rows) == 1
    assert reasons(manifest["refused"]) == {
        "missing_field": ["train.jsonl row 2", "train.jsonl row 5"],
        "missing_image": ["train.jsonl row 3"],
        "answer_not_a_choice": ["train.jsonl row 4"],
        "duplicate_id": ["train.jsonl row 6"],
    }
    details = [event["detail"] for entry in manifest["refused"].values() for event in entry["rows"]]
    assert "column 'gold' is None; a text or a number is needed" in details
    assert "column 'pictures': 'nowhere.png' is not there" in details
    assert "column 'gold' is '5', the choices are ['1', '2']" in details


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("problem: q\n", "answer: is missing; name the column that holds it"),
        ("problem: q\nanswer: a\nimage: x\n", "image = 'x': there is no such key; did you mean 'images'"),
        ("problem: q\nanswer: a\npurpose: test\n", "purpose = 'test': Input should be 'training' or 'evaluation only'"),
        ("problem: q\nanswer: a\nname: a b\n", "name = 'a b': a name of letters"),
        ("- q\n", "holds list, not keys with values"),
        ("a: [", "is not valid YAML"),
        ("problem: q\nanswer: a\nproblem: b\n", "the key 'problem' was given in line 1 already"),
    ],
)
def test_wrong_mappings_are_refused_by_key(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        load_mapping(mapping(tmp_path, text))


def test_wrong_sources_and_columns_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = load_mapping(mapping(tmp_path, "problem: q\nanswer: a\n"))
    with pytest.raises(DataError, match=r"there is no such table\. Give a Parquet, JSON"):
        open_own_source(known, str(tmp_path / "nowhere.csv"))
    (tmp_path / "t.csv").write_text("question,a\nx,1\n")
    arguments = ["own", "--mapping", str(tmp_path / "mapping.yaml"), "--source", str(tmp_path / "t.csv")]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--out", str(tmp_path / "out")])
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert "t.csv: the columns ['q'] are missing; it has ['question', 'a']" in told


@pytest.mark.parametrize(
    ("table", "source", "out"),
    [
        ("train.parquet", ".", "."),
        ("train.csv", ".", "."),
        ("data/train.csv", ".", "data"),
        ("train.parquet", "train.parquet", "."),
        ("manifest.json", "manifest.json", "."),
    ],
)
def test_the_folder_that_is_read_is_not_written_to(table: str, source: str, out: str, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    (mine / table).parent.mkdir(parents=True)
    rows = datasets.Dataset.from_list([{"q": "x", "a": "1"}])
    writers = {".parquet": rows.to_parquet, ".csv": rows.to_csv, ".json": partial(rows.to_json, lines=False)}
    writers[Path(table).suffix](mine / table)
    before = {file: file.read_bytes() for file in mine.rglob("*") if file.is_file()}
    mapped = mapping(tmp_path, "problem: q\nanswer: a\n")
    with pytest.raises(DataError, match=r"--out .*is read from there.*choose another folder"):
        run(mine / source, mine / out, mapped)
    assert {file: file.read_bytes() for file in mine.rglob("*") if file.is_file()} == before
    run(mine / source, mine / "prepared", mapped)


def test_a_table_may_stand_in_the_folder_that_is_written_to(tmp_path: Path) -> None:
    table = tmp_path / "problems.csv"
    table.write_text("q,a\nx,1\n")
    for _ in range(2):
        _, rows = run(table, tmp_path, mapping(tmp_path, "problem: q\nanswer: a\n"))
        assert [row["answer"] for row in rows] == ["1"]
    assert table.read_text() == "q,a\nx,1\n"


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("Test.csv", "test"),
        ("TEST-2024.CSV", "test"),
        ("Validation.csv", "validation"),
        ("Dev.JSONL", "validation"),
        ("latest.csv", "train"),
        ("contest_1.Tsv", "train"),
    ],
)
@pytest.mark.parametrize("alone", [False, True])
def test_names_tell_the_split_in_capitals_too(name: str, split: str, alone: bool, tmp_path: Path) -> None:
    file = tmp_path / "in" / name
    file.parent.mkdir()
    line = {".jsonl": '{"q": "x", "a": "1"}', ".tsv": "q\ta\nx\t1"}.get(file.suffix.lower(), "q,a\nx,1")
    file.write_text(line + "\n")
    _, rows = run(file if alone else file.parent, tmp_path / "out", mapping(tmp_path, "problem: q\nanswer: a\n"))
    assert [row["id"] for row in rows] == [f"own-{split}-row-00000"]


@pytest.mark.parametrize(
    "name", ["test_2024.csv", "my_test.csv", "valid.csv", "math.Dev2.csv", "train-test.csv", "test.val.csv"]
)
def test_a_name_that_may_be_of_a_held_out_table_is_refused(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for one in ("train.csv", name):
        (folder / one).write_text("q,a,part\nx,1,test\n")
    for source in (folder, folder / name):
        with pytest.raises(DataError, match=rf"{re.escape(name)}: '\w+' in its name says.*rename the file, or name"):
            run(source, tmp_path / "out", mapping(tmp_path, "problem: q\nanswer: a\n"))
    _, rows = run(folder, tmp_path / "out", mapping(tmp_path, "problem: q\nanswer: a\nsplit: part\n"))
    assert len(rows) == 2, "the column tells the split, whatever the names say"


def test_which_file_goes_into_which_split_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("extra.csv", "train.csv", "Test.csv"):
        (tmp_path / name).write_text("q,a,part\n" + f"How many in {name}?,1,test\n")
    command = ["own", "--mapping", str(tmp_path / "mapping.yaml"), "--source", str(tmp_path), "--out"]
    for more, told in (
        ("", ["train: from extra.csv, train.csv", "test: from Test.csv"]),
        ("split: part\n", ["split by the column 'part': Test.csv, extra.csv, train.csv"]),
    ):
        mapping(tmp_path, "problem: q\nanswer: a\n" + more)
        with pytest.raises(SystemExit):
            main([*command, str(tmp_path / f"out{len(more)}")])
        assert capsys.readouterr().out.splitlines()[: len(told)] == told


def test_where_no_row_is_accepted_the_first_are_shown(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("q,a,p\n" + "x,,\n" * 4 + "y,1,no.png\n")
    text = "problem: q\nanswer: a\nimages: p\n"
    with pytest.raises(DataError) as told:
        run(file, tmp_path / "out", mapping(tmp_path, text))
    first, *shown = str(told.value).splitlines()
    assert first.endswith("Refused, by reason: {'missing_field': 4, 'missing_image': 1}; the first:")
    assert [line.split(" (")[0] for line in shown] == [
        "  t.csv row 1: column 'a' is ''; a text or a number is needed",
        "  t.csv row 5: column 'p': 'no.png' is not there",
        "  t.csv row 2: column 'a' is ''; a text or a number is needed",
    ]


@pytest.mark.parametrize("content", ["", "q,a\n"])
def test_a_table_without_rows_is_told(content: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(DataError, match=r"t\.csv: the table has no rows, nothing is written"):
        run(tmp_path / "t.csv", tmp_path / "out", mapping(tmp_path, "problem: q\nanswer: a\n"))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("t.csv", "q;a\nx;1\n", r"is the separator a comma\? The one column 'q;a' looks .* by ';'\)"),
        ("t.csv", "q;a\nx;1,5\ny;2,5\n", r"is the separator a comma\?"),
        ("t.tsv", "q,a\nx,1\n", r"is the separator a tab\?.* by ','"),
    ],
)
def test_another_separator_is_asked_about(name: str, content: str, told: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=told):
        run(tmp_path / name, tmp_path / "out", mapping(tmp_path, "problem: q\nanswer: a\n"))


def test_rows_without_a_picture_are_noted_where_the_mapping_names_one(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", "jsonl", [ROWS[0], ROWS[2], {**ROWS[2], "name": "four"}])
    manifest, rows = run(source, tmp_path / "out", mapping(tmp_path))
    assert len(rows) == 3
    assert reasons(manifest["noted"]) == {"no_picture": ["train.jsonl row 2", "train.jsonl row 3"]}
    assert manifest["noted"]["no_picture"]["rows"][0]["detail"] == "column 'pictures'"
    assert "noted 2 x no_picture: " in summary(manifest, tmp_path)
    texts = MAPPING.replace("images: pictures\n", "")
    assert (
        run(folder(tmp_path / "in", "jsonl", ROWS[2:]), tmp_path / "texts", mapping(tmp_path, texts))[0]["noted"] == {}
    )
