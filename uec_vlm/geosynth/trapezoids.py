"""Families of trapezoids, rhombuses, kites and general quadrilaterals."""

from __future__ import annotations

import random
from fractions import Fraction

from uec_vlm.geosynth.exact import Exact, decimal, rational, square_root
from uec_vlm.geosynth.right_triangles import TRIPLES
from uec_vlm.geosynth.scene import Quantity, Scene, Sketch, letters, linear, side


def _halves(value: int) -> Exact:
    return decimal(Fraction(value, 2))


def trapezoid_midsegment(rng: random.Random, level: int) -> Scene:
    """The midsegment is half the sum of the bases."""
    a, b, c, d, m, n = letters(rng, 6, level)
    while True:
        low, top = rng.randint(6, 50), rng.randint(2, 40)
        if low > top + 2 and (level > 1 or (low + top) % 2 == 0):
            break
    bases = (side(a + b, low, "base"), side(d + c, top, "base"))
    middle, find = side(m + n, "x", "midsegment"), ""
    given: tuple[Quantity, ...] = bases
    unknown: Quantity | None = middle
    answer, solution = _halves(low + top), f"({low}+{top})/2={_halves(low + top).latex}"
    wrong = [rational(low + top), _halves(low - top), rational(low - top), _halves(low + top + 4)]
    if level == 2:
        half = rng.randint(top + 2, top + 30)
        low = 2 * half - top
        given, unknown = (bases[1], side(m + n, half, "midsegment")), side(a + b, "x", "base")
        answer, solution = rational(low), f"2*{half}-{top}={low}"
        wrong = [_halves(half + top), rational(half - top), rational(2 * half), rational(half + top)]
    elif level == 3:
        x, slope, offset = rng.randint(2, 20), rng.randint(2, 4), rng.randint(-9, 12)
        while (slope * x + offset + top) % 2 or slope * x + offset <= top:
            x, top = x + 1, rng.randint(2, 30)
        half = (slope * x + offset + top) // 2
        given = (
            side(a + b, linear(slope, offset), "base"), side(d + c, top, "base"), side(m + n, half, "midsegment"),
        )  # fmt: skip
        unknown, find, answer = None, "x", rational(x)
        solution = f"{linear(slope, offset)}+{top}=2*{half}, {slope}x={slope * x}, x={x}"
        wrong = [
            rational(Fraction(abs(half - offset - top) or 1, slope)),
            rational(slope * x + offset),
            rational(2 * x),
        ]
    corners = {a: 0j, b: 1.6 + 0j, c: 1.2 + 1j, d: 0.45 + 1j, m: 0.225 + 0.5j, n: 1.4 + 0.5j}
    return Scene(
        Sketch(
            corners,
            lines=(a + b, b + n, n + c, c + d, d + m, m + a, m + n),
            equal=((a + m, m + d), (b + n, n + c)),
        ),
        given=given,
        unknown=unknown,
        find=find,
        hint="The figure is a trapezoid." if level > 1 else "",
        answer=answer,
        wrong=tuple(wrong),
        solution=solution,
        shows=("trapezoid with its midsegment",),
        context=f"{a}{b}{c}{d} is a trapezoid with bases {a}{b} and {c}{d}, {m}{n} is its midsegment.",
    )


def trapezoid_area(rng: random.Random, level: int) -> Scene:
    """Half the sum of the bases times the height; backwards at level 2; the height by Pythagoras at level 3."""
    a, b, c, d, e = letters(rng, 5, level)
    low, top, height = rng.randint(5, 24), rng.randint(2, 16), rng.randint(2, 12)
    top = min(top, low - 2)
    if level < 3 and (low + top) * height % 2:
        height += 1
    area = Fraction((low + top) * height, 2)
    told, find, unknown = "", "the area of the trapezoid", None
    bases = (side(a + b, low, "base"), side(d + c, top, "base"))
    given: tuple[Quantity, ...] = (*bases, side(d + e, height, "height"))
    answer, solution = rational(area), f"({low}+{top})*{height}/2={area}"
    wrong = [rational(2 * area), rational(low * height), rational(low + top + height), rational(low * top)]
    if level == 2:
        told, find, unknown, given = f"The area of the trapezoid is {area}.", "", given[2], bases
        answer, solution = rational(height), f"2*{area}/({low}+{top})={2 * area}/{low + top}={height}"
        wrong = [rational(Fraction(area, low + top)), rational(Fraction(area, low)), rational(2 * height)]
    elif level == 3:
        foot, height, slanted = rng.choice([triple for triple in TRIPLES if triple[2] < 30])
        low = top + foot
        area = Fraction((low + top) * height, 2)
        given = (side(d + c, top, "base"), side(a + e, foot, "foot"), side(a + d, slanted, "leg"))
        answer = decimal(area)
        steps = f"\\sqrt{{{slanted}^2-{foot}^2}}={height}, {top}+{foot}={low}"
        solution = f"{steps}, ({low}+{top})*{height}/2={answer.latex}"
        wrong = [decimal(Fraction((low + top) * slanted, 2)), rational(top * height), rational(2 * area)]
    upright = level == 3
    points = {a: 0j, b: (1.4 if upright else 1.6) + 0j, c: (1.4 if upright else 1.25) + 1j, d: 0.6 + 1j, e: 0.6 + 0j}
    return Scene(
        Sketch(
            points,
            lines=(a + e, e + b, b + c, c + d, d + a),
            dashed=(d + e,),
            right_angles=(d + e + b, *((a + b + c,) if upright else ())),
        ),
        given=given,
        unknown=unknown,
        find=find,
        told=told,
        answer=answer,
        wrong=tuple(wrong),
        solution=solution,
        shows=("trapezoid with its height",),
        context=f"{a}{b}{c}{d} is a trapezoid with bases {a}{b} and {c}{d} and the height {d}{e}"
        + (f"; {b}{c} is perpendicular to the bases." if upright else "."),
    )


