"""Labels as small grey pictures: condensed upright characters at whole pixels, so a digit looks the same everywhere.

The outlines are those of Pillow's built-in scalable font; the root sign and pi, which it lacks, are drawn here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image, ImageChops, ImageDraw, ImageFont

_OVERSAMPLING = 6
_CONDENSED = 0.86
_TOKEN = re.compile(r"\\sqrt\{(\d+)\}|\\pi|.")


@dataclass(frozen=True)
class Typeset:
    """A label's ink: `mask` is 255 where it is black; it is cut to the ink, so the picture's size is the label's."""

    mask: Image.Image
    width: int
    height: int


@lru_cache(maxsize=8192)
def typeset(text: str, size: int) -> Typeset:
    r"""Set a label in characters of `size` pixels (capitals are about 0.72 of it high).

    `text` holds digits, letters, signs, the degree sign, `\pi` and `\sqrt{12}`.
    """
    gap = max(1, round(size / 14))
    parts: list[Image.Image] = []
    for match in _TOKEN.finditer(text):
        token = match.group(0)
        parts.append(_root(match.group(1), size) if match.group(1) else _glyph(token, size))
    width = sum(part.width for part in parts) + gap * (len(parts) - 1)
    mask = Image.new("L", (width, parts[0].height), 0)
    left = 0
    for part in parts:
        mask.paste(part, (left, 0))
        left += part.width + gap
    box = mask.getbbox()
    if box is None:
        raise ValueError(f"the label {text!r} has no ink; give a label of visible characters")
    cut = mask.crop(box)
    return Typeset(cut, cut.width, cut.height)


@lru_cache(maxsize=2048)
def _glyph(character: str, size: int) -> Image.Image:
    """One character on a strip of `2 * size` rows, cut to its ink on the left and right."""
    if character == "\\pi":
        return _strokes(((0.02, 0.5), (0.5, 0.5)), ((0.14, 0.5), (0.11, 1.0)), ((0.38, 0.5), (0.4, 1.0)), size=size)
    if character == "-":
        return _strokes(((0.04, 0.62), (0.38, 0.62)), size=size)
    big, scale = size * _OVERSAMPLING, _OVERSAMPLING
    font = ImageFont.load_default(big)
    canvas = Image.new("L", (big * 2, big * 2), 0)
    ImageDraw.Draw(canvas).text((big // 2, big), character, fill=255, font=font, anchor="ls", stroke_width=_bold(size))
    width = round(canvas.width * _CONDENSED / scale)
    return _cut_sides(canvas.resize((width, 2 * size), Image.Resampling.BOX))


def _bold(size: int) -> int:
    """Extra half-thickness of the outlines, in oversampled pixels: a third of a pixel where characters are small."""
    return 2 if size < 22 else 3


def _strokes(*lines: tuple[tuple[float, float], ...], size: int) -> Image.Image:
    """Polylines in units of `size` below the cap line (1 is the baseline) as a strip like those of `_glyph`."""
    big = size * _OVERSAMPLING
    canvas = Image.new("L", (big * 2, big * 2), 0)
    draw = ImageDraw.Draw(canvas)
    top, unit = big - 0.72 * big, 0.72 * big
    for line in lines:
        path = [(big // 2 + x * big, top + y * unit) for x, y in line]
        draw.line(path, fill=255, width=max(_OVERSAMPLING, round(big * 0.11)), joint="curve")
    return _cut_sides(canvas.resize((2 * size, 2 * size), Image.Resampling.BOX))


def _root(digits: str, size: int) -> Image.Image:
    """The root sign with its bar over `digits`."""
    sign = _strokes(((0.0, 0.62), (0.08, 0.56), (0.2, 1.02), (0.36, -0.16), (0.42, -0.16)), size=size)
    inner = [_glyph(digit, size) for digit in digits]
    gap = max(1, round(size / 14))
    width = sign.width + sum(part.width + gap for part in inner)
    strip = Image.new("L", (width, sign.height), 0)
    strip.paste(sign, (0, 0))
    left = sign.width
    for part in inner:
        strip.paste(ImageChops.lighter(strip.crop((left, 0, left + part.width, strip.height)), part), (left, 0))
        left += part.width + gap
    bar = round(size - 0.72 * size - 0.16 * 0.72 * size)
    thick = max(1, round(size * 0.09))
    ImageDraw.Draw(strip).rectangle((sign.width - 2, bar, width - 1, bar + thick - 1), fill=255)
    return strip


def _cut_sides(strip: Image.Image) -> Image.Image:
    box = strip.point([0] * 40 + [255] * 216).getbbox()
    return strip if box is None else strip.crop((box[0], 0, box[2], strip.height))
