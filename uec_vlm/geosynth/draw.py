"""From a layout to a picture: lines at threefold size for smooth edges, labels at whole pixels upon them."""

from __future__ import annotations

import io
import math

from PIL import Image, ImageDraw

from uec_vlm.geosynth.glyphs import typeset
from uec_vlm.geosynth.layout import Layout, chevrons, dot_radius, mark_size, square_corner, ticks
from uec_vlm.geosynth.scene import Sketch

Colour = tuple[int, int, int]

WHITE: Colour = (255, 255, 255)
INK: Colour = (0, 0, 0)
BLUE: Colour = (0, 84, 166)
MARK: Colour = (214, 0, 110)
SHADE: Colour = (190, 219, 240)
LINE_COLOURS: tuple[Colour, ...] = (BLUE, BLUE, BLUE, INK)


def paint(sketch: Sketch, layout: Layout, *, image_size: int, colour: Colour = BLUE) -> Image.Image:
    """The picture (RGB, square) of a laid-out sketch."""
    factor = 3 if image_size <= 256 else 2
    canvas = Image.new("RGB", (image_size * factor, image_size * factor), WHITE)
    _paint_lines(ImageDraw.Draw(canvas), sketch, layout, image_size, factor, colour)
    picture = canvas.reduce(factor)
    for item in layout.placed:
        left, top, right, bottom = (round(edge) for edge in item.box)
        picture.paste(WHITE, (left - 1, top - 1, right + 1, bottom + 1))
        picture.paste(INK, (left, top), typeset(item.tag.ink, item.size).mask)
    return picture


def to_png(picture: Image.Image) -> bytes:
    """The picture as PNG bytes; the same picture always gives the same bytes with one version of Pillow."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _paint_lines(
    draw: ImageDraw.ImageDraw, sketch: Sketch, layout: Layout, image_size: int, factor: int, colour: Colour
) -> None:
    points, width = layout.points, round(layout.width * factor)
    pen = _Pen(draw, factor, width)
    for at in sketch.shaded:
        pen.sector(*(points[name] for name in at), mirrored=layout.mirrored)
    for centre, radius in sketch.circles:
        pen.circle(points[centre], radius * layout.scale, colour)
    for at in (*sketch.lines, *sketch.arrows):
        pen.line(points[at[0]], points[at[1]], colour)
    for at in sketch.arrows:
        pen.head(points[at[0]], points[at[1]], mark_size(image_size), colour)
    _paint_marks(pen, sketch, points, image_size)
    for name in sketch.dots:
        pen.dot(points[name], dot_radius(image_size), INK)


def _paint_marks(pen: _Pen, sketch: Sketch, points: dict[str, complex], image_size: int) -> None:
    """Heights, right angles, ticks and the arrow heads of parallel lines, in a colour of their own."""
    size = mark_size(image_size)
    for at in sketch.dashed:
        pen.dashes(points[at[0]], points[at[1]], size * 0.6, MARK)
    strokes = []
    for at in sketch.right_angles:
        one, two, three = square_corner(points, at, image_size)
        strokes += [(one, two), (two, three)]
    for count, group in enumerate(sketch.equal, start=1):
        for at in group:
            strokes += ticks(points, at, count, image_size)
    for start, end in strokes:
        pen.line(start, end, MARK, 0.8)
    for count, group in enumerate(sketch.parallel, start=1):
        for at in group:
            pen.chevrons(*chevrons(points, at, image_size), count)


class _Pen:
    """Draws on an enlarged canvas in the coordinates of the picture."""

    def __init__(self, draw: ImageDraw.ImageDraw, factor: int, width: int) -> None:
        self._draw, self._factor, self._width = draw, factor, width

    def line(self, start: complex, end: complex, colour: Colour, thickness: float = 1.0) -> None:
        """A segment with round ends."""
        start, end, width = start * self._factor, end * self._factor, max(1, round(self._width * thickness))
        self._draw.line((start.real, start.imag, end.real, end.imag), fill=colour, width=width)
        half = width / 2
        for place in (start, end):
            self._draw.ellipse(
                (place.real - half, place.imag - half, place.real + half, place.imag + half), fill=colour
            )

    def dashes(self, start: complex, end: complex, length: float, colour: Colour) -> None:
        """A dashed segment that begins and ends with a dash."""
        count = max(1, round(abs(end - start) / length / 2))
        step = (end - start) / (2 * count - 1) if count > 1 else end - start
        for index in range(count):
            self.line(start + 2 * index * step, start + (2 * index + 1) * step, colour, 0.8)

    def circle(self, centre: complex, radius: float, colour: Colour) -> None:
        """A circle line."""
        middle, reach = centre * self._factor, radius * self._factor + self._width / 2
        box = (middle.real - reach, middle.imag - reach, middle.real + reach, middle.imag + reach)
        self._draw.ellipse(box, outline=colour, width=self._width)

    def sector(self, centre: complex, first: complex, last: complex, *, mirrored: bool) -> None:
        """A filled sector from `first` to `last`: counter-clockwise in the sketch, unless it is mirrored."""
        middle, reach = centre * self._factor, abs(first - centre) * self._factor
        start, end = (math.degrees(math.atan2((p - centre).imag, (p - centre).real)) for p in (first, last))
        if not mirrored:
            start, end = end, start
        box = (middle.real - reach, middle.imag - reach, middle.real + reach, middle.imag + reach)
        self._draw.pieslice(box, start, end if end > start else end + 360, fill=SHADE)

    def head(self, start: complex, end: complex, size: float, colour: Colour) -> None:
        """The head of an arrow at `end`."""
        unit = (end - start) / abs(end - start)
        self._polygon([end, end - unit * size + unit * 0.45j * size, end - unit * size - unit * 0.45j * size], colour)

    def chevrons(self, middle: complex, along: complex, count: int) -> None:
        """`count` arrow heads round a place on a line: parallel lines carry the same number."""
        for index in range(count):
            tip = middle + along * (1 + (index - (count - 1) / 2) * 1.8)
            self._polygon([tip, tip + along * (-2 + 1j), tip + along * (-2 - 1j)], MARK)

    def dot(self, place: complex, radius: float, colour: Colour) -> None:
        """A filled circle."""
        middle, reach = place * self._factor, radius * self._factor
        self._draw.ellipse(
            (middle.real - reach, middle.imag - reach, middle.real + reach, middle.imag + reach), fill=colour
        )

    def _polygon(self, corners: list[complex], colour: Colour) -> None:
        self._draw.polygon([(p.real * self._factor, p.imag * self._factor) for p in corners], fill=colour)
