"""Every family at every level over many seeds: valid, exact in its choices, drawn where it says, readable."""

import io
import itertools

import pytest
from PIL import Image

from tests.unit.geosynth.support import CELLS, latex_to_float, problems
from uec_vlm.errors import DataError
from uec_vlm.geosynth import FAMILIES, GeoProblem, describe, make_problem, sample_problems, to_sample
from uec_vlm.geosynth.glyphs import typeset


@pytest.mark.parametrize(("family", "level"), CELLS)
def test_problems_are_valid(family: str, level: int) -> None:
    for problem in problems(family, level):
        assert problem.question.isascii() and problem.solution.isascii()
        assert problem.question.endswith(".") and "find " in problem.question.lower()
        assert latex_to_float(problem.answer) == pytest.approx(problem.value, rel=0, abs=1e-9 * problem.value)
        assert problem.value > 0
        assert problem.solution.endswith(f"={problem.answer}"), problem.solution
        _check_choices(problem)
        assert problem.id == f"geosynth-{family}-{level}-{problem.id.rsplit('-', 1)[1]}"
        assert " " not in problem.answer


def _check_choices(problem: GeoProblem) -> None:
    values = [latex_to_float(choice) for choice in problem.choices]
    assert len(values) == 4 and problem.answer in problem.choices
    assert values == sorted(values)
    for first, second in itertools.pairwise(values):
        assert second - first > 0.0099 * second


@pytest.mark.parametrize(("family", "level"), CELLS)
def test_labels_are_inside_and_apart(family: str, level: int) -> None:
    for problem in problems(family, level):
        boxes = [label.box for label in problem.labels]
        for place, (left, top, right, bottom) in enumerate(boxes):
            assert 1 <= left < right <= 111 and 1 <= top < bottom <= 111, problem.id
            assert bottom - top >= 6
            for other in boxes[place + 1 :]:
                apart = left >= other[2] + 1 or other[0] >= right + 1 or top >= other[3] + 1 or other[1] >= bottom + 1
                assert apart, (problem.id, boxes)


@pytest.mark.parametrize("image_size", [84, 112, 168, 224, 336, 512])
def test_every_size_is_drawn_with_the_same_text(image_size: int) -> None:
    for family, level in CELLS[image_size % 7 :: 7]:
        for seed in range(3):
            problem = make_problem(family, level, seed, image_size=image_size)
            picture = Image.open(io.BytesIO(problem.picture))
            assert (picture.size, picture.mode, picture.format) == ((image_size, image_size), "RGB", "PNG")
            usual = make_problem(family, level, seed)
            assert (problem.question, problem.answer, problem.choices) == (usual.question, usual.answer, usual.choices)
            assert [label.text for label in problem.labels] == [label.text for label in usual.labels]


def test_what_a_label_says_stands_in_its_box() -> None:
    """The ink in each box is the label's own: black wherever the characters are, white around them."""
    for family, level in CELLS[::5]:
        for problem in problems(family, level, count=5):
            picture = Image.open(io.BytesIO(problem.picture)).convert("L")
            for label in problem.labels:
                left, top, right, bottom = (int(edge) for edge in label.box)
                sizes = [size for size in range(8, 20) if _size(label.text, size) == (right - left, bottom - top)]
                inks = [255 - byte for byte in picture.crop((left, top, right, bottom)).tobytes()]
                masks = [typeset(label.text, size).mask.tobytes() for size in sizes]
                assert any(all(abs(a - b) <= 1 for a, b in zip(inks, mask, strict=True)) for mask in masks), problem.id


def _size(text: str, size: int) -> tuple[int, int]:
    ink = typeset(text, size)
    return ink.width, ink.height


@pytest.mark.parametrize(("family", "level"), CELLS)
def test_the_same_seed_gives_the_same_problem_and_another_seed_another(family: str, level: int) -> None:
    assert make_problem(family, level, 7) == make_problem(family, level, 7)
    assert len({problem.signature for problem in problems(family, level, count=12)}) >= 8
    assert len({problem.picture for problem in problems(family, level, count=12)}) == 12


