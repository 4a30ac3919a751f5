"""Check encoded pictures: known format, sane size, complete, decodable. The bytes themselves are never changed."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

from data_prep.common import RowRefused
from uec_vlm.pictures import shown_size

MAX_BYTES = 64 * 2**20
MAX_PIXELS = 40_000_000
MIN_SIDE = 8
MAX_ASPECT = 200  # Qwen's image processors refuse pictures that are longer than 200 times their width

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
# What Pillow raises on damaged bytes: the first three were seen under fuzzing, the others are kin that parsers raise.
_DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, ArithmeticError, LookupError, TypeError, struct.error,
                   zlib.error)  # fmt: skip


@dataclass(frozen=True)
class ImageInfo:
    """Format ("PNG" or "JPEG"), width and height in pixels when upright, and Pillow's mode as stored."""

    format: str
    width: int
    height: int
    mode: str


def check_image(data: bytes) -> ImageInfo:
    """Decode the picture once and tell what it is; the size in the header is judged before anything is decoded.

    Raises `RowRefused` with `missing_image`, `image_unknown_format`, `image_absurd_size`, `image_truncated` or
    `image_broken`.
    """
    if not data:
        raise RowRefused("missing_image", "the image has no bytes")
    if len(data) > MAX_BYTES:
        raise RowRefused("image_absurd_size", f"{len(data)} bytes; at most {MAX_BYTES} are read")
    if data.startswith(_PNG):
        _check_png_chunks(data)
    elif not data.startswith(_JPEG):
        raise RowRefused("image_unknown_format", f"the file begins with {data[:8]!r}")
    try:
        with Image.open(BytesIO(data), formats=("PNG", "JPEG")) as image:
            _check_size(image.width, image.height)
            image.load()
            return ImageInfo(str(image.format), *shown_size(image), image.mode)
    except RowRefused:
        raise
    except Image.DecompressionBombError as error:
        raise RowRefused("image_absurd_size", f"{len(data)} bytes: {str(error)[:120]}") from error
    except _DECODER_ERRORS as error:
        reason = "image_truncated" if "truncated" in str(error) else "image_broken"
        raise RowRefused(reason, f"{len(data)} bytes, {type(error).__name__}: {str(error)[:120]}") from error


def _check_size(width: int, height: int) -> None:
    shape = f"{width} x {height} pixels"
    if min(width, height) < MIN_SIDE:
        raise RowRefused("image_absurd_size", f"{shape}; each side needs at least {MIN_SIDE}")
    if width * height > MAX_PIXELS:
        raise RowRefused("image_absurd_size", f"{shape}; at most {MAX_PIXELS} pixels are decoded")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise RowRefused("image_absurd_size", f"{shape}; one side is more than {MAX_ASPECT} times the other")


def _check_png_chunks(data: bytes) -> None:
    """Walk the chunks to IEND (PNG specification, section 5.3): the file is complete and every checksum is right.

    Pillow alone accepts a file that is cut after its pixels and does not look at the checksums of the pixel data.
    """
    position = len(_PNG)
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise RowRefused("image_truncated", f"{len(data)} bytes; chunk {kind!r} ends at {end}")
        if position == len(_PNG) and kind == b"IHDR" and length == 13:
            _check_size(*struct.unpack_from(">II", data, position + 8))
        (stored,) = struct.unpack_from(">I", data, end - 4)
        if zlib.crc32(memoryview(data)[position + 4 : end - 4]) != stored:
            raise RowRefused("image_broken", f"wrong checksum in chunk {kind!r} at byte {position}")
        if kind == b"IEND":
            return
        position = end
    raise RowRefused("image_truncated", f"{len(data)} bytes without an end chunk")
