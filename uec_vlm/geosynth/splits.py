"""Training, validation and test problems that share no numbers.

Every problem has a signature: family, level, the given numbers with what carries them, what is asked and the answer;
without letters, wording, orientation and colour. A hash of the signature says which split it belongs to (6 of 8 parts
train, one validation, one test). So what is guaranteed: no numbers of a held-out problem, however they are worded or
drawn, occur in a training problem of that family and level. Within one split numbers may repeat where a family has few.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Literal, overload

from uec_vlm.errors import DataError
from uec_vlm.geosynth.problem import Draft, GeoProblem, cell_of, check_choice, draft, finish, stream_seed, to_sample
from uec_vlm.geosynth.scene import LEVELS
from uec_vlm.records import Sample

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
_TRIES = 2000


def split_of(signature: str) -> Split:
    """The split that a signature belongs to."""
    part = hashlib.blake2b(signature.encode(), digest_size=1).digest()[0] % 8
    return "test" if part == 0 else "validation" if part == 1 else "train"


class ProblemSet(Sequence[Sample]):
    """`count` problems of one split, made when they are asked for and never kept; balanced over families x levels.

    Two sets with equal arguments are equal. `set[i]` costs about the same for every i. `problem(i)` gives the same
    problem with its labels.
    """

    def __init__(
        self,
        *,
        split: Split,
        count: int,
        seed: int,
        families: Sequence[str] | None = None,
        levels: Sequence[int] = LEVELS,
        image_size: int = 112,
    ) -> None:
        """Refuses unknown splits, families and levels by name."""
        if split not in SPLITS:
            raise DataError(f"geosynth: split {split!r} does not exist; choose from {list(SPLITS)}")
        if count < 0:
            raise DataError(f"geosynth: count = {count} is negative; give the number of problems")
        self.split: Split = split
        self._count, self.seed, self.image_size = count, seed, image_size
        self._cells = check_choice(families, levels)

    def __len__(self) -> int:
        """The number of problems."""
        return self._count

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        """The sample at `index`, or a list for a slice."""
        if isinstance(index, slice):
            return [to_sample(self.problem(place)) for place in range(*index.indices(self._count))]
        return to_sample(self.problem(index))

    def __iter__(self) -> Iterator[Sample]:
        """All samples, one by one."""
        return (to_sample(self.problem(index)) for index in range(self._count))

    def problem(self, index: int) -> GeoProblem:
        """The problem at `index` (negative ones count from the end)."""
        place = index + self._count if index < 0 else index
        if not 0 <= place < self._count:
            raise IndexError(f"problem {index} of {self._count}")
        return finish(self._draft(place), image_size=self.image_size)

    def _draft(self, place: int) -> Draft:
        family, level = cell_of(self._cells, place, seed=self.seed)
        for attempt in range(_TRIES):
            drafted = draft(family, level, stream_seed(self.split, self.seed, place, attempt))
            if split_of(drafted.signature) == self.split:
                return drafted
        raise DataError(
            f"geosynth: no {self.split} problem of {family} at level {level} in {_TRIES} tries; leave the family out"
        )
