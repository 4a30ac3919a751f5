"""Every family at every level over many seeds: valid, exact, drawn, readable."""

import io

import pytest
from PIL import Image

from uec_vlm.geosynth import FAMILIES, describe, make_problem, sample_problems, to_sample

CELLS = [(family, level) for family in FAMILIES for level in (1, 2, 3)]


@pytest.mark.parametrize(("family", "level"), CELLS)
def test_the_same_seed_gives_the_same_problem(family: str, level: int) -> None:
    assert make_problem(family, level, 7) == make_problem(family, level, 7)
    assert len({make_problem(family, level, seed).question + make_problem(family, level, seed).answer
                for seed in range(12)}) > 3  # fmt: skip


@pytest.mark.parametrize(("family", "level"), CELLS)
def test_pictures_open_with_the_asked_size(family: str, level: int) -> None:
    for size in (112, 200):
        picture = Image.open(io.BytesIO(make_problem(family, level, 1, image_size=size).picture))
        assert (picture.size, picture.mode, picture.format) == ((size, size), "RGB", "PNG")


def test_samples_are_balanced_and_carry_their_metadata() -> None:
    problems = list(sample_problems(2 * len(CELLS), seed=3))
    assert sorted((problem.family, problem.level) for problem in problems) == sorted(CELLS * 2)
    sample = to_sample(problems[0])
    assert sample.problem == "<image>" + problems[0].question
    assert sample.metadata["solution"] == problems[0].solution
    assert describe(problems[0]).endswith(f"find {problems[0].goal}")
