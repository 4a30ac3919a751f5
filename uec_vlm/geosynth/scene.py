"""What a family hands over: a sketch in the plane, what is known and asked of it, the exact answer and a solution.

Points are complex numbers, y upwards, in any unit. A point is called by one character: a capital letter may be shown in
the picture, a small letter is a construction point and never shown. "AB" is the segment from A to B, "ABC" the angle
at B.
"""

from __future__ import annotations

import cmath
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from uec_vlm.geosynth.exact import Exact

Kind = Literal["side", "angle", "arc", "vertex"]
LEVELS = (1, 2, 3)


@dataclass(frozen=True)
class Sketch:
    """The drawn lines.

    points: name -> place. lines, dashed: segments by their two points. arrows: segments with a head at the second
    point. circles: (centre, radius). right_angles: "ABC" puts the small square at B. equal: groups of segments; the
    first group gets one tick, the second two. parallel: likewise, with arrow heads. dots: points drawn as dots.
    shaded: "OAB", a sector counter-clockwise. upright: the sketch is only turned by a few degrees.
    """

    points: Mapping[str, complex]
    lines: tuple[str, ...] = ()
    dashed: tuple[str, ...] = ()
    arrows: tuple[str, ...] = ()
    circles: tuple[tuple[str, float], ...] = ()
    right_angles: tuple[str, ...] = ()
    equal: tuple[tuple[str, ...], ...] = ()
    parallel: tuple[tuple[str, ...], ...] = ()
    dots: str = ""
    shaded: tuple[str, ...] = ()
    upright: bool = False


@dataclass(frozen=True)
class Quantity:
    """A length or an angle that can stand in the picture or in the text.

    kind, at: "side" "AB"; "angle" "ABC" (at B); "arc" "OAB" (of the circle round O, counter-clockwise from A to B).
    text: what is written for it: "12", "2x+10", "6\\sqrt{2}". noun: what the eye sees ("leg", "radius", "angle").
    name: how a text calls it ("AB", "m \\angle ABC").
    """

    kind: Kind
    at: str
    text: str
    noun: str
    name: str


@dataclass(frozen=True)
class Scene:
    """A problem before it is worded and drawn.

    given: what is known. unknown: where x stands, if the asked quantity has a place in the picture.
    find: what is asked where `unknown` is None ("the area of the circle").
    hint: a sentence for a reader who sees the picture ("The triangles are similar."); `context` says it otherwise.
    told: a sentence that every wording begins with ("The area of the rectangle is 48.").
    note: a sentence that every wording ends with ("Round to the nearest tenth.").
    context: what a reader without the picture must know; with it all quantities can be put into words.
    worded: the complete question in words, where the sentence made from `context` would not do.
    wrong: the answers of plausible mistakes, most plausible first. solution: short, ASCII, ends with the answer.
    shows: what the eye sees, in words: the figure, then its marks. letters: the question needs the points' letters.
    """

    sketch: Sketch
    given: tuple[Quantity, ...]
    answer: Exact
    wrong: tuple[Exact, ...]
    solution: str
    shows: tuple[str, ...]
    hint: str = ""
    told: str = ""
    note: str = ""
    context: str = ""
    worded: str = ""
    unknown: Quantity | None = None
    find: str = ""
    letters: bool = False


Build = Callable[[random.Random, int], Scene]


@dataclass(frozen=True)
class Family:
    """A kind of problem: its name, Geometry3K's types of figure and goal, and the function that draws one scene."""

    name: str
    graph: str
    goal: str
    build: Build


def side(at: str, text: object, noun: str = "side", *, name: str = "") -> Quantity:
    """The length of the segment `at`."""
    return Quantity("side", at, str(text), noun, name or at)


def angle(at: str, text: object, noun: str = "angle", *, name: str = "") -> Quantity:
    """The measure of the angle `at` in degrees; its vertex is the middle letter."""
    return Quantity("angle", at, str(text), noun, name or f"m \\angle {at}")


def arc(at: str, text: object, noun: str = "arc", *, name: str = "") -> Quantity:
    """The measure of an arc in degrees: `at` is the centre, then the ends counter-clockwise."""
    return Quantity("arc", at, str(text), noun, name or f"m \\widehat{{{at[1:]}}}")


def letters(rng: random.Random, count: int, level: int = 1) -> tuple[str, ...]:
    """`count` capital letters in a row: A, P or X first at level 1, any run of the alphabet without I and O later."""
    alphabet = "ABCDEFGHJKLMNPQRSTUVWXYZ"
    if level == 1:
        start = alphabet.index(rng.choice("APX" if count <= 3 else "AP"))
    else:
        start = rng.randrange(len(alphabet) - count + 1)
    return tuple(alphabet[start : start + count])


def polar(radius: float, degrees: float) -> complex:
    """The point at that distance and direction from the origin."""
    return cmath.rect(radius, math.radians(degrees))


def triangle(angle_at_first: float, angle_at_second: float) -> tuple[complex, complex, complex]:
    """Three corners with the given angles at the first two; the first side has length 1."""
    third = 180.0 - angle_at_first - angle_at_second
    height = math.sin(math.radians(angle_at_second)) / math.sin(math.radians(third))
    return 0j, 1 + 0j, polar(height, angle_at_first)


def linear(slope: int, offset: int = 0, symbol: str = "x") -> str:
    """`slope * x + offset` as it is written: "x", "2x", "x+5", "3x-10"."""
    head = symbol if slope == 1 else f"{slope}{symbol}"
    return head if offset == 0 else f"{head}{offset:+d}"


def signed(value: int) -> str:
    """`+5` or `-5`, and nothing for 0: the tail of a sum in a solution."""
    return f"{value:+d}" if value else ""


def drawable(*angles: float, least: float = 42.0) -> tuple[float, ...]:
    """A triangle's angles made at least `least` degrees, so that a number fits into each; they still sum to 180.

    Diagrams of extreme triangles are so not to scale, as in textbooks; the order of the angles is kept.
    """
    lifted = [max(value, least) for value in angles]
    excess = sum(lifted) - sum(angles)
    room = sum(value - least for value in lifted)
    return tuple(value - excess * (value - least) / room for value in lifted)
