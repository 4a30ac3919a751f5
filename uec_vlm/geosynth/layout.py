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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from uec_vlm.errors import DataError
from uec_vlm.geosynth.glyphs import typeset
from uec_vlm.geosynth.scene import Kind, Sketch

Box = tuple[float, float, float, float]
Segment = tuple[complex, complex]

# Character size, how many poses are tried with it, and whether an angle's label must be nearest to its own corner.
_STAGES = ((1.0, 6, True), (0.88, 6, True), (0.76, 10, True), (0.66, 16, True), (0.6, 16, False))
_BORDER = 2.0
_TURN = {1: (0, 10), 2: (1, 16), 3: (1, 45)}


@dataclass(frozen=True)
class Tag:
    """A label to be placed: what is drawn (`ink`), what is recorded (`text`), and where it belongs (`kind`, `at`)."""

    kind: Kind
    at: str
    ink: str
    text: str
    role: str


@dataclass(frozen=True)
class Placed:
    """A tag with its whole-pixel box (left, top, right, bottom) and its character size."""

    tag: Tag
    box: Box
    size: int


@dataclass(frozen=True)
class Layout:
    """A placed figure: points in pixels (y downwards), the scale from sketch units to pixels, labels."""

    points: dict[str, complex]
    scale: float
    mirrored: bool
    placed: tuple[Placed, ...]
    width: float


@dataclass(frozen=True)
class _Frame:
    """A turned and scaled sketch in pixels, and everything in it that a label should not touch."""

    sketch: Sketch
    points: dict[str, complex]
    mirrored: bool
    corners: tuple[complex, ...]
    segments: tuple[Segment, ...]
    circles: tuple[tuple[complex, float], ...]
    middle: complex
    half_width: float


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
        placing = _place_all(tags, _frame(sketch, points, mirrored, scale, image_size, strict), size)
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


def _frame(
    sketch: Sketch, points: dict[str, complex], mirrored: bool, scale: float, image_size: int, strict: bool
) -> _Frame:
    drawn_lines = (*sketch.lines, *sketch.dashed, *sketch.arrows)
    segments = [(points[at[0]], points[at[1]]) for at in drawn_lines]
    ends = "".join(drawn_lines)
    corners = tuple(place for name, place in points.items() if ends.count(name) > 1)
    for at in sketch.right_angles:
        one, two, three = square_corner(points, at, image_size)
        segments += [(one, two), (two, three)]
    for count, group in enumerate(sketch.equal, start=1):
        for at in group:
            segments += ticks(points, at, count, image_size)
    circles = tuple((points[centre], radius * scale) for centre, radius in sketch.circles)
    drawn = [place for segment in segments for place in segment] + [centre for centre, _ in circles]
    middle = sum(drawn, 0j) / len(drawn) if drawn else 0j
    return _Frame(
        sketch,
        points,
        mirrored,
        corners if strict else (),
        tuple(segments),
        circles,
        middle,
        line_width(image_size) / 2,
    )


_ORDER: dict[Kind, int] = {"angle": 0, "side": 1, "arc": 2, "vertex": 3}


def _place_all(tags: Sequence[Tag], frame: _Frame, size: int) -> tuple[int, list[Placed]] | None:
    """Every label at its first free place, and how many of them stand upon a line; None if one finds no place."""
    placed: list[Placed] = []
    on_lines = 0
    for tag in sorted(tags, key=lambda tag: _ORDER[tag.kind]):
        ink = typeset(tag.ink, size)
        found = None
        for centre, upon_line in _candidates(tag, frame, ink.width / 2, ink.height / 2):
            left, top = round(centre.real - ink.width / 2), round(centre.imag - ink.height / 2)
            box = (left, top, left + ink.width, top + ink.height)
            if _clear_of_labels(box, placed) and (upon_line or _clear_of_lines(box, frame)):
                found = Placed(tag, box, size)
                on_lines += upon_line
                break
        if found is None:
            return None
        placed.append(found)
    return on_lines, placed


def _candidates(tag: Tag, frame: _Frame, half_wide: float, half_high: float) -> Iterator[tuple[complex, bool]]:
    """Centres to try for a label, best first, and whether it would stand upon a line there."""
    gap = frame.half_width + 1.5
    points = frame.points
    if tag.kind == "side":
        yield from _beside(points[tag.at[0]], points[tag.at[1]], frame.middle, half_wide, half_high, gap)
    elif tag.kind == "angle":
        corner = points[tag.at[1]]
        rays = (points[tag.at[0]] - corner, points[tag.at[2]] - corner)
        for centre in _between(corner, *rays, half_wide, half_high, gap):
            if _belongs(centre, corner, frame):
                yield centre, False
    elif tag.kind == "arc":
        yield from ((place, False) for place in _off_arc(tag.at, frame, half_wide, half_high, gap))
    else:
        yield from ((place, False) for place in _off_point(tag.at, frame, half_wide, half_high))


def _beside(
    start: complex, end: complex, middle: complex, half_wide: float, half_high: float, gap: float
) -> Iterator[tuple[complex, bool]]:
    """Places along a segment: off its middle on the outer side first, then the inner, last upon the line."""
    unit = (end - start) / (abs(end - start) or 1.0)
    normal = unit * 1j
    inward = (middle - (start + end) / 2).real * normal.real + (middle - (start + end) / 2).imag * normal.imag
    if inward > 0:
        normal = -normal
    away = abs(normal.real) * half_wide + abs(normal.imag) * half_high + gap
    for direction in (normal, -normal):
        for share in (0.5, 0.42, 0.58, 0.34, 0.66):
            yield start + (end - start) * share + direction * away, False
    for share in (0.5, 0.38, 0.62):
        yield start + (end - start) * share, True


