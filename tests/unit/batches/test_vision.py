"""Pictures reach the model as a viewer shows them: upright, and grey of 16 bits as grey of 8."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from data_prep.fingerprints import picture_of
from data_prep.images import check_image
from tests.unit.data_prep.world import diagram
from uec_vlm.batches.vision import decode_picture
from uec_vlm.records import Sample
from uec_vlm.trainer.controls import blank


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def turned(orientation: int, form: str) -> bytes:
    """A triangle of 64 x 48 pixels as stored, with an EXIF orientation."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored = Image.open(io.BytesIO(diagram(3, mode="RGB")))
    return encoded(stored, form, exif=exif)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_exif_says(orientation: int, form: str) -> None:
    data = turned(orientation, form)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    decoded = decode_picture(data, "here")
    assert np.array_equal(np.asarray(decoded), np.asarray(expected))
    size = (64, 48) if orientation < 5 else (48, 64)
    info, picture = check_image(data), picture_of(data)
    white = blank([Sample("1", "s", "<image>", "1", images=(data,))])[0].images[0]
    assert size == decoded.size == (info.width, info.height) == (picture.width, picture.height)
    assert size == Image.open(io.BytesIO(white)).size
    assert picture.bits == picture_of(encoded(expected)).bits


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
def test_a_picture_without_exif_is_decoded_as_pillow_does(mode: str) -> None:
    data = encoded(Image.open(io.BytesIO(diagram(3, mode="RGBA"))).convert(mode))
    plain = Image.open(io.BytesIO(data)).convert("RGB")
    assert np.array_equal(np.asarray(decode_picture(data, "here")), np.asarray(plain))


def test_broken_exif_says_nothing() -> None:
    data = encoded(Image.open(io.BytesIO(diagram(3, mode="RGB"))), "JPEG", exif=b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x09")
    assert decode_picture(data, "here").size == (64, 48)
    as_text = struct.pack(">6s2sHIHHHI4sI", b"Exif\0\0", b"MM", 42, 8, 1, 0x0112, 2, 4, b"six\0", 0)
    data = encoded(Image.open(io.BytesIO(diagram(3, mode="RGB"))), "JPEG", exif=as_text)
    assert decode_picture(data, "here").size == (64, 48)


def wide(values: list[list[int]], kind: type = np.uint16) -> Image.Image:
    return Image.fromarray(np.array(values, dtype=kind))


@pytest.mark.parametrize(
    ("image", "form", "grey"),
    [
        (wide([[0, 255, 256], [32768, 65279, 65535]]), "PNG", [[0, 0, 1], [128, 254, 255]]),
        (wide([[0, 100, 255]]), "PNG", [[0, 100, 255]]),  # 8-bit values in 16-bit fields
        (wide([[0, 32768, 65535]], np.int32), "TIFF", [[0, 128, 255]]),
        (wide([[-5, 100, 255]], np.int32), "TIFF", [[0, 100, 255]]),
    ],
)
def test_grey_of_many_bits_keeps_its_shades(image: Image.Image, form: str, grey: list[list[int]]) -> None:
    data = encoded(image, form)
    assert Image.open(io.BytesIO(data)).mode in ("I", "I;16")
    decoded = np.asarray(decode_picture(data, "here"))
    assert decoded.tolist() == [[[shade] * 3 for shade in row] for row in grey]


def test_a_16_bit_copy_of_a_picture_is_the_same_picture() -> None:
    grey = np.asarray(Image.radial_gradient("L"))
    narrow, broad = encoded(Image.fromarray(grey)), encoded(Image.fromarray(grey.astype(np.uint16) * 257))
    assert decode_picture(narrow, "here").tobytes() == decode_picture(broad, "here").tobytes()
    assert picture_of(narrow).bits == picture_of(broad).bits


def test_a_clear_shade_of_16_bits_lies_on_white() -> None:
    data = encoded(wide([[300, 33000, 0]]), transparency=300)
    assert np.asarray(decode_picture(data, "here"))[0, :, 0].tolist() == [255, 128, 0]
