"""Two angles that are equal or sum to a known total: the same algebra for crossing lines, parallels, parallelograms."""

from __future__ import annotations

import random
from dataclasses import dataclass

from uec_vlm.geosynth.algebra import equal_pair, multiple, summing_pair
from uec_vlm.geosynth.exact import Exact, rational
from uec_vlm.geosynth.scene import Quantity, angle


@dataclass(frozen=True)
class Relation:
    """What two angles are to one another, worked out for a level: the labels, what is asked, the answer."""

    given: tuple[Quantity, ...]
    unknown: Quantity | None
    find: str
    answer: Exact
    wrong: tuple[Exact, ...]
    solution: str
    size: float


def relate(
    rng: random.Random, level: int, first: str, second: str, *, total: int | None, noun: str, least: int = 30
) -> Relation:
    """The angle at `second` from the angle at `first`: equal (`total` None), or both sum to `total`.

    Level 1: one is a number, the other is x. Level 2: the other is a multiple of x. Level 3: both are expressions.
    """
    if level < 3:
        value = _number(rng, level, total, least)
        if level == 2:
            value, x, text = multiple(rng, lambda: _number(rng, level, total, least))
            value = value if total is None else total - value
        other = value if total is None else total - value
        step = "" if total is None else f"{total}-{value}={other}"
        others = [abs(180 - other), abs(90 - other), other + 10, other - 10]
        if level == 1:
            wrong = tuple(rational(number) for number in others)
            unknown = angle(second, "x", noun)
            return Relation((angle(first, value),), unknown, "", rational(other), wrong, step or f"x={other}", value)
        solution = f"{step}, {text}={other}, x={x}" if step else f"{text}={other}, x={x}"
        wrong = (rational(other), rational(180 - value), rational(x + 5), rational(2 * x))
        return Relation(
            (angle(first, value), angle(second, text, noun)), None, "x", rational(x), wrong, solution, value
        )
    pair = equal_pair(rng, 36, 144) if total is None else summing_pair(rng, total, least)
    given = (angle(first, pair.texts[0]), angle(second, pair.texts[1], noun))
    if rng.random() < 0.6 or not first.isupper():
        wrong = tuple(rational(number) for number in (pair.values[0], pair.x + 5, 2 * pair.x, pair.values[1]))
        return Relation(given, None, "x", rational(pair.x), wrong, pair.steps, pair.values[0])
    wrong = tuple(rational(number) for number in (pair.x, 180 - pair.values[0], 2 * pair.values[0], pair.values[1]))
    solution = f"{pair.steps}, {pair.first_step}"
    return Relation(given, None, given[0].name, rational(pair.values[0]), wrong, solution, pair.values[0])


def _number(rng: random.Random, level: int, total: int | None, least: int) -> int:
    most = (total or 180) - least
    if level == 1:
        return 5 * rng.randint(-(-least // 5), most // 5) if rng.random() < 0.5 else rng.randint(least, most)
    return rng.randint(least, most)
