"""Training, practice, validation and test problems that share no numbers.

Every problem has a signature: family, level, the given numbers and the answer, without letters, wording, places and
orientation. A hash of the signature says which split it belongs to: 24 of 32 parts train, four practice, two
validation, two test. So what is guaranteed: no numbers of a problem of one split, however they are worded or drawn,
occur in another split of that family and level. Within one split numbers may repeat where a family has few. `practice`
is for reinforcement learning: the starter policy's warm-up saw `train` only, and knows many of its answers by heart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Literal, overload

from uec_vlm.errors import DataError
from uec_vlm.geosynth.problem import Draft, GeoProblem, cell_of, check_choice, draft, finish, stream_seed, to_sample
from uec_vlm.geosynth.scene import LEVELS
from uec_vlm.records import Sample

Split = Literal["train", "practice", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "practice", "validation", "test")
# Which of 32 parts are held out from the warm-up: chosen so that every family has numbers in every split.
_HELD_OUT: dict[int, Split] = {
    **dict.fromkeys((0, 1, 8, 9), "practice"),
    **dict.fromkeys((16, 25), "validation"),
    **dict.fromkeys((17, 24), "test"),
}
_TRIES = 4000


def split_of(signature: str) -> Split:
    """The split that a signature belongs to."""
    part = hashlib.blake2b(signature.encode(), digest_size=1).digest()[0] % 32
    return _HELD_OUT.get(part, "train")


class ProblemSet(Sequence[Sample]):
    """`count` problems of one split, made when they are asked for and never kept; balanced over families x levels.

    Two sets with equal arguments are equal. `set[i]` costs about the same for every i. `problem(i)` gives the same
    problem with its labels. cells: the pairs of family and level, each once in every `len(cells)` problems.
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
        self.cells = check_choice(families, levels)

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

    def problems(self) -> Iterator[GeoProblem]:
        """All problems with their labels, one by one."""
        return (self.problem(index) for index in range(self._count))

    def problem(self, index: int) -> GeoProblem:
        """The problem at `index` (negative ones count from the end)."""
        place = index + self._count if index < 0 else index
        if not 0 <= place < self._count:
            raise IndexError(f"problem {index} of {self._count}")
        return finish(self._draft(place), image_size=self.image_size)

    def _draft(self, place: int) -> Draft:
        family, level = cell_of(self.cells, place, seed=self.seed)
        for attempt in range(_TRIES):
            drafted = draft(family, level, stream_seed(self.split, self.seed, place, attempt))
            if split_of(drafted.signature) == self.split:
                return drafted
        raise DataError(
            f"geosynth: no {self.split} problem of {family} at level {level} in {_TRIES} tries; leave the family out"
        )
