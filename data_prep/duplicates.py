"""Pairs of rows that are the same problem, or nearly: by an exact or similar picture, by the text or its words."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from data_prep.fingerprints import SIMILAR_ASPECT, SIMILAR_BITS, Fingerprint, Picture

Kind = Literal["exact", "similar", "none"]

SIMILAR_WORDS = (0.6, 0.6, 0.45, 0.33)
"""Share of common content words (of all that either text has) from which on two texts are one problem reworded, by how
many different numbers they agree in: 0, 1, 2, or 3 and more. The more numbers agree, the fewer words must."""
LEAST_WORDS = 5
"""Texts with fewer content words ("Find x.") are said of many pictures; they count only beside a picture."""
RAREST = 4
LARGEST_BUCKET = 400
"""Rows of a split that are compared with one another for one key; rows of different splits all are."""
BLOCK = 1 << 20
"""Pictures are compared in blocks of about this many pairs, so that memory does not grow with their square."""


@dataclass(frozen=True)
class Pair:
    """Two rows (places in the list that was searched) and what they share."""

    one: int
    other: int
    picture: Kind
    text: Kind
    same_answer: bool

    @property
    def kind(self) -> str:
        """`exact picture and text`, `similar picture`, `similar text` ...: the row of the report's table."""
        if self.picture == "none":
            return f"{self.text} text"
        also = {"exact": " and text", "similar": " and similar text", "none": ""}[self.text]
        return f"{self.picture} picture{also}"


@dataclass(frozen=True)
class Search:
    """pairs: each once, in order. cut: groups of alike texts so large that not all of a split were compared."""

    pairs: tuple[Pair, ...]
    cut: int


def find_pairs(rows: Sequence[Fingerprint]) -> Search:
    """All pairs that share a picture or a text; a row's own pictures are not compared.

    A text counts by itself only if it has `LEAST_WORDS` content words and the pictures, if both have some, agree: the
    same question about another picture is another problem.
    """
    pictures = _picture_pairs(rows)
    texts, cut = _text_pairs(rows)
    pairs = []
    for one, other in sorted(pictures.keys() | texts.keys()):
        picture, text = pictures.get((one, other), "none"), texts.get((one, other), "none")
        if picture == "none" and rows[one].pictures and rows[other].pictures:
            continue
        if picture != "none" and text == "none":
            text = _text_kind(rows[one], rows[other])
        pairs.append(Pair(one, other, picture, text, rows[one].answer == rows[other].answer))
    return Search(tuple(pairs), cut)


def _picture_pairs(rows: Sequence[Fingerprint]) -> dict[tuple[int, int], Kind]:
    holders: dict[bytes, list[int]] = defaultdict(list)
    unique: dict[bytes, Picture] = {}
    for place, row in enumerate(rows):
        for picture in {picture.sha: picture for picture in row.pictures}.values():
            holders[picture.sha].append(place)
            unique.setdefault(picture.sha, picture)
    found: dict[tuple[int, int], Kind] = {}
    for one, other in _similar(list(unique.values())):
        for a in holders[one.sha]:
            found.update({(min(a, b), max(a, b)): "similar" for b in holders[other.sha] if a != b})
    for places in holders.values():
        found.update(dict.fromkeys(combinations(places, 2), "exact"))
    return found


