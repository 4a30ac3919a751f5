"""Training, validation and test problems share no numbers, and every split has every family and level."""

import itertools
import pickle
import re

import pytest

from tests.unit.geosynth.support import CELLS
from uec_vlm.errors import DataError
from uec_vlm.geosynth import ProblemSet
from uec_vlm.geosynth.problem import draft
from uec_vlm.geosynth.splits import SPLITS, split_of


def _set(split: str, count: int = 240, seed: int = 0, **settings: object) -> ProblemSet:
    return ProblemSet(split=split, count=count, seed=seed, **settings)  # type: ignore[arg-type]


def test_splits_share_no_signature_and_no_question_with_its_numbers() -> None:
    found = {split: list(_set(split).problems()) for split in SPLITS}
    seen = {split: {problem.signature for problem in rows} for split, rows in found.items()}
    words = {split: {_plain(problem) for problem in rows} for split, rows in found.items()}
    for first, second in itertools.combinations(SPLITS, 2):
        assert not seen[first] & seen[second]
        assert not words[first] & words[second]
    for split, rows in found.items():
        assert {split_of(problem.signature) for problem in rows} == {split}


def _plain(problem) -> str:  # type: ignore[no-untyped-def]
    """Question and drawn values without the points' letters."""
    labels = [label for label in problem.labels if not label.role.startswith("vertex")]
    drawn = sorted(f"{re.sub('[A-Z]', '', label.role)}{label.text}" for label in labels)
    return f"{problem.family}{problem.level}{re.sub('[A-Z]', '', problem.question)}{drawn}{problem.answer}"


def test_every_family_and_level_is_in_every_split() -> None:
    for split in SPLITS:
        rows = list(_set(split, count=len(CELLS), seed=5).problems())
        assert sorted((problem.family, problem.level) for problem in rows) == sorted(CELLS)


@pytest.mark.parametrize(("family", "level"), CELLS)
def test_held_out_numbers_are_many_enough(family: str, level: int) -> None:
    """Among 800 seeds every split has numbers, and training has at least 20 different sets of them."""
    counts = dict.fromkeys(SPLITS, 0)
    for signature in {draft(family, level, seed).signature for seed in range(800)}:
        counts[split_of(signature)] += 1
    assert counts["train"] >= 20 and min(counts.values()) >= 1, counts


def test_a_set_is_a_sequence_made_on_demand() -> None:
    samples = _set("train", count=20)
    assert len(samples) == 20 and len(list(samples)) == 20
    assert samples[3] == samples[3] == list(samples)[3] == _set("train", count=20)[3]
    assert samples[-1] == samples[19] and samples[2:4] == [samples[2], samples[3]]
    assert _set("train", count=20, seed=1)[3] != samples[3]
    assert _set("train", count=500)[3] == samples[3], "a longer set begins with the shorter one"
    assert pickle.loads(pickle.dumps(samples))[5] == samples[5]
    with pytest.raises(IndexError):
        samples[20]


def test_image_size_changes_the_picture_only() -> None:
    small, large = _set("test", count=3)[1], _set("test", count=3, image_size=224)[1]
    assert (small.problem, small.answer, small.choices) == (large.problem, large.answer, large.choices)
    assert small.images != large.images


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(DataError, match="split 'dev' does not exist"):
        _set("dev")
    with pytest.raises(DataError, match="count = -1 is negative"):
        _set("train", count=-1)
    with pytest.raises(DataError, match=r"levels \[7\] do not exist"):
        _set("train", levels=(1, 7))
    with pytest.raises(DataError, match="families"):
        _set("train", families=[])
