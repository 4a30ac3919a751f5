"""Find rows that share a picture or a text, within a split and across splits, by exact hashes."""

from __future__ import annotations

import hashlib
from itertools import combinations
from typing import Any

from data_prep.common import SPLITS
from data_prep.text import comparable_text
from uec_vlm.records import Sample

_Index = dict[bytes, list[tuple[str, str]]]
"""Hash -> (split, row id) of the rows that have it, in the order of preparation."""


class LeakageIndex:
    """Hashes of pictures and texts of all rows seen: 16 bytes each beside the row's id, never the content."""

    def __init__(self) -> None:
        """Start empty."""
        self._images: _Index = {}
        self._texts: _Index = {}
        self._both: _Index = {}

    def add(self, split: str, sample: Sample) -> None:
        """Enter a row. Its text is compared without case, spaces, dollar signs and placeholders."""
        row = (split, sample.id)
        text = _digest(comparable_text(sample.problem).encode())
        self._texts.setdefault(text, []).append(row)
        for image in {_digest(image) for image in sample.images}:
            self._images.setdefault(image, []).append(row)
            self._both.setdefault(_digest(image + text), []).append(row)

    def report(self) -> dict[str, Any]:
        """Counts and ids.

        `across["train_test"]` counts the rows of the later split that share with a row of the earlier one: the exact
        picture, the text ("Find x." is shared by many), or both. `within` counts the rows that repeat an earlier row
        of their own split. The pairs hold the later row's id and the first row that it shares with.
        """
        across = {f"{one}_{other}": self._across(one, other) for one, other in combinations(SPLITS, 2)}
        return {"across": across, "within": {split: self._within(split) for split in SPLITS}}

    def _across(self, earlier: str, later: str) -> dict[str, Any]:
        images, texts, both = (_pairs(index, earlier, later) for index in (self._images, self._texts, self._both))
        return {
            "rows_sharing_image": len(images),
            "rows_sharing_text": len(texts),
            "rows_sharing_image_and_text": len(both),
            "image_pairs": sorted(map(list, images.items())),
            "image_and_text_pairs": sorted(map(list, both.items())),
        }

    def _within(self, split: str) -> dict[str, int]:
        def repeats(index: _Index) -> int:
            held = (len({row for where, row in rows if where == split}) for rows in index.values())
            return sum(max(0, count - 1) for count in held)

        return {
            "repeated_images": repeats(self._images),
            "repeated_texts": repeats(self._texts),
            "repeated_images_and_texts": repeats(self._both),
        }


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:16]


def _pairs(index: _Index, earlier: str, later: str) -> dict[str, str]:
    """Row id of the later split -> the first row of the earlier split that shares a hash with it."""
    pairs: dict[str, str] = {}
    for rows in index.values():
        first = next((row for split, row in rows if split == earlier), None)
        if first is not None:
            pairs.update({row: min(first, pairs.get(row, first)) for split, row in rows if split == later})
    return pairs
