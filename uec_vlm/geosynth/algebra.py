"""Expressions in x for the third level, chosen backwards from x so that every answer is whole."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from uec_vlm.geosynth.scene import linear, signed


@dataclass(frozen=True)
class Pair:
    """Two expressions in x with their values, and the steps that lead to x, ending with `x=...`."""

    x: int
    texts: tuple[str, str]
    values: tuple[int, int]
    steps: str

    @property
    def first_step(self) -> str:
        """The value of the first expression, worked out: `3*15=45`."""
        return f"{self.texts[0].removesuffix('x') or 1}*{self.x}={self.values[0]}"


def equal_pair(rng: random.Random, least: int, most: int, *, largest: int = 60) -> Pair:
    """`ax` and `bx+c` of the same value between `least` and `most`; x at most `largest`."""
    while True:
        x, one, two = rng.randint(2, largest), rng.randint(1, 6), rng.randint(1, 6)
        value = one * x
        offset = value - two * x
        if one != two and least <= value <= most and abs(offset) <= 99:
            steps = f"{linear(one)}={linear(two, offset)}, "
            if one > two:
                steps += f"{one - two}x={offset}, " if one - two > 1 else ""
            else:
                steps += f"{two - one}x={-offset}, " if two - one > 1 else ""
            return Pair(x, (linear(one), linear(two, offset)), (value, value), f"{steps}x={x}")


def double_pair(rng: random.Random, least: int, most: int, *, largest: int = 60) -> Pair:
    """`ax` and `bx+c`, the second twice the first; the second's value is between `least` and `most`."""
    while True:
        pair = equal_pair(rng, least, most, largest=largest)
        slope = int(pair.texts[0].removesuffix("x") or 1)
        if slope % 2 == 0:
            half, rest = linear(slope // 2), pair.steps.split(", ", 1)[1]
            values = (pair.values[0] // 2, pair.values[0])
            return Pair(pair.x, (half, pair.texts[1]), values, f"2*{half}={pair.texts[1]}, {rest}")


def summing_pair(rng: random.Random, total: int, least: int) -> Pair:
    """`ax` and `bx+c` that sum to `total`, both at least `least`."""
    while True:
        x, one, two = rng.randint(3, 70), rng.randint(1, 5), rng.randint(1, 5)
        first = one * x
        second = total - first
        offset = second - two * x
        if min(first, second) >= least and 0 < abs(offset) <= 60:
            slope = one + two
            steps = f"{slope}x{signed(offset)}={total}, {slope}x={total - offset}, x={x}"
            return Pair(x, (linear(one), linear(two, offset)), (first, second), steps)


def multiple(rng: random.Random, draw: Callable[[], int]) -> tuple[int, int, str]:
    """A value from `draw` that 2, 3, 4, 5 or 6 divides, x, and the text `kx` for it."""
    while True:
        value, factor = draw(), rng.randint(2, 6)
        if value % factor == 0:
            return value, value // factor, linear(factor)
