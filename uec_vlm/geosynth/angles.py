"""Families about angles of lines: crossing lines, angles on a line, parallel lines."""

from __future__ import annotations

import random

from uec_vlm.geosynth.relations import relate
from uec_vlm.geosynth.scene import Scene, Sketch, letters, polar


def vertical_angles(rng: random.Random, level: int) -> Scene:
    """Two lines cross: the angle across is equal, the angle beside it is the rest to 180."""
    a, b, c, d, e = letters(rng, 5, level)
    across = rng.random() < 0.5
    first, second = a + e + c, (b + e + d if across else c + e + b)
    noun = "vertical angle" if across else "adjacent angle"
    found = relate(rng, level, first, second, total=None if across else 180, noun=noun)
    tilt = 180 - min(max(found.size, 42), 138)
    points = {a: polar(1, 180), b: polar(1, 0), c: polar(1, tilt), d: polar(1, tilt + 180), e: 0j}
    return Scene(
        Sketch(points, lines=(a + e, e + b, c + e, e + d)),
        given=found.given,
        unknown=found.unknown,
        find=found.find,
        letters="angle" in found.find,
        answer=found.answer,
        wrong=found.wrong,
        solution=found.solution,
        shows=("two crossing lines",),
        context=f"Lines {a}{b} and {c}{d} cross at {e}.",
    )


def linear_pair(rng: random.Random, level: int) -> Scene:
    """Angles side by side on a line sum to 180, in a right angle to 90."""
    a, b, c, d = letters(rng, 4, level)
    total = 90 if rng.random() < 0.4 else 180
    least = 30 if total == 180 else 20
    first, second = a + b + d, d + b + c
    if rng.random() < 0.5:
        first, second = second, first
    found = relate(rng, level, first, second, total=total, noun="angle", least=least)
    size = min(max(found.size, 40), total - 40)
    rise = size if first[2] == c or first[0] == c else total - size
    ends = {c: polar(1, 0), a: polar(1, total), b: 0j, d: polar(1, rise)}
    whole = (
        f"Point {b} is on line {a}{c}." if total == 180 else f"Angle {a}{b}{c} is a right angle, {b}{d} is inside it."
    )
    wrong = found.wrong if total == 180 else (*found.wrong[1:], found.wrong[0])
    return Scene(
        Sketch(ends, lines=(a + b, b + c), arrows=(b + d,), right_angles=(a + b + c,) if total == 90 else ()),
        given=found.given,
        unknown=found.unknown,
        find=found.find,
        letters="angle" in found.find,
        answer=found.answer,
        wrong=wrong,
        solution=found.solution,
        shows=("ray from a line",) if total == 180 else ("ray in a right angle",),
        context=whole,
    )


def parallel_lines(rng: random.Random, level: int) -> Scene:
    """A line across two parallels: equal angles, or angles that sum to 180, by their places."""
    a, b, c, d, e, f = letters(rng, 6, level)
    upper = (a + e + "p", "p" + e + b, b + e + f, f + e + a)
    lower = (c + f + e, e + f + d, d + f + "q", "q" + f + c)
    one, two = rng.randrange(4), rng.randrange(4)
    equal = (one - two) % 2 == 0
    names = ("corresponding angle" if one == two else "alternate angle") if equal else "supplementary angle"
    found = relate(rng, level, upper[one], lower[two], total=None if equal else 180, noun=names)
    size = found.size if one % 2 == 0 else 180 - found.size
    least = 48 if level < 3 else 58
    tilt = 180 - min(max(size, least), 180 - least)
    slide = polar(1, tilt)
    top, bottom = slide * 0.55 / slide.imag, -slide * 0.55 / slide.imag
    reach = 0.42 / slide.imag
    points = {
        a: top - 0.95, b: top + 0.95, c: bottom - 0.95, d: bottom + 0.95,
        e: top, f: bottom, "p": top + slide * reach, "q": bottom - slide * reach,
    }  # fmt: skip
    same = f"{a} and {c} are on the same side of {e}{f}."
    inner = "p" not in upper[one] and "q" not in lower[two]
    return Scene(
        Sketch(
            points,
            lines=(a + e, e + b, c + f, f + d, "p" + e, e + f, f + "q"),
            parallel=((a + b, c + d),),
        ),
        given=found.given,
        unknown=found.unknown,
        find=found.find,
        letters="angle" in found.find,
        answer=found.answer,
        wrong=found.wrong,
        solution=found.solution,
        shows=("parallel lines and a transversal",),
        context=f"{a}{b} \\parallel {c}{d}. A line meets {a}{b} at {e} and {c}{d} at {f}. {same}" if inner else "",
    )