@pytest.mark.parametrize(
    ("family", "level", "seed", "question", "answer"),
    [
        ("right_triangle", 1, 0, "Find x.", "9"),
        ("special_right", 3, 5, "If m \\angle YWX=45, find x.", "\\frac{23\\sqrt{6}}{2}"),
        ("parallel_lines", 2, 3, "Find x.", "16"),
        ("circle_area", 2, 1, "Find the area of the circle.", "\\frac{961\\pi}{4}"),
        ("regular_polygon", 3, 4, "Find the perimeter of the regular polygon.", "72"),
        ("trigonometry", 3, 0, "Find QS. Round to the nearest tenth.", "15.7"),
    ],
)
def test_numbers_of_a_seed_stay(family: str, level: int, seed: int, question: str, answer: str) -> None:
    """Golden: whoever changes these changes the world that the starter policy was trained in."""
    problem = make_problem(family, level, seed)
    assert (problem.question, problem.answer) == (question, answer)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_most_problems_need_their_picture_and_say_which(family: str) -> None:
    found = [problem for level in (1, 2, 3) for problem in problems(family, level, count=25)]
    share = sum(not problem.needs_picture for problem in found) / len(found)
    assert 0.02 <= share <= 0.35
    for problem in found:
        shown = [label.text for label in problem.labels if not label.role.startswith("vertex")]
        if problem.needs_picture:
            assert shown, problem.question
        else:
            assert not shown, "a picture that is not needed shows no numbers"


def test_large_characters_are_the_rule() -> None:
    found = [problem for family, level in CELLS for problem in problems(family, level, count=10)]
    heights = [min(label.box[3] - label.box[1] for label in problem.labels if label.text.isdigit())
               for problem in found if any(label.text.isdigit() for label in problem.labels)]  # fmt: skip
    assert sum(height >= 12 for height in heights) / len(heights) > 0.93


def test_first_level_solutions_are_short() -> None:
    for family in FAMILIES:
        for problem in problems(family, 1):
            assert len(problem.solution) <= 60, problem.solution


def test_samples_are_balanced_and_carry_their_metadata() -> None:
    found = list(sample_problems(2 * len(CELLS), seed=3))
    assert sorted((problem.family, problem.level) for problem in found) == sorted(CELLS * 2)
    assert len({problem.id for problem in found}) == len(found)
    for problem in found[:20]:
        sample = to_sample(problem)
        assert sample.problem == "<image>" + problem.question
        assert (sample.answer, sample.choices, sample.images) == (problem.answer, problem.choices, (problem.picture,))
        assert sample.answer_value == problem.value
        assert sample.metadata == {
            "family": problem.family,
            "level": problem.level,
            "needs_picture": problem.needs_picture,
            "solution": problem.solution,
        }


def test_another_seed_draws_other_problems_and_families_can_be_chosen() -> None:
    first, second = (list(sample_problems(30, seed=seed, families=["chord", "isosceles"], levels=(1, 2)))
                     for seed in (0, 1))  # fmt: skip
    assert {(problem.family, problem.level) for problem in first} == {
        ("chord", 1), ("chord", 2), ("isosceles", 1), ("isosceles", 2),
    }  # fmt: skip
    assert not {problem.picture for problem in first} & {problem.picture for problem in second}


def test_a_caption_names_facts_labels_in_reading_order_and_the_goal() -> None:
    for family, level in CELLS:
        for problem in problems(family, level, count=6):
            caption = describe(problem)
            assert caption.isascii() and caption.endswith(f"find {problem.goal}")
            for label in problem.labels:
                assert label.text in caption
    right = next(problem for problem in problems("right_triangle", 1) if problem.question == "Find x.")
    assert describe(right).startswith("right triangle; right angle; ")
    assert sorted(part.split()[0] for part in describe(right).split("; ")[2:5]) == ["hypotenuse", "leg", "leg"]


def test_wrong_requests_are_refused_by_name() -> None:
    with pytest.raises(DataError, match="family 'circle' does not exist; choose from"):
        make_problem("circle", 1, 0)
    with pytest.raises(DataError, match="level 4 does not exist"):
        make_problem("chord", 4, 0)
    with pytest.raises(DataError, match="image_size 50 leaves no room"):
        make_problem("chord", 1, 0, image_size=50)
    with pytest.raises(DataError, match="circle"):
        next(sample_problems(1, seed=0, families=["circle"]))