def _similar(pictures: list[Picture]) -> Iterator[tuple[Picture, Picture]]:
    """Pairs of different pictures of about the same shape with at most `SIMILAR_BITS` different bits.

    Sorted by shape, each picture is compared with those after it that are not too wide, a block at a time.
    """
    if len(pictures) < 2:
        return
    pictures = sorted(pictures, key=lambda one: (one.width / one.height, one.sha))
    aspects = np.array([one.width / one.height for one in pictures])
    bits: NDArray[np.uint64] = np.frombuffer(b"".join(one.bits for one in pictures), dtype=np.uint64).reshape(
        len(pictures), -1
    )
    ends = np.searchsorted(aspects, aspects * (1.0 + SIMILAR_ASPECT), side="right")
    stop = 0
    while stop < len(pictures):
        start = stop
        stop = min(start + max(1, BLOCK // int(ends[start] - start)), len(pictures))
        window = slice(start, int(ends[stop - 1]))
        distances = np.zeros((stop - start, window.stop - window.start), dtype=np.uint16)
        for word in range(bits.shape[1]):
            distances += np.bitwise_count(bits[start:stop, None, word] ^ bits[None, window, word])
        for row, column in np.argwhere(distances <= SIMILAR_BITS):
            one, other = start + int(row), start + int(column)
            if one < other < ends[one]:
                yield pictures[one], pictures[other]


def _text_pairs(rows: Sequence[Fingerprint]) -> tuple[dict[tuple[int, int], Kind], int]:
    """Pairs of texts that are equal as words, or reworded, and how many buckets were cut.

    Reworded texts have the same numbers and enough common content words. Candidates share two or more numbers, or else
    one of each other's rarest words: not all are compared with all. Where more than `LARGEST_BUCKET` rows share their
    numbers, they must share a rare word too.
    """
    keys, places = _keys(rows)
    found: dict[tuple[int, int], Kind] = {}
    cut = 0
    for group in _groups(keys, places):
        if all(rows[place].pictures for place in group):
            continue  # their text is looked at where they share a picture
        parts = _parts(group, rows)
        cut += any(len(part) > LARGEST_BUCKET for part in parts)
        for one, other in _compared(parts):
            pair = min(one, other), max(one, other)
            if pair in found or (rows[one].pictures and rows[other].pictures):
                continue
            if (kind := _text_kind(rows[one], rows[other])) != "none":
                found[pair] = kind
    return found, cut


def _keys(rows: Sequence[Fingerprint]) -> tuple[array[int], array[int]]:
    """What rows are compared by, and the row of each: its text, and its numbers with or without a rare word."""
    worded = [place for place, row in enumerate(rows) if len(row.words) >= LEAST_WORDS]
    count = Counter(word for row in rows for word in set(row.words))
    alike = Counter(_digest(*rows[place].numbers) for place in worded)
    keys, places = array("Q"), array("Q")
    for place in worded:
        row, numbers = rows[place], rows[place].numbers
        rarest = sorted(set(row.words) - set(numbers), key=lambda word: (count[word], word))[:RAREST]
        few = len(set(numbers)) > 1 and alike[_digest(*numbers)] <= LARGEST_BUCKET
        shared = [()] if few or not rarest else [(word,) for word in rarest]
        made = [row.text[:8], *(_digest(*words, *numbers) for words in shared)]
        keys.extend(int.from_bytes(digest) for digest in made)
        places.extend([place] * len(made))
    return keys, places


def _parts(group: list[int], rows: Sequence[Fingerprint]) -> list[list[int]]:
    """The rows of a bucket by the split that they stand in; all as one where they are few."""
    if len(group) <= LARGEST_BUCKET:
        return [group]
    parts: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place in group:
        parts[rows[place].place, rows[place].split].append(place)
    return list(parts.values())


def _compared(parts: list[list[int]]) -> Iterator[tuple[int, int]]:
    """All pairs across splits, which may be leaks; within a split those of the first `LARGEST_BUCKET` rows."""
    for part in parts:
        yield from combinations(part[:LARGEST_BUCKET], 2)
    for one, other in combinations(parts, 2):
        yield from product(one, other)


def _digest(*words: str) -> bytes:
    return hashlib.blake2b(" ".join(words).encode(), digest_size=8).digest()


def _groups(keys: array[int], places: array[int]) -> Iterator[list[int]]:
    """The places of each key that has several, in order. Sorting takes less memory than a dict."""
    held = np.asarray(keys, dtype=np.uint64)
    order = np.argsort(held, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], np.diff(held[order]) > 0])) if len(held) else np.array([0])
    sizes = np.diff(starts, append=len(held))
    for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True):
        yield [places[place] for place in order[start : start + int(size)]]


def _text_kind(one: Fingerprint, other: Fingerprint) -> Kind:
    if one.text == other.text:
        return "exact"
    if one.numbers != other.numbers:
        return "none"
    mine, theirs = set(one.words), set(other.words)
    needed = SIMILAR_WORDS[min(len(set(one.numbers)), len(SIMILAR_WORDS) - 1)]
    return "similar" if len(mine & theirs) >= needed * max(1, len(mine | theirs)) else "none"