def _diamond(names: tuple[str, ...], half_wide: float, low: float, top: float) -> Sketch:
    """Corners left, bottom, right, top and the crossing of the diagonals."""
    a, b, c, d, e = names
    points = {a: complex(-half_wide), b: complex(0, -low), c: complex(half_wide), d: complex(0, top), e: 0j}
    return Sketch(
        points, lines=(a + b, b + c, c + d, d + a, a + e, e + c, b + e, e + d), right_angles=(c + e + d,), upright=False
    )


def rhombus_area(rng: random.Random, level: int) -> Scene:
    """Half the product of the diagonals; by a side and Pythagoras at level 2; backwards at level 3."""
    a, b, c, d, e = names = letters(rng, 5, level)
    one, two = rng.randint(2, 15), rng.randint(2, 15)
    halves = (side(a + e, one, "half diagonal"), side(b + e, two, "half diagonal"))
    told, find, unknown = "", "the area of the rhombus", None
    given: tuple[Quantity, ...] = halves
    area = 2 * one * two
    answer, solution = rational(area), f"2*{one}*{two}={area}"
    wrong = [rational(one * two), rational(4 * one * two), rational(Fraction(one * two, 2))]
    if level == 2:
        one, two, edge = rng.choice([triple for triple in TRIPLES if triple[2] < 60])
        if rng.random() < 0.5:
            one, two = two, one
        elif rng.random() < 0.5:
            one = rng.randint(2, 15)
            edge = one + rng.randint(1, 10)
            two = one
        other = square_root(edge * edge - one * one)
        answer = other.times(2 * one)
        given = (side(a + e, one, "half diagonal"), side(a + d, edge))
        solution = f"\\sqrt{{{edge}^2-{one}^2}}={other.latex}, 2*{one}*{other.latex}={answer.latex}"
        if other.latex == f"\\sqrt{{{edge * edge - one * one}}}":
            solution = solution.split("=", 1)[0] + solution[solution.index(", ") :]
        wrong = [rational(2 * one * edge), answer.times(Fraction(1, 2)), answer.times(2), rational(4 * edge)]
    elif level == 3:
        told, find, unknown, given = f"The area of the rhombus is {area}.", "", halves[1], halves[:1]
        solution = f"{area}/2={one * two}, {one * two}/{one}={two}"
        answer = rational(two)
        wrong = [rational(2 * two), rational(4 * two), rational(Fraction(two, 2)), rational(Fraction(area, 4 * one))]
    ratio = min(max(one / two, 0.85), 1.2)
    sketch = _diamond(names, ratio, 1.0, 1.0)
    return Scene(
        Sketch(sketch.points, sketch.lines, right_angles=sketch.right_angles, equal=((a + b, b + c, c + d, d + a),)),
        given=given,
        unknown=unknown,
        find=find,
        told=told,
        answer=answer,
        wrong=tuple(wrong),
        solution=solution,
        shows=("rhombus with diagonals",),
        context=f"{a}{b}{c}{d} is a rhombus, its diagonals cross at {e}.",
    )


def kite_area(rng: random.Random, level: int) -> Scene:
    """Half the product of the diagonals, given by their parts; by a side at level 2; backwards at level 3."""
    a, b, c, d, e = names = letters(rng, 5, level)
    half, low, top = rng.randint(2, 14), rng.randint(3, 16), rng.randint(1, 8)
    told, find, unknown = "", "the area of the kite", None
    if level == 2:
        half, low, edge = rng.choice([triple for triple in TRIPLES if triple[2] < 40])
    area = half * (low + top)
    parts = (side(a + e, half, "part"), side(b + e, low, "part"), side(e + d, top, "part"))
    given: tuple[Quantity, ...] = parts
    solution = f"{half}*({low}+{top})={area}"
    answer = rational(area)
    wrong = [rational(Fraction(area, 2)), rational(2 * area), rational(half * low), rational(half + low + top)]
    if level == 2:
        given = (side(a + b, edge), side(a + e, half, "part"), side(e + d, top, "part"))
        solution = f"\\sqrt{{{edge}^2-{half}^2}}={low}, {solution}"
        wrong = [rational(half * (edge + top)), rational(Fraction(area, 2)), rational(2 * area)]
    elif level == 3:
        told, find, unknown, given = f"The area of the kite is {area}.", "", parts[2], parts[:2]
        answer, solution = rational(top), f"{area}/{half}={low + top}, {low + top}-{low}={top}"
        wrong = [
            rational(low + top),
            rational(2 * top),
            rational(Fraction(abs(area - half - low) or 1, 2)),
            rational(top + 2),
        ]
    return Scene(
        Sketch(
            (sketch := _diamond(names, 0.85, 1.15, 0.7)).points,
            sketch.lines,
            right_angles=sketch.right_angles,
            equal=((a + b, b + c), (c + d, d + a)) if level != 2 else ((c + d, d + a),),
        ),
        given=given,
        unknown=unknown,
        find=find,
        told=told,
        answer=answer,
        wrong=tuple(wrong),
        solution=solution,
        shows=("kite with diagonals",),
        context=f"{a}{b}{c}{d} is a kite with {a}{b}={b}{c} and {c}{d}={d}{a}, its diagonals cross at {e}.",
    )
