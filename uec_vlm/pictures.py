"""Opened pictures as a viewer shows them: upright, with 8 bits a channel. All parts that decode some go by it."""

from __future__ import annotations

from PIL import ExifTags, Image

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture upright, by its EXIF orientation; 1, which is upright, is not there."""
_LIES = (5, 6, 7, 8)


def as_shown(image: Image.Image) -> Image.Image:
    """The decoded picture, turned as its EXIF says, and grey of 16 or 32 bits in 8; any other is given back as it is.

    Grey of more than 8 bits is shifted by whole bytes until its largest value fits into 8 bits: 8 for 16-bit grey, as
    Pillow does with 16-bit colours, and 0 where no value is above 255, since such files hold 8-bit values in wide
    fields. Pillow's own conversion clips: all above 255 would be white. Raises what Pillow raises on broken data.
    """
    image.load()
    turn = _TURNS.get(_orientation(image))
    upright = image if turn is None else image.transpose(turn)
    return _in_8_bits(upright) if upright.mode.startswith("I") else upright


def shown_size(image: Image.Image) -> tuple[int, int]:
    """Width and height in pixels of the picture when it is upright."""
    width, height = image.size
    return (height, width) if _orientation(image) in _LIES else (width, height)


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # broken EXIF raises errors of every kind, and says nothing of a picture that is whole
        return 1
    return found if isinstance(found, int) else 1


def _in_8_bits(image: Image.Image) -> Image.Image:
    import numpy as np

    values = np.asarray(image).astype(np.int64).clip(min=0)
    shift = 8 * max(0, (int(values.max()).bit_length() - 1) // 8)
    grey = Image.fromarray((values >> shift).astype(np.uint8))
    clear = image.info.get("transparency")
    if clear is not None:
        grey.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return grey
