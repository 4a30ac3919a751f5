"""What is drawn is what is said: marks, relations and touching lines hold in the plane of every sketch."""

import cmath
import math

import pytest

from tests.unit.geosynth.support import CELLS
from uec_vlm.geosynth.problem import draft
from uec_vlm.geosynth.scene import Quantity, Scene, Sketch

EQUAL = {"vertical angle", "corresponding angle", "alternate angle"}
SUMMING = {"adjacent angle", "supplementary angle", "next angle"}


def _scenes(family: str, level: int, count: int = 25) -> list[Scene]:
    return [draft(family, level, seed).scene for seed in range(count)]


def _degrees(sketch: Sketch, at: str) -> float:
    first, corner, last = (sketch.points[name] for name in at)
    return abs(math.degrees(cmath.phase((first - corner) / (last - corner))))


def _length(sketch: Sketch, at: str) -> float:
    return abs(sketch.points[at[0]] - sketch.points[at[1]])


def _quantities(scene: Scene) -> list[Quantity]:
    return [*scene.given, *([scene.unknown] if scene.unknown else [])]


@pytest.mark.parametrize(("family", "level"), CELLS)
def test_marks_hold(family: str, level: int) -> None:
    for scene in _scenes(family, level):
        sketch = scene.sketch
        for at in sketch.right_angles:
            assert _degrees(sketch, at) == pytest.approx(90, rel=0, abs=1e-9)
        for group in sketch.equal:
            for at in group:
                assert _length(sketch, at) == pytest.approx(_length(sketch, group[0]), rel=0, abs=1e-9)
        for group in sketch.parallel:
            ways = [sketch.points[at[1]] - sketch.points[at[0]] for at in group]
            for way in ways:
                assert abs((way / ways[0]).imag) < 1e-9 and (way / ways[0]).real > 0


@pytest.mark.parametrize(("family", "level"), CELLS)
def test_every_quantity_has_its_place(family: str, level: int) -> None:
    """A length lies on drawn lines, an angle has drawn sides, an arc has its ends on a circle round its first point."""
    for scene in _scenes(family, level):
        sketch = scene.sketch
        drawn = (*sketch.lines, *sketch.dashed, *sketch.arrows)
        segments = [(sketch.points[at[0]], sketch.points[at[1]]) for at in drawn]
        for one in _quantities(scene):
            if one.kind == "arc":
                radius = dict(sketch.circles)[one.at[0]]
                assert all(_length(sketch, one.at[0] + name) == pytest.approx(radius, abs=1e-9) for name in one.at[1:])
            else:
                ends = [sketch.points[name] for name in one.at]
                steps = [(ends[0], ends[1])] if one.kind == "side" else [(ends[1], ends[0]), (ends[1], ends[2])]
                for start, end in steps:
                    near = start + (end - start) * 0.1
                    assert any(_on(near, *segment) for segment in segments), (one, sketch)
            assert one.kind != "angle" or 20 <= _degrees(sketch, one.at) <= 175


def _on(place: complex, start: complex, end: complex) -> bool:
    return abs(abs(place - start) + abs(place - end) - abs(start - end)) < 1e-9


@pytest.mark.parametrize(("family", "level"), CELLS)
def test_equal_angles_are_drawn_equal_and_summing_ones_sum(family: str, level: int) -> None:
    for scene in _scenes(family, level, 40):
        angles = [one for one in _quantities(scene) if one.kind == "angle"]
        for one in angles:
            others = [_degrees(scene.sketch, other.at) for other in angles if other is not one]
            size = _degrees(scene.sketch, one.at)
            parallelogram = one.noun == "opposite angle" and family == "parallelogram_angles"
            if one.noun in EQUAL or parallelogram:
                assert size == pytest.approx(others[0], rel=0, abs=1e-9)
            elif one.noun in SUMMING or one.noun == "opposite angle":
                assert size + others[0] == pytest.approx(180, rel=0, abs=1e-9)
            elif one.noun == "exterior angle":
                inner = [_degrees(scene.sketch, other.at) for other in angles if other.noun == "angle"]
                assert size == pytest.approx(sum(inner), rel=0, abs=1e-9)
        if family == "linear_pair":
            total = 90 if scene.sketch.right_angles else 180
            assert sum(_degrees(scene.sketch, one.at) for one in angles) == pytest.approx(total, rel=0, abs=1e-9)


@pytest.mark.parametrize("family", ["tangent", "two_tangents", "tangent_secant"])
def test_tangents_touch_their_circle_in_one_point(family: str) -> None:
    for scene in [scene for level in (1, 2, 3) for scene in _scenes(family, level)]:
        sketch = scene.sketch
        ((centre, radius),) = sketch.circles
        touching = [at for at in sketch.lines if _touches(sketch, at, centre, radius)]
        assert len(touching) == (2 if family == "two_tangents" else 1)


def _touches(sketch: Sketch, at: str, centre: str, radius: float) -> bool:
    start, end = (sketch.points[name] - sketch.points[centre] for name in at)
    way = (end - start) / abs(end - start)
    distance = abs((start * way.conjugate()).imag)
    return abs(distance - radius) < 1e-9


@pytest.mark.parametrize("family", ["side_splitter", "triangle_midsegment", "trapezoid_midsegment", "angle_bisector"])
def test_inner_lines_lie_as_their_theorem_says(family: str) -> None:
    for scene in [scene for level in (1, 2, 3) for scene in _scenes(family, level)]:
        sketch = scene.sketch
        names = [name for name in sketch.points if name.isupper()]
        if family == "angle_bisector":
            _, left, right, foot = names
            assert _on(sketch.points[foot], sketch.points[left], sketch.points[right])
        else:
            base = names[0] + names[1] if family == "trapezoid_midsegment" else names[1] + names[2]
            inner = sketch.lines[-1]
            ways = [sketch.points[at[1]] - sketch.points[at[0]] for at in (inner, base)]
            assert abs((ways[0] / ways[1]).imag) < 1e-9
