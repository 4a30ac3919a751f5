"""Controls of an evaluation: the same problems with a blank picture, another problem's picture, or no picture.

A policy that reads the picture loses accuracy under each of them; one that guesses from the question does not.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

from PIL import Image

from uec_vlm.errors import DataError
from uec_vlm.pictures import shown_size
from uec_vlm.records import IMAGE_PLACEHOLDER, Sample


def blank(samples: Sequence[Sample]) -> list[Sample]:
    """Every picture is replaced by a white one of its size; problems without pictures are left out."""
    return [replace(one, images=tuple(_white(image) for image in one.images)) for one in samples if one.images]


def shuffled(samples: Sequence[Sample]) -> list[Sample]:
    """Every problem gets the pictures of the next one (around the end) that has as many, and other ones.

    Problems without such a partner, or without pictures, are left out. No draw is involved: evaluations of different
    steps and runs see the same wrong pictures.
    """
    pictured = [one for one in samples if one.images]
    moved = []
    for place, one in enumerate(pictured):
        others = (*pictured[place + 1 :], *pictured[:place])
        fits = (o for o in others if len(o.images) == len(one.images) and o.images != one.images)
        partner = next(fits, None)
        if partner is not None:
            moved.append(replace(one, images=partner.images))
    return moved


def none(samples: Sequence[Sample]) -> list[Sample]:
    """Every problem without its pictures and their places in the text; problems without pictures are left out."""
    return [
        replace(one, images=(), problem=one.problem.replace(IMAGE_PLACEHOLDER, "").strip())
        for one in samples
        if one.images
    ]


CONTROLS: dict[str, Callable[[Sequence[Sample]], list[Sample]]] = {
    "blank": blank,
    "shuffled": shuffled,
    "none": none,
}


@lru_cache(maxsize=64)
def white_picture(width: int, height: int) -> bytes:
    """A white PNG of this size in pixels."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(buffer, "PNG")
    return buffer.getvalue()


def _white(image: bytes) -> bytes:
    try:
        with Image.open(io.BytesIO(image)) as picture:
            return white_picture(*shown_size(picture))
    except OSError as error:
        raise DataError(f"a picture of the evaluation cannot be read: {error}. Prepare the data again.") from error
