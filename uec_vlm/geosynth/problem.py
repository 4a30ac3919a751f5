"""The finished problem and how it is made from a family, a level and a seed."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from uec_vlm.errors import DataError
from uec_vlm.geosynth.draw import LINE_COLOURS, paint, to_png
from uec_vlm.geosynth.families import FAMILIES
from uec_vlm.geosynth.layout import lay_out
from uec_vlm.geosynth.scene import LEVELS, Scene
from uec_vlm.geosynth.wording import Worded, four_choices, tags, word
from uec_vlm.records import IMAGE_PLACEHOLDER, Sample

SMALLEST_IMAGE = 84


@dataclass(frozen=True)
class Label:
    r"""A text in the picture.

    text: as a typist would write it ("12", "2x+10", `6\sqrt{2}`), without the degree sign. box: left, top, right,
    bottom in pixels, right and bottom exclusive. role: what carries it ("hypotenuse", "side AB", "angle ABC",
    "vertex A"); letters are named only where the picture shows them.
    """

    text: str
    box: tuple[float, float, float, float]
    role: str


@dataclass(frozen=True)
class GeoProblem:
    """One generated problem.

    answer: LaTeX without spaces ("12", "2.5", a fraction, a surd, a multiple of pi); as a number it is `value`.
    choices: four, ascending, the answer among them. solution: ASCII, ends with the answer. picture: PNG, RGB, square.
    needs_picture: the text alone does not determine the answer. facts: what the picture shows besides labels ("right
    triangle", "right angle ACB"). goal: what is asked ("x", "AB", "the area of the circle").
    signature: family, level, numbers and answer, without letters, wording and drawing; it decides the split.
    """

    id: str
    family: str
    level: int
    question: str
    answer: str
    value: float
    choices: tuple[str, ...]
    solution: str
    picture: bytes
    labels: tuple[Label, ...]
    needs_picture: bool
    facts: tuple[str, ...] = ()
    goal: str = "x"
    signature: str = ""


@dataclass(frozen=True)
class Draft:
    """A problem before it is drawn: enough to tell which split it belongs to."""

    family: str
    level: int
    seed: int
    scene: Scene
    worded: Worded
    signature: str


def make_problem(family: str, level: int, seed: int, *, image_size: int = 112) -> GeoProblem:
    """The problem of a family, a level (1, 2, 3) and a seed; the text does not depend on `image_size` (pixels, >= 84).

    Raises DataError for an unknown family or level or too small a picture.
    """
    return finish(draft(family, level, seed), image_size=image_size)


def draft(family: str, level: int, seed: int) -> Draft:
    """Numbers and wording of a problem, without its picture."""
    if family not in FAMILIES:
        raise DataError(f"geosynth: family {family!r} does not exist; choose from {sorted(FAMILIES)}")
    if level not in LEVELS:
        raise DataError(f"geosynth: level {level!r} does not exist; choose from {list(LEVELS)}")
    rng = random.Random(f"{family}/{level}/{seed}")
    scene = FAMILIES[family].build(rng, level)
    worded = word(scene, level=level, rng=rng)
    return Draft(family, level, seed, scene, worded, _signature(family, level, scene))


def _signature(family: str, level: int, scene: Scene) -> str:
    """All numbers and the answer, and nothing of how they are placed, named or asked."""
    told = re.findall(r"[\d.x+-]*\d[\d.x+-]*", scene.told)
    return "|".join([family, str(level), *sorted([*told, *(one.text for one in scene.given)]), scene.answer.latex])


def finish(drafted: Draft, *, image_size: int = 112) -> GeoProblem:
    """Draw a draft."""
    if image_size < SMALLEST_IMAGE:
        raise DataError(f"geosynth: image_size {image_size} leaves no room for labels; give at least {SMALLEST_IMAGE}")
    scene, worded = drafted.scene, drafted.worded
    name = f"{drafted.family}-{drafted.level}-{drafted.seed}"
    rng = random.Random(f"drawing of {name}")
    choices = four_choices(scene.answer, scene.wrong, rng)
    colour = rng.choice(LINE_COLOURS)
    wanted = tags(scene, worded, image_size=image_size)
    try:
        layout = lay_out(scene.sketch, wanted, level=drafted.level, image_size=image_size, rng=rng)
    except DataError as error:
        raise DataError(f"geosynth: problem {name}: {error}") from error
    picture = to_png(paint(scene.sketch, layout, image_size=image_size, colour=colour))
    labels = tuple(Label(item.tag.text, item.box, item.tag.role) for item in layout.placed)
    return GeoProblem(
        id=f"geosynth-{name}",
        family=drafted.family,
        level=drafted.level,
        question=worded.question,
        answer=scene.answer.latex,
        value=scene.answer.value,
        choices=choices,
        solution=scene.solution,
        picture=picture,
        labels=labels,
        needs_picture=worded.needs_picture,
        facts=_facts(scene, worded),
        goal=worded.goal,
        signature=drafted.signature,
    )


def _facts(scene: Scene, worded: Worded) -> tuple[str, ...]:
    """What the eye sees besides labels, with the points' letters only where they are shown."""
    sketch, facts = scene.sketch, list(scene.shows)
    for at in sketch.right_angles:
        facts.append(f"right angle {at}" if worded.lettered and at.isupper() else "right angle")
    for word_, groups in (("equal", sketch.equal), ("parallel", sketch.parallel)):
        for group in groups:
            named = worded.lettered and all(at.isupper() for at in group)
            facts.append(f"{word_} {' '.join(group)}" if named else f"{len(group)} {word_} sides")
    return tuple(facts)


def stream_seed(*parts: object) -> int:
    """A 62-bit seed from any parts, the same on every machine."""
    digest = hashlib.blake2b("/".join(str(part) for part in parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 2


def check_choice(families: Sequence[str] | None, levels: Sequence[int]) -> tuple[tuple[str, int], ...]:
    """All pairs of the asked families (None: all) and levels; refuses unknown ones by name."""
    names = list(FAMILIES) if families is None else list(families)
    unknown = [name for name in names if name not in FAMILIES]
    if unknown or not names:
        raise DataError(f"geosynth: families {unknown or names} do not exist; choose from {sorted(FAMILIES)}")
    strange = [level for level in levels if level not in LEVELS]
    if strange or not levels:
        raise DataError(f"geosynth: levels {strange or list(levels)} do not exist; choose from {list(LEVELS)}")
    return tuple((name, level) for level in levels for name in names)


def cell_of(cells: Sequence[tuple[str, int]], index: int, *, seed: int) -> tuple[str, int]:
    """The family and level of the problem at `index`: every block of `len(cells)` holds each pair once, shuffled."""
    block, place = divmod(index, len(cells))
    return cells[_block_order(len(cells), seed, block)[place]]


@lru_cache(maxsize=64)
def _block_order(count: int, seed: int, block: int) -> tuple[int, ...]:
    order = list(range(count))
    random.Random(f"block/{seed}/{block}").shuffle(order)
    return tuple(order)


def sample_problems(
    count: int,
    *,
    seed: int,
    families: Sequence[str] | None = None,
    levels: Sequence[int] = LEVELS,
    image_size: int = 112,
) -> Iterator[GeoProblem]:
    """`count` problems, made one by one, balanced over families x levels; of all splits (see `ProblemSet`)."""
    cells = check_choice(families, levels)
    for index in range(count):
        family, level = cell_of(cells, index, seed=seed)
        yield make_problem(family, level, stream_seed("any", seed, index), image_size=image_size)


def to_sample(problem: GeoProblem) -> Sample:
    """The problem as a record; the solution, family, level and `needs_picture` are in its metadata."""
    return Sample(
        id=problem.id,
        source="geosynth",
        problem=IMAGE_PLACEHOLDER + problem.question,
        answer=problem.answer,
        images=(problem.picture,),
        choices=problem.choices,
        answer_value=problem.value,
        metadata={
            "family": problem.family,
            "level": problem.level,
            "needs_picture": problem.needs_picture,
            "solution": problem.solution,
        },
    )


def describe(problem: GeoProblem) -> str:
    """A caption of the picture: facts, then labels in reading order, then what is asked.

    "right triangle; right angle ACB; leg AC 12; leg BC 5; find AB". Letters of corners that a side or an angle already
    names are left out.
    """
    spoken = [label for label in problem.labels if not label.role.startswith("vertex")]
    named = set("".join(re.findall(r"\b[A-Z]+\b", " ".join([*problem.facts, *(label.role for label in spoken)]))))
    rest = [label for label in problem.labels if label.role.startswith("vertex") and label.text not in named]
    rows = sorted([*spoken, *rest], key=_reading_order)
    parts = [*problem.facts]
    parts += [label.role if label.role.startswith("vertex") else f"{label.role} {label.text}" for label in rows]
    return "; ".join([*parts, f"find {problem.goal}"])


def _reading_order(label: Label) -> tuple[int, float]:
    """Rows of 28 pixels (one merged patch of Qwen2.5-VL) from the top, each from the left."""
    left, top, right, bottom = label.box
    return int((top + bottom) / 2 // 28), (left + right) / 2
