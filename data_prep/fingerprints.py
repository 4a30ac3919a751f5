"""What duplicates are looked for by: exact and perceptual hashes of the pictures, and the words of the text.

A picture's perceptual hash is `imagehash.phash` of 16 x 16 bits, on white where it is transparent. On 199 real
Geometry3K problems, scaling (a third to 1.7 times), JPEG down to quality 30 and a palette of 16 colours change at most
32 of its 256 bits, and diagrams that differ have at least 70 bits between them; `SIMILAR_BITS` is between.
"""

from __future__ import annotations

import hashlib
import re
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa

from data_prep.common import SPLITS
from data_prep.images import MAX_PIXELS
from data_prep.parquet import parquet_rows
from uec_vlm.errors import DataError
from uec_vlm.pictures import as_shown

HASH_SIDE = 16
SIMILAR_BITS = 40
SIMILAR_ASPECT = 0.05
"""Pictures whose ratios of width to height differ by more than this share are not compared."""

_COMMANDS = {"∠": " angle ", "△": " triangle ", "°": " degrees ", "⊥": " perp ", "∥": " parallel ", "π": " pi ",
             "√": " sqrt ", "×": " times ", "·": " times ", "⊙": " circle "}  # fmt: skip
_ALIASES = {"circ": "degrees", "degree": "degrees", "cdot": "times", "odot": "circle", "bigodot": "circle"}
_NOISE = frozenset(
    """
    a an the of in on at to is are be as and if that this it its by with for from what which find determine compute
    calculate evaluate solve give state please value question problem figure shown following given answer image picture
    diagram mathrm text frac begin end how
    """.split()  # noqa: SIM905
)
_WORD = re.compile(r"[0-9]+(?:\.[0-9]+)?|[\u3400-\u9fff]|[^\W\d_\u3400-\u9fff]+")
_NUMBER = re.compile(r"[0-9]")


@dataclass(frozen=True, slots=True)
class Picture:
    """sha: of the encoded bytes. bits: the perceptual hash as 32 bytes. width, height in pixels, upright."""

    sha: bytes
    bits: bytes
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A row as it is compared: where it stands, its pictures, its words, its gold.

    words: the content words of the text in order, numbers among them; function words and commands of LaTeX that only
    set type are left out. text: a digest of the words as they stand, so of the text but for case, spaces and signs.
    """

    place: str
    split: str
    id: str
    pictures: tuple[Picture, ...]
    words: tuple[str, ...]
    text: bytes
    answer: str

    @property
    def numbers(self) -> tuple[str, ...]:
        """The numbers of the text, sorted: problems whose numbers differ are different problems."""
        return tuple(sorted(word for word in self.words if _NUMBER.match(word)))


def words_of(problem: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """All words of a text, and its content words; LaTeX and Unicode spellings of a sign are one word."""
    text = unicodedata.normalize("NFKC", problem.replace("<image>", " ")).casefold()
    for sign, word in _COMMANDS.items():
        text = text.replace(sign, word)
    # Of a large set most words are the same few: each is in memory once.
    words = tuple(sys.intern(_ALIASES.get(word, word)) for word in _WORD.findall(text))
    return words, tuple(word for word in words if word not in _NOISE)


def picture_of(data: bytes) -> Picture:
    """The hashes of an encoded picture; raises `DataError` where it cannot be decoded."""
    import imagehash
    from PIL import Image

    try:
        with Image.open(BytesIO(data), formats=("PNG", "JPEG")) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(
                    f"a picture of {image.width} x {image.height} pixels is too large; prepare the set again"
                )
            seen = as_shown(image)
            flat = seen
            if seen.mode in ("RGBA", "LA", "P", "PA"):
                flat = Image.new("RGBA", seen.size, "white")
                flat.alpha_composite(seen.convert("RGBA"))
            bits = imagehash.phash(flat.convert("L"), hash_size=HASH_SIDE).hash
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"a picture cannot be decoded ({error}); prepare the set again") from error
    import numpy as np

    return Picture(hashlib.sha256(data).digest()[:16], np.packbits(bits).tobytes(), *seen.size)


def fingerprints(folder: Path) -> Iterator[tuple[Fingerprint, dict[str, Any]]]:
    """Every row of a prepared folder as a fingerprint, beside the row; pictures of one row are in memory at a time."""
    files = [(split, folder / f"{split}.parquet") for split in SPLITS if (folder / f"{split}.parquet").is_file()]
    if not files:
        raise DataError(
            f"{folder}: no train.parquet, validation.parquet or test.parquet is there; prepare a data set into it"
        )
    known: dict[bytes, Picture] = {}
    for split, file in files:
        try:
            for row in parquet_rows(file):
                yield _fingerprint(folder.name, split, row, known), row
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            raise DataError(f"{file}: cannot be read ({error}); prepare it again") from error


def _fingerprint(place: str, split: str, row: dict[str, Any], known: dict[bytes, Picture]) -> Fingerprint:
    pictures = []
    for data in row["images"]:
        sha = hashlib.sha256(data).digest()[:16]
        if sha not in known:
            known[sha] = picture_of(data)
        pictures.append(known[sha])
    every, content = words_of(row["problem"])
    digest = hashlib.sha256(" ".join(every).encode()).digest()[:16]
    return Fingerprint(place, split, row["id"], tuple(pictures), content, digest, row["answer"])
