"""Free places for labels: a list of candidates for each kind of label, and what they must not touch."""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from uec_vlm.geosynth.glyphs import typeset
from uec_vlm.geosynth.scene import Kind, Sketch

Box = tuple[float, float, float, float]
Segment = tuple[complex, complex]


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
class Frame:
    """A turned and scaled sketch in pixels, and everything in it that a label should not touch."""

    sketch: Sketch
    points: dict[str, complex]
    mirrored: bool
    corners: tuple[complex, ...]
    lines: tuple[Segment, ...]
    segments: tuple[Segment, ...]
    circles: tuple[tuple[complex, float], ...]
    middle: complex
    half_width: float


_DIRECTIONS = tuple(cmath.rect(1.0, 2 * math.pi * step / 16) for step in range(16))
_ORDER: dict[Kind, int] = {"angle": 0, "side": 1, "arc": 2, "vertex": 3}


def place_all(tags: Sequence[Tag], frame: Frame, size: int) -> tuple[int, list[Placed]] | None:
    """Every label at its first free place, and how many of them stand upon a line; None if one finds no place."""
    placed: list[Placed] = []
    on_lines = 0
    for tag in sorted(tags, key=lambda tag: _ORDER[tag.kind]):
        ink = typeset(tag.ink, size)
        found = None
        for centre, upon_line in _candidates(tag, frame, ink.width / 2, ink.height / 2):
            left, top = round(centre.real - ink.width / 2), round(centre.imag - ink.height / 2)
            box = (left, top, left + ink.width, top + ink.height)
            own = (frame.points[tag.at[0]], frame.points[tag.at[1]]) if upon_line else None
            if _clear_of_labels(box, placed) and _clear_of_lines(box, frame, own):
                found = Placed(tag, box, size)
                on_lines += upon_line
                break
        if found is None:
            return None
        placed.append(found)
    return on_lines, placed


def _candidates(tag: Tag, frame: Frame, half_wide: float, half_high: float) -> Iterator[tuple[complex, bool]]:
    """Centres to try for a label, best first, and whether it would stand upon a line there."""
    gap = frame.half_width + 1.5 + 4 * max(0.0, frame.half_width - 1.01)
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
        for share in (0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74):
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


def _belongs(centre: complex, corner: complex, frame: Frame) -> bool:
    """A reader takes the label at `centre` for the angle at `corner`: no other corner as near, no line between them."""
    distance = abs(centre - corner)
    if any(place != corner and abs(place - centre) < 1.05 * distance for place in frame.corners):
        return False
    if any(abs(corner - middle) < radius - 1 and abs(centre - middle) > radius for middle, radius in frame.circles):
        return False
    return not any(start != corner != end and _cross(corner, centre, start, end) for start, end in frame.lines)


def _cross(first: complex, second: complex, start: complex, end: complex) -> bool:
    """The open segments cross."""
    one, two = end - start, second - first
    before = one.real * (first - start).imag - one.imag * (first - start).real
    after = one.real * (second - start).imag - one.imag * (second - start).real
    left = two.real * (start - first).imag - two.imag * (start - first).real
    right = two.real * (end - first).imag - two.imag * (end - first).real
    return before * after < -1e-9 and left * right < -1e-9


def _off_arc(at: str, frame: Frame, half_wide: float, half_high: float, gap: float) -> Iterator[complex]:
    """Places outside an arc, off its middle first."""
    centre, first, last = (frame.points[name] for name in at)
    radius = abs(first - centre)
    sweep = cmath.phase((last - centre) / (first - centre)) * (1 if frame.mirrored else -1) % (2 * math.pi)
    for share in (0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74):
        turn = sweep * share * (1 if frame.mirrored else -1)
        direction = (first - centre) / radius * cmath.rect(1.0, turn)
        support = abs(direction.real) * half_wide + abs(direction.imag) * half_high + gap
        yield centre + direction * (radius + support)


def _off_point(name: str, frame: Frame, half_wide: float, half_high: float) -> Iterator[complex]:
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
    rays = [ray / abs(ray) for ray in taken if ray]
    ranked = sorted(_DIRECTIONS, key=lambda way: max(way.real * ray.real + way.imag * ray.imag for ray in rays))
    for stretch in (1.0, 1.6, 3.0, 5.0, 7.0):
        for way in ranked[:11]:
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


def _clear_of_lines(box: Box, frame: Frame, own: Segment | None) -> bool:
    """No line but `own` passes nearer than half a pixel to the box."""
    reach = frame.half_width + 0.5
    left, top, right, bottom = box[0] - reach, box[1] - reach, box[2] + reach, box[3] + reach
    for start, end in frame.segments:
        if (start, end) == own:
            continue
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