def _between(
    corner: complex, first: complex, last: complex, half_wide: float, half_high: float, gap: float
) -> Iterator[complex]:
    """Places inside an angle below 180 degrees, nearest to its corner first."""
    opening = cmath.phase(last / first)
    unit = first / abs(first)
    normals = [unit * 1j * math.copysign(1, opening), -last / abs(last) * 1j * math.copysign(1, opening)]
    found: list[tuple[float, complex]] = []
    for share in (0.5, 0.42, 0.58, 0.34, 0.66):
        direction = unit * cmath.rect(1.0, opening * share)
        distance = half_high + gap
        for normal in normals:
            support = abs(normal.real) * half_wide + abs(normal.imag) * half_high + gap
            distance = max(distance, support / max(normal.real * direction.real + normal.imag * direction.imag, 0.05))
        found.append((distance, direction))
    nearest = min(distance for distance, _ in found)
    for stretch in (1.0, 1.15, 1.35, 1.6):
        for distance, direction in sorted(found, key=lambda item: item[0]):
            if distance * stretch <= 2.2 * nearest:
                yield corner + direction * distance * stretch


def _belongs(centre: complex, corner: complex, frame: _Frame) -> bool:
    """A reader takes the label at `centre` for the angle at `corner`: no other corner as near, no line between them."""
    distance = abs(centre - corner)
    if any(place != corner and abs(place - centre) < 1.05 * distance for place in frame.corners):
        return False
    return not any(start != corner != end and _cross(corner, centre, start, end) for start, end in frame.segments)


def _cross(first: complex, second: complex, start: complex, end: complex) -> bool:
    """The open segments cross."""
    one, two = end - start, second - first
    before = one.real * (first - start).imag - one.imag * (first - start).real
    after = one.real * (second - start).imag - one.imag * (second - start).real
    left = two.real * (start - first).imag - two.imag * (start - first).real
    right = two.real * (end - first).imag - two.imag * (end - first).real
    return before * after < -1e-9 and left * right < -1e-9


def _off_arc(at: str, frame: _Frame, half_wide: float, half_high: float, gap: float) -> Iterator[complex]:
    """Places outside an arc, off its middle first."""
    centre, first, last = (frame.points[name] for name in at)
    radius = abs(first - centre)
    sweep = cmath.phase((last - centre) / (first - centre)) * (1 if frame.mirrored else -1) % (2 * math.pi)
    for share in (0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74):
        turn = sweep * share * (1 if frame.mirrored else -1)
        direction = (first - centre) / radius * cmath.rect(1.0, turn)
        support = abs(direction.real) * half_wide + abs(direction.imag) * half_high + gap
        yield centre + direction * (radius + support)


def _off_point(name: str, frame: _Frame, half_wide: float, half_high: float) -> Iterator[complex]:
    """Places round a point, the direction that is freest of lines first."""
    at, taken = frame.points[name], []
    for line in (*frame.sketch.lines, *frame.sketch.dashed, *frame.sketch.arrows):
        if name in line:
            taken.append(frame.points[line[0]] + frame.points[line[1]] - 2 * at)
    for centre, radius in frame.circles:
        if abs(abs(at - centre) - radius) < 1.0:
            taken += [(centre - at) * 1j, (at - centre) * 1j, centre - at]
    if not taken:
        taken = [frame.middle - at or 1 + 0j]
    directions = [cmath.rect(1.0, 2 * math.pi * step / 16) for step in range(16)]
    ranked = sorted(directions, key=lambda way: -min(abs(cmath.phase(way / ray)) for ray in taken if ray))
    for stretch in (1.0, 1.6):
        for way in ranked[:7]:
            support = abs(way.real) * half_wide + abs(way.imag) * half_high
            yield at + way * (support + (frame.half_width + 1.5) * stretch)


def _clear_of_labels(box: Box, placed: Sequence[Placed]) -> bool:
    """Other labels are a space apart to the sides, so that two numbers are not read as one, and not touched above."""
    for item in placed:
        beside, above = max(5.0, 0.35 * item.size), max(2.0, 0.15 * item.size)
        left, top, right, bottom = item.box
        if box[0] - beside < right and left - beside < box[2] and box[1] - above < bottom and top - above < box[3]:
            return False
    return True


def _clear_of_lines(box: Box, frame: _Frame) -> bool:
    """No line passes nearer than half a pixel to the box."""
    reach = frame.half_width + 0.5
    left, top, right, bottom = box[0] - reach, box[1] - reach, box[2] + reach, box[3] + reach
    for start, end in frame.segments:
        x0, y0, x1, y1 = start.real, start.imag, end.real, end.imag
        if (x0 < left and x1 < left) or (x0 > right and x1 > right):
            continue
        if (y0 < top and y1 < top) or (y0 > bottom and y1 > bottom):
            continue
        dx, dy = x1 - x0, y1 - y0
        offset = dx * ((top + bottom) / 2 - y0) - dy * ((left + right) / 2 - x0)
        if abs(offset) <= (abs(dx) * (bottom - top) + abs(dy) * (right - left)) / 2:
            return False
    for centre, radius in frame.circles:
        near_x = max(left - centre.real, 0.0, centre.real - right)
        near_y = max(top - centre.imag, 0.0, centre.imag - bottom)
        far_x = max(abs(left - centre.real), abs(right - centre.real))
        far_y = max(abs(top - centre.imag), abs(bottom - centre.imag))
        if math.hypot(near_x, near_y) <= radius <= math.hypot(far_x, far_y):
            return False
    return True
