"""Where everything stands in the picture: the sketch is turned and scaled, every label finds a free place.

The one place that knows about pixels before drawing. A label is tried at a list of places that suit its kind (a length
beside its segment, an angle between its rays, a letter off its corner); the first place that touches neither another
label nor a line is taken. The figure is scaled so that it and its labels fill the picture; if no free place is left,
it is turned another way, and then the labels are set smaller.
"""

from __future__ import annotations

import cmath
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from uec_vlm.errors import DataError
from uec_vlm.geosynth.places import Box, Frame, Placed, Segment, Tag, place_all
from uec_vlm.geosynth.scene import Sketch

# Character size, how many poses are tried with it, and whether an angle's label must be nearest to its own corner.
_STAGES = ((1.0, 6, True), (0.88, 6, True), (0.76, 10, True), (0.66, 16, True), (0.6, 16, False))
_BORDER = 2.0
_TURN = {1: (0, 10), 2: (1, 16), 3: (1, 45)}


@dataclass(frozen=True)
class Layout:
    """A placed figure: points in pixels (y downwards), the scale from sketch units to pixels, labels."""

    points: dict[str, complex]
    scale: float
    mirrored: bool
    placed: tuple[Placed, ...]
    width: float


def font_size(image_size: int) -> int:
    """Character size in pixels: 17 at 112 (digits 12 high), growing more slowly than the picture."""
    return round(8 + image_size * 0.0805) if image_size >= 112 else round(image_size * 17 / 112)


def line_width(image_size: int) -> float:
    """Thickness of the lines in pixels: 2 at 112, 3 at 336."""
    return 1.5 + image_size * 0.0045


def lay_out(sketch: Sketch, tags: Sequence[Tag], *, level: int, image_size: int, rng: random.Random) -> Layout:
    """Place a sketch and its labels in a square picture.

    Raises DataError where no arrangement keeps the labels apart and inside.
    """
    poses: list[tuple[complex, bool]] = []
    for factor, attempts, strict in _STAGES:
        best: tuple[int, Layout] | None = None
        for attempt in range(attempts):
            if attempt == len(poses):
                poses.append(_pose(sketch, level, rng))
            size = round(font_size(image_size) * factor)
            found = _fit(sketch, tags, poses[attempt], size, image_size, strict)
            if found is not None and (best is None or found[0] < best[0]):
                best = found
            if best is not None and best[0] == 0:
                return best[1]
        if best is not None:
            return best[1]
    texts = [tag.text for tag in tags]
    raise DataError(f"geosynth: no room for the labels {texts} in {image_size} px; ask for a larger picture")


def _pose(sketch: Sketch, level: int, rng: random.Random) -> tuple[complex, bool]:
    """A rotation (a unit complex number) and whether the figure is mirrored."""
    quarters, sway = _TURN[level]
    if sketch.upright:
        quarters, sway = 0, min(sway, 6)
    degrees = rng.uniform(-sway, sway) + 90 * quarters * rng.randrange(4)
    return cmath.rect(1.0, math.radians(degrees)), rng.random() < 0.5


def _fit(
    sketch: Sketch, tags: Sequence[Tag], pose: tuple[complex, bool], size: int, image_size: int, strict: bool
) -> tuple[int, Layout] | None:
    """Scale the turned sketch so that lines and labels fill the picture; None where labels collide.

    Returns the number of labels that had to be written upon a line, and the layout.
    """
    turn, mirrored = pose
    turned = {
        name: (place.conjugate() if mirrored else place).conjugate() * turn for name, place in sketch.points.items()
    }
    left, top, right, bottom = _extent(turned, sketch, 1.0)
    span = max(right - left, bottom - top)
    room = image_size - 2 * _BORDER
    scale = 0.94 * room / span
    for _ in range(4):
        points = {name: place * scale for name, place in turned.items()}
        placing = place_all(tags, _frame(sketch, points, mirrored, scale, image_size, strict), size)
        if placing is None:
            return None
        on_lines, placed = placing
        bare = _extent(points, sketch, scale)
        whole = _union([bare, *(item.box for item in placed)])
        wide, high = whole[2] - whole[0], whole[3] - whole[1]
        if wide <= room and high <= room and max(wide, high) >= 0.9 * room:
            return on_lines, _centred(points, placed, whole, scale, mirrored, image_size)
        extra_wide, extra_high = wide - (bare[2] - bare[0]), high - (bare[3] - bare[1])
        fitting = min(
            (room - extra_wide) / max(bare[2] - bare[0], 1e-9), (room - extra_high) / max(bare[3] - bare[1], 1e-9)
        )
        if fitting <= 0.25:
            return None
        scale *= fitting * (0.985 if fitting < 1 else 0.97)
    if wide <= room and high <= room:
        return on_lines, _centred(points, placed, whole, scale, mirrored, image_size)
    return None


