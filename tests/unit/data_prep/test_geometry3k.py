"""Each kind of bad row of the Inter-GPS layout is repaired or refused, and the manifest names it."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from data_prep.common import RawRow, RowRefused
from data_prep.geometry3k import convert
from data_prep.grade import grade_check
from tests.unit.data_prep.world import diagram, put_problem, reasons, record, run
from uec_vlm.verifier import normalise_answer

IMAGE = diagram(7)


def raw(**changes: Any) -> RawRow:
    return RawRow("train", "train/7", "intergps", record(7, **changes), (IMAGE,))


def names(**changes: Any) -> tuple[str, ...]:
    return tuple(event.reason for event in convert(raw(**changes)).events)


def refusal(**changes: Any) -> str:
    with pytest.raises(RowRefused) as refused:
        convert(raw(**changes))
    return refused.value.reason


def test_good_row() -> None:
    converted = convert(raw())
    sample = converted.sample
    assert converted.events == ()
    assert sample.id == "geometry3k-train-7"
    assert sample.source == "geometry3k"
    assert sample.problem == "<image>In $\\triangle ABC$, ∠7 is right. Find side $7$."
    assert sample.images == (IMAGE,)
    assert sample.answer == sample.choices[1] == normalise_answer("8 \\sqrt { 3 }") != "8 \\sqrt { 3 }"
    assert sample.choices == ("7", sample.answer, "9", "10.5")
    assert sample.answer_value == pytest.approx(13.856406460551018, rel=0, abs=1e-12)
    assert sample.metadata == {
        "problem_id": "7",
        "split": "train",
        "letter": "B",
        "letter_original": "B",
        "answer_original": "8 \\sqrt { 3 }",
        "choices_original": ["7", "8 \\sqrt { 3 }", "9", "10.5"],
        "precise_value": [7.0, 8 * 3**0.5, 9.0, 10.5],
        "goal": ["Length"],
        "graph": ["Triangle"],
        "unit": "",
        "level": None,
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"answer": "E"}, "letter_without_choice"),
        ({"answer": "5"}, "letter_without_choice"),
        ({"answer": "Answer: B"}, "letter_without_choice"),
        ({"answer": "B, C"}, "two_answers"),
        ({"answer": "BC"}, "two_answers"),
        ({"answer": "A or D"}, "two_answers"),
        ({"answer": ["B", "C"]}, "two_answers"),
        ({"answer": ""}, "missing_field"),
        ({"answer": None}, "missing_field"),
        ({"answer": 2}, "missing_field"),
        ({"answer": []}, "missing_field"),
        ({"answer": ...}, "missing_field"),
        ({"choices": ...}, "missing_field"),
        ({"choices": "7"}, "missing_field"),
        ({"choices": ["7", None, "9", "10"]}, "missing_field"),
        ({"choices": ["7"]}, "too_few_choices"),
        ({"choices": ["7", "7", "7", "7"]}, "too_few_choices"),
        ({"choices": [str(one) for one in range(11)]}, "too_few_choices"),
        ({"choices": ["7", "  ", "9", "10"]}, "empty_answer"),
        ({"annotat_text": "", "problem_text": ""}, "empty_text"),
        ({"annotat_text": " \r\n\x00", "problem_text": ...}, "empty_text"),
        ({"annotat_text": "<image>", "problem_text": None}, "empty_text"),
    ],
)
def test_refused_by_name(changes: dict[str, Any], expected: str) -> None:
    assert refusal(**changes) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"answer": "b"}, ("letter_spelling",)),
        ({"answer": " (B). "}, ("letter_spelling",)),
        ({"answer": ["B"]}, ()),
        ({"annotat_text": "Find\r\nx"}, ("line_ends",)),
        ({"annotat_text": "Find \x02x"}, ("control_characters",)),
        ({"annotat_text": "Find \x0crac{1}{2}"}, ("lost_backslash",)),
        ({"annotat_text": "Look <image> here"}, ("placeholder_in_text",)),
        ({"annotat_text": ""}, ("text_from_problem_text",)),
        ({"annotat_text": ...}, ("text_from_problem_text",)),
        ({"choices": ["7", "8", "7", "9"], "precise_value": ...}, ("duplicated_choices",)),
        ({"choices": ["7", "8", "", "9"], "precise_value": ...}, ("empty_choice",)),
        ({"choices": [7, 8.5, "9", "10"], "precise_value": ...}, ("choice_not_text",)),
        ({"choices": ["7", "8\x01", "9", "10"], "precise_value": ...}, ("control_characters",)),
        ({"precise_value": ["7.0", "13.86", 9, 10.5]}, ("precise_value_text",)),
        ({"precise_value": [7, None, 9, 10.5]}, ("precise_value_text",)),
        ({"precise_value": "13.86"}, ("precise_value_unusable",)),
        ({"precise_value": [7, 8]}, ("precise_value_unusable",)),
        ({"precise_value": [7, 14.2, 9, 10.5]}, ("precise_value_differs",)),
        ({"precise_value": [7, 13.9, 9, 10.5]}, ()),
        ({"id": ...}, ("missing_id",)),
        ({"id": " "}, ("missing_id",)),
        ({"id": 8}, ("id_differs_from_folder",)),
    ],
)
def test_repaired_by_name(changes: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert names(**changes) == expected


def test_dropped_choices_take_their_letters_along() -> None:
    sample = convert(raw(choices=["7", "$7$", "", "9"], answer="D", precise_value=...)).sample
    assert sample.choices == ("7", "9")
    assert sample.answer == "9"
    assert sample.metadata["letter"] == "B"
    assert sample.metadata["letter_original"] == "D"
    assert sample.metadata["choices_original"] == ["7", "$7$", "", "9"]


def test_repeated_right_choice_is_kept_once() -> None:
    sample = convert(raw(choices=["7", "8", "9", "8"], answer="D", precise_value=...)).sample
    assert (sample.choices, sample.answer, sample.metadata["letter"]) == (("7", "8", "9"), "8", "B")


def test_choices_of_one_value_stay_as_they_are_spelt() -> None:
    spelled = ["\\frac { 1 } { \\sqrt 3 }", "0.577", "\\frac { \\sqrt { 3 } } { 3 }", "0.5774"]
    sample = convert(raw(choices=spelled, answer="C", precise_value=...)).sample
    assert [normalise_answer(choice) for choice in spelled] == list(sample.choices)
    assert (sample.answer, sample.metadata["letter"]) == (sample.choices[2], "C")
    with pytest.raises(RowRefused) as refused:
        grade_check(sample)
    assert refused.value.reason == "wrong_choice_graded_right"


def test_texts_among_precise_values_are_read_or_become_null() -> None:
    sample = convert(raw(precise_value=["7.0", "13.86", "A D", float("inf")])).sample
    assert sample.metadata["precise_value"] == [7.0, 13.86, None, None]


def test_text_of_the_problem_decides_not_precise_value() -> None:
    sample = convert(raw(precise_value=[1, 2, 3, 4])).sample
    assert sample.answer_value == pytest.approx(8 * 3**0.5, rel=0, abs=1e-12)


def hub(problem: Any, answer: Any, images: tuple[bytes, ...] = (IMAGE,)) -> RawRow:
    return RawRow("test", "test/00012", "hub", {"problem": problem, "answer": answer}, images)


def test_hub_row() -> None:
    converted = convert(hub("<image>Find $x$.", "2 \\sqrt { 221 }"))
    sample = converted.sample
    assert converted.events == ()
    assert (sample.id, sample.problem) == ("geometry3k-test-row-00012", "<image>Find $x$.")
    assert sample.answer == normalise_answer("2 \\sqrt { 221 }")
    assert sample.choices == ()
    assert sample.metadata == {"split": "test", "row": 12, "answer_original": "2 \\sqrt { 221 }", "level": None}


def test_hub_row_without_placeholder_gets_one() -> None:
    converted = convert(hub("Find $x$.", "2"))
    assert converted.sample.problem == "<image>Find $x$."
    assert [event.reason for event in converted.events] == ["placeholder_added"]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (hub("<image><image>Find x.", "2"), "placeholder_mismatch"),
        (hub("<image>Find x.", "2", ()), "placeholder_mismatch"),
        (hub("<image> ", "2"), "empty_text"),
        (hub(None, "2"), "missing_field"),
        (hub("<image>Find x.", None), "missing_field"),
        (hub("<image>Find x.", " "), "empty_answer"),
    ],
)
def test_hub_row_refused_by_name(row: RawRow, expected: str) -> None:
    with pytest.raises(RowRefused) as refused:
        convert(row)
    assert refused.value.reason == expected


def test_the_manifest_names_every_bad_row_of_a_folder(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    put_problem(source, "train", "1", record(1), diagram(1))
    put_problem(source, "train", "2", record(2), None)
    put_problem(source, "train", "3", record(3), diagram(3)[:-30])
    put_problem(source, "train", "4", record(4), b"no picture at all")
    put_problem(source, "train", "5", record(5, answer="Z"), diagram(5))
    put_problem(source, "train", "6", record(1), diagram(6))
    put_problem(source, "train", "7", record(7), diagram(7, size=(2000, 8)))
    put_problem(source, "train", "8", record(8, id="../8"), diagram(8))
    put_problem(source, "train", "9", record(9), diagram(9))
    put_problem(source, "train", "10", record(10), diagram(10))
    (source / "train" / "9" / "data.json").write_text('{"id": 9, "choices": [')
    (source / "train" / "10" / "data.json").unlink()
    put_problem(source, "train", "11", record(11, annotat_text="Find\r\nx"), diagram(11))
    put_problem(source, "train", "12", record(12), b"")
    (source / "train" / "13").mkdir()
    manifest = run(source, out)
    assert reasons(manifest["refused"]) == {
        "bad_id": ["train/8"],
        "broken_record": ["train/9"],
        "duplicate_id": ["train/6"],
        "image_absurd_size": ["train/7"],
        "image_truncated": ["train/3"],
        "image_unknown_format": ["train/4"],
        "letter_without_choice": ["train/5"],
        "missing_image": ["train/2", "train/12"],
        "missing_record": ["train/10", "train/13"],
    }
    assert reasons(manifest["repaired"]) == {"line_ends": ["train/11"]}
    assert manifest["splits"] == {"train": {"rows_read": 13, "rows_written": 2, "rows_refused": 11}}
    assert pq.read_table(out / "train.parquet", columns=["id"])["id"].to_pylist() == [
        "geometry3k-train-1",
        "geometry3k-train-11",
    ]
    on_disk = json.loads((out / "manifest.json").read_text())
    assert on_disk == manifest
    assert on_disk["refused"]["missing_image"]["count"] == 2
    assert all(entry["meaning"] for kind in ("refused", "repaired") for entry in on_disk[kind].values())


def test_record_with_nan_and_byte_order_mark_is_read(tmp_path: Path) -> None:
    put_problem(tmp_path / "in", "test", "1", record(1), diagram(1))
    text = json.dumps(record(1, precise_value=[1, float("nan"), 3, 4]))
    (tmp_path / "in" / "test" / "1" / "data.json").write_bytes(b"\xef\xbb\xbf" + text.encode())
    manifest = run(tmp_path / "in", tmp_path / "out")
    assert reasons(manifest["repaired"]) == {"precise_value_text": ["test/1"]}
    assert manifest["splits"]["test"]["rows_written"] == 1
