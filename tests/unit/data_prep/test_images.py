"""Pictures are checked before and while they are decoded; each fault has its name."""

import random
import struct
import warnings
import zlib
from io import BytesIO

import pytest
from PIL import Image

from data_prep.common import RowRefused
from data_prep.images import check_image
from tests.unit.data_prep.world import diagram

PNG = diagram(3)


def reason(data: bytes) -> str:
    with pytest.raises(RowRefused) as refused:
        check_image(data)
    return refused.value.reason


def header(width: int, height: int) -> bytes:
    """A PNG whose header claims a size; its pixel data are a few bytes."""
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0")),
        (b"IEND", b""),
    ]
    chunks = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("mode", ["RGBA", "RGB", "L", "P", "1"])
def test_every_png_mode_is_accepted(mode: str) -> None:
    info = check_image(diagram(1, mode=mode))
    assert (info.format, info.width, info.height, info.mode) == ("PNG", 64, 48, mode)


def test_jpeg_is_accepted() -> None:
    assert check_image(diagram(1, mode="RGB", form="JPEG")).format == "JPEG"


@pytest.mark.parametrize("cut", range(9, len(PNG), 7))
def test_png_cut_anywhere_is_refused(cut: int) -> None:
    assert reason(PNG[:cut]) == "image_truncated"


def test_png_without_end_chunk_is_refused_though_its_pixels_are_there() -> None:
    assert reason(PNG[:-12]) == "image_truncated"


def test_cut_jpeg_is_refused() -> None:
    assert reason(diagram(1, mode="RGB", form="JPEG")[:-200]) == "image_truncated"


def test_flipped_bit_in_the_pixels_is_refused() -> None:
    at = PNG.index(b"IDAT") + 10
    assert reason(PNG[:at] + bytes([PNG[at] ^ 4]) + PNG[at + 1 :]) == "image_broken"


def test_wrong_checksum_alone_is_refused() -> None:
    """Pillow decodes such a file: its checksums of the pixel data are never looked at."""
    at = PNG.index(b"IEND") - 5
    damaged = PNG[:at] + bytes([PNG[at] ^ 4]) + PNG[at + 1 :]
    Image.open(BytesIO(damaged)).load()
    assert reason(damaged) == "image_broken"


@pytest.mark.parametrize(("height", "width"), [(65_500, 65_500), (7_000, 7_000), (64, 2)])
def test_jpeg_that_claims_an_absurd_size_is_refused(height: int, width: int) -> None:
    data = diagram(1, mode="RGB", form="JPEG")
    at = data.index(b"\xff\xc0") + 5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        assert reason(data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]) == "image_absurd_size"


def test_right_checksum_over_wrong_pixels_is_refused() -> None:
    assert reason(header(64, 64)) in ("image_broken", "image_truncated")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "missing_image"),
        (b"GIF89a" + bytes(50), "image_unknown_format"),
        (b"<svg xmlns='x'/>", "image_unknown_format"),
        (header(60_000, 60_000), "image_absurd_size"),
        (header(2**31 - 1, 2**31 - 1), "image_absurd_size"),
        (header(64, 4), "image_absurd_size"),
        (header(0, 0), "image_absurd_size"),
        (header(8 * 250, 8), "image_absurd_size"),
    ],
)
def test_faults_by_name(data: bytes, expected: str) -> None:
    assert reason(data) == expected


def test_large_claims_are_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("opened")

    monkeypatch.setattr("data_prep.images.Image.open", never)
    assert reason(header(60_000, 60_000)) == "image_absurd_size"
    with pytest.raises(AssertionError, match="opened"):
        check_image(PNG)


def test_random_damage_never_escapes_as_another_exception() -> None:
    generator = random.Random(0)
    originals = [PNG, diagram(5, mode="P"), diagram(2, mode="RGB", form="JPEG")]
    refused = 0
    for _ in range(1500):
        data = bytearray(generator.choice(originals))
        for _ in range(generator.randint(1, 8)):
            data[generator.randrange(2, len(data))] = generator.randrange(256)
        try:
            check_image(bytes(data))
        except RowRefused:
            refused += 1
    assert refused > 500
