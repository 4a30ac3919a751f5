"""Many problems on one picture, to be looked at."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable

from PIL import Image, ImageDraw, ImageFont

from uec_vlm.geosynth.problem import GeoProblem


def contact_sheet(
    problems: Iterable[GeoProblem], *, columns: int = 8, zoom: int = 1, boxes: bool = False
) -> Image.Image:
    """Pictures in a grid with id, question, answer and solution below; `boxes` frames every recorded label."""
    items = list(problems)
    pictures = [_opened(problem, zoom, boxes) for problem in items]
    wide = max(picture.width for picture in pictures) + 8
    high = max(picture.height for picture in pictures) + 74
    sheet = Image.new("RGB", (wide * columns, high * -(-len(items) // columns)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for index, (problem, picture) in enumerate(zip(items, pictures, strict=True)):
        left, top = index % columns * wide, index // columns * high
        sheet.paste(picture, (left + 4, top + 2))
        draw.rectangle((left + 3, top + 1, left + picture.width + 4, top + picture.height + 2), outline=(190, 190, 190))
        rows = [f"{problem.family} {problem.level}", problem.question, f"= {problem.answer}  [{problem.solution}]"]
        text = "\n".join(line for row in rows for line in textwrap.wrap(row, max(8, wide // 6)))
        draw.multiline_text((left + 4, top + picture.height + 4), text, fill=(60, 60, 60), font=font, spacing=1)
    return sheet


def _opened(problem: GeoProblem, zoom: int, boxes: bool) -> Image.Image:
    picture = Image.open(io.BytesIO(problem.picture)).convert("RGB")
    picture = picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST)
    if boxes:
        draw = ImageDraw.Draw(picture)
        for label in problem.labels:
            left, top, right, bottom = (edge * zoom for edge in label.box)
            draw.rectangle((left - 1, top - 1, right, bottom), outline=(0, 170, 0))
    return picture
