"""What is particular to single data sets: faults in their own columns are refused or told by name."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data_prep import gsm8k
from data_prep.common import RawRow, RowRefused
from data_prep.prepare import prepare
from data_prep.registry import DATASETS
from tests.unit.data_prep.test_any_row import first_record
from tests.unit.data_prep.world import diagram


def raw(name: str, **changes: Any) -> RawRow:
    layout, fields = first_record(name)
    pictures = () if name in ("math12k", "gsm8k", "dapo17k") else (diagram(1),)
    return RawRow("test", "test/00000", layout, {**fields, **changes}, pictures)


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("mathvista", {"answer": "61°"}, "answer_not_a_choice"),
        ("mathvista", {"choices": "30°"}, "answer_not_a_choice"),
        ("wemath", {"option": "7 or 12"}, "too_few_choices"),
        ("wemath", {"answer": "F"}, "letter_without_choice"),
        ("mathvision", {"options": ["1", "2"], "answer": "C"}, "letter_without_choice"),
        ("gsm8k", {"answer": "it is 12"}, "missing_field"),
        ("dapo17k", {"reward_model": None}, "missing_field"),
        ("dapo17k", {"prompt": []}, "missing_field"),
        ("multimodal_open_r1", {"solution": "three"}, "missing_field"),
        ("geoqa_r1v", {"solution": "<answer> </answer>"}, "empty_answer"),
        ("geoqa_formalgeo", {"problem_answer": "x+1"}, "answer_not_understood"),
        ("virl39k", {"question": "<image><image>q"}, "placeholder_mismatch"),
        ("mmk12", {"question": "  "}, "empty_text"),
    ],
)
def test_faults_are_refused_by_name(name: str, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowRefused) as refused:
        DATASETS[name].convert(raw(name, **changes))
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("mmk12", {"id": "an id/with signs"}, "id_not_plain"),
        ("mathvision", {"question": "<image1> and <image2>: find x."}, "extra_image_tags"),
        ("mathverse", {"question": ""}, "question_in_picture"),
    ],
)
def test_repairs_and_notes_are_told_by_name(name: str, changes: dict[str, Any], reason: str) -> None:
    assert reason in [event.reason for event in DATASETS[name].convert(raw(name, **changes)).events]
    assert reason not in [event.reason for event in DATASETS[name].convert(raw(name)).events]


def test_a_repeated_dapo_problem_has_the_same_id() -> None:
    once, again = raw("dapo17k"), replace(raw("dapo17k"), place="test/00009")
    other = raw("dapo17k", prompt=[{"role": "user", "content": "Another problem."}])
    ids = [DATASETS["dapo17k"].convert(row).sample.id for row in (once, again, other)]
    assert ids[0] == ids[1] != ids[2]
    assert "Answer" not in DATASETS["dapo17k"].convert(once).sample.problem


def test_the_set_that_the_documentation_adds_is_prepared(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "extend.md").read_text(encoding="utf-8")
    code = page.split("## A data set")[1].split("```python\n")[1].split("```")[0]
    namespace = dict(vars(gsm8k))
    exec(code, namespace)
    rows = [{"question": "What is the capital of France?", "answer": "Paris"}, {"question": "Of Italy?"}]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (source,) = (opened for one in namespace["SPEC"].sources if (opened := one(tmp_path)) is not None)
    manifest = prepare("capitals", namespace["SPEC"], source, tmp_path / "out", grade_check=None)
    assert (manifest["licence"], manifest["splits"]["train"]["rows_written"]) == ("CC0", 1)
    assert list(manifest["refused"]) == ["missing_field"]