def _centred(
    points: dict[str, complex], placed: list[Placed], whole: Box, scale: float, mirrored: bool, image_size: int
) -> Layout:
    """Everything moved by whole pixels, so that it stands in the middle."""
    right = math.floor((image_size - whole[0] - whole[2]) / 2)
    down = math.floor((image_size - whole[1] - whole[3]) / 2)
    shift = complex(right, down)
    moved = tuple(
        Placed(item.tag, (item.box[0] + right, item.box[1] + down, item.box[2] + right, item.box[3] + down), item.size)
        for item in placed
    )
    width = line_width(image_size)
    return Layout({name: place + shift for name, place in points.items()}, scale, mirrored, moved, width)


def _extent(points: dict[str, complex], sketch: Sketch, scale: float) -> Box:
    xs = [place.real for place in points.values()]
    ys = [place.imag for place in points.values()]
    box = (min(xs), min(ys), max(xs), max(ys))
    for centre, radius in sketch.circles:
        at, reach = points[centre], radius * scale
        box = _union([box, (at.real - reach, at.imag - reach, at.real + reach, at.imag + reach)])
    return box


def _union(boxes: Sequence[Box]) -> Box:
    return (
        min(box[0] for box in boxes),
        min(box[1] for box in boxes),
        max(box[2] for box in boxes),
        max(box[3] for box in boxes),
    )


def mark_size(image_size: int) -> float:
    """Side of the square in a right angle, in pixels: 8 at 112."""
    return 5 + image_size * 0.027


def dot_radius(image_size: int) -> float:
    """Radius of the dot at a point, in pixels."""
    return 1.3 * line_width(image_size)


def square_corner(points: dict[str, complex], at: str, image_size: int) -> tuple[complex, complex, complex]:
    """The three points of the small square in the right angle `at`."""
    corner, reach = points[at[1]], mark_size(image_size)
    first, second = points[at[0]] - corner, points[at[2]] - corner
    along, across = first / abs(first) * reach, second / abs(second) * reach
    return corner + along, corner + along + across, corner + across


def ticks(points: dict[str, complex], at: str, count: int, image_size: int) -> list[Segment]:
    """`count` short strokes across the middle of a segment."""
    start, end = points[at[0]], points[at[1]]
    unit = (end - start) / abs(end - start)
    half, step = unit * 1j * mark_size(image_size) * 0.45, unit * mark_size(image_size) * 0.4
    middle = (start + end) / 2
    offsets = [(index - (count - 1) / 2) * step for index in range(count)]
    return [(middle + offset - half, middle + offset + half) for offset in offsets]


def chevrons(points: dict[str, complex], at: str, image_size: int) -> tuple[complex, complex]:
    """Where the arrow head of a parallel segment stands, and its half as a vector along the segment.

    In the middle, or near the end where another point lies in the middle.
    """
    start, end = points[at[0]], points[at[1]]
    along = (end - start) / abs(end - start) * mark_size(image_size) / 2
    middle = (start + end) / 2
    if any(abs(place - middle) < mark_size(image_size) for place in points.values()):
        middle = start + (end - start) * 0.93
    return middle, along


def _frame(
    sketch: Sketch, points: dict[str, complex], mirrored: bool, scale: float, image_size: int, strict: bool
) -> Frame:
    drawn_lines = (*sketch.lines, *sketch.dashed, *sketch.arrows)
    lines = tuple((points[at[0]], points[at[1]]) for at in drawn_lines)
    segments = list(lines)
    ends = "".join(drawn_lines)
    corners = tuple(place for name, place in points.items() if ends.count(name) > 1)
    for at in sketch.right_angles:
        one, two, three = square_corner(points, at, image_size)
        segments += [(one, two), (two, three)]
    for count, group in enumerate(sketch.equal, start=1):
        for at in group:
            segments += ticks(points, at, count, image_size)
    for group in sketch.parallel:
        for at in group:
            middle, along = chevrons(points, at, image_size)
            segments.append((middle - along * 1j, middle + along * 1j))
    for name in sketch.dots:
        reach = dot_radius(image_size)
        segments += [(points[name] - way * reach, points[name] + way * reach) for way in (1, 1j)]
    circles = tuple((points[centre], radius * scale) for centre, radius in sketch.circles)
    drawn = [place for segment in segments for place in segment] + [centre for centre, _ in circles]
    middle = sum(drawn, 0j) / len(drawn) if drawn else 0j
    return Frame(
        sketch,
        points,
        mirrored,
        corners if strict else (),
        lines,
        tuple(segments),
        circles,
        middle,
        line_width(image_size) / 2,
    )
