"""A gold that the verifier does not grade as right, or a wrong choice that it does, refuses the row."""

from dataclasses import replace
from pathlib import Path

import pytest

from data_prep.common import RowRefused
from data_prep.grade import grade_check
from data_prep.prepare import prepare
from data_prep.registry import DATASETS
from data_prep.sources import open_source
from tests.unit.data_prep.world import diagram, put_problem, reasons, record
from uec_vlm.records import Sample


def sample(answer: str, *choices: str) -> Sample:
    return Sample(id="s", source="s", problem="Find x.", answer=answer, choices=choices)


@pytest.mark.parametrize(
    "good",
    [
        sample("48"),
        sample("2\\sqrt{221}", "2\\sqrt{221}", "2\\sqrt{22}", "29"),
        sample("A D and B E", "A D and B E", "A D and C F"),
    ],
)
def test_good_golds_pass(good: Sample) -> None:
    grade_check(good)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (sample(""), "gold_not_graded_right"),
        (sample("0.5", "0.5", "\\frac{1}{2}", "7"), "wrong_choice_graded_right"),
        (sample("\\sqrt{8}", "3", "2\\sqrt{2}", "\\sqrt{8}"), "wrong_choice_graded_right"),
    ],
)
def test_bad_golds_are_refused_by_name(bad: Sample, reason: str) -> None:
    with pytest.raises(RowRefused) as refused:
        grade_check(bad)
    assert refused.value.reason == reason


def test_the_manifest_counts_them(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        put_problem(tmp_path / "in", "train", str(number), record(number), diagram(number))

    def check(one: Sample) -> None:
        grade_check(replace(one, answer="") if one.id.endswith("-2") else one)

    spec = DATASETS["geometry3k"]
    source = open_source("geometry3k", spec, str(tmp_path / "in"))
    manifest = prepare("geometry3k", spec, source, tmp_path / "out", grade_check=check)
    assert reasons(manifest["refused"]) == {"gold_not_graded_right": ["train/2"]}
    assert manifest["splits"]["train"] == {"rows_read": 3, "rows_written": 2, "rows_refused": 1}
    assert manifest["grade_check"] is True
