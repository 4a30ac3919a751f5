"""Families of proportions in triangles (similar ones, parallels, midsegments, bisectors) and of their areas."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from uec_vlm.geosynth.algebra import double_pair, multiple
from uec_vlm.geosynth.exact import Exact, rational, square_root
from uec_vlm.geosynth.right_triangles import TRIPLES, legs_to_draw
from uec_vlm.geosynth.scene import Quantity, Scene, Sketch, letters, linear, side, triangle


def _proportion(rng: random.Random, level: int) -> tuple[int, int, int, Fraction]:
    """p, q, r and s with p/q = r/s: whole at level 1, a fraction at level 2."""
    while True:
        p, q, r = rng.randint(2, 20), rng.randint(2, 30), rng.randint(2, 20)
        s = Fraction(r * q, p)
        if p not in (q, r) and 2 <= s <= 60 and (s.denominator == 1) == (level != 2) and s.denominator <= 12:
            return p, q, r, s


@dataclass(frozen=True)
class _Ratio:
    """A proportion of four segments: the labels, what is asked, the answer with its mistakes and steps."""

    given: tuple[Quantity, ...]
    unknown: Quantity | None
    find: str
    answer: Fraction
    wrong: tuple[Exact, ...]
    solution: str


def _solve(rng: random.Random, level: int, nouns: Mapping[str, str]) -> _Ratio:
    """The first segment is to the second as the third to the fourth, which is x, or `x+c` at level 3.

    nouns: the four segments in that order, with what the eye sees of each.
    """
    p, q, r, s = _proportion(rng, level)
    (first, second, third, fourth), names = nouns, tuple(nouns.values())
    given: tuple[Quantity, ...] = (side(first, p, names[0]), side(second, q, names[1]), side(third, r, names[2]))
    if level < 3:
        answer, unknown, find = s, side(fourth, "x", names[3]), ""
        wrong = (Fraction(p * q, r), Fraction(p * r, q), Fraction(abs(r + q - p) or 1), Fraction(q + r))
        solution = f"{q}*{r}/{p}={rational(s).latex}"
    else:
        offset = rng.choice([value for value in range(-9, 10) if value and s - value > 0])
        text, answer, unknown, find = linear(1, offset), s - offset, None, "x"
        given = (*given, side(fourth, text, names[3]))
        wrong = (s, Fraction(p * r, q) - offset, s + offset, answer + 2)
        solution = f"{q}*{r}/{p}={s}, {text}={s}, x={answer}"
    return _Ratio(given, unknown, find, answer, tuple(rational(value) for value in wrong if value > 0), solution)


def similar_triangles(rng: random.Random, level: int) -> Scene:
    """Two similar triangles: corresponding sides are in proportion."""
    a, b, c, d, e, f = letters(rng, 6, level)
    corners = triangle(rng.choice((66, 70)), rng.choice((50, 56)))
    shrinks = rng.random() < 0.5
    one, two = (1.0, 0.62) if shrinks else (0.62, 1.0)
    shift = complex(0.75 * one, -1.25 * two)
    points = {a: corners[0] * one, b: corners[1] * one, c: corners[2] * one}
    points.update({name: shift + corner * two for name, corner in zip((d, e, f), corners, strict=True)})
    sides = {b + c: "long side", a + c: "short side", a + b: "middle side"}
    partners = {b + c: e + f, a + c: d + f, a + b: d + e}
    known, asked = rng.sample(list(sides), 2)
    big, small = ("big", "small") if shrinks else ("small", "big")
    nouns = {}
    for place in (known, asked):
        nouns[place], nouns[partners[place]] = f"{big} {sides[place]}", f"{small} {sides[place]}"
    while True:
        ratio = _solve(rng, level, nouns)
        if (int(ratio.given[0].text) > int(ratio.given[1].text)) == shrinks:
            break
    return Scene(
        Sketch(points, lines=(a + b, b + c, c + a, d + e, e + f, f + d), upright=True),
        given=ratio.given,
        unknown=ratio.unknown,
        find=ratio.find,
        hint="The triangles are similar.",
        answer=rational(ratio.answer),
        wrong=ratio.wrong,
        solution=ratio.solution,
        shows=("two similar triangles",),
        context=f"\\triangle {a}{b}{c} \\sim \\triangle {d}{e}{f}.",
    )


def side_splitter(rng: random.Random, level: int) -> Scene:
    """A line parallel to a side divides the other two sides in proportion."""
    a, b, c, d, e = letters(rng, 5, level)
    nouns = {a + d: "tip part", d + b: "base part", a + e: "tip part", e + c: "base part"}
    if rng.random() < 0.5:
        nouns = {place: nouns[place] for place in (d + b, a + d, e + c, a + e)}
    ratio = _solve(rng, level, nouns)
    tip_longer = (next(iter(nouns)) == a + d) == (int(ratio.given[0].text) > int(ratio.given[1].text))
    share = 0.55 if tip_longer else 0.45
    left, right, top = 0j, 1.25 + 0j, rng.choice((0.45, 0.62, 0.8)) + 1.15j
    points = {a: top, b: left, c: right, d: top + (left - top) * share, e: top + (right - top) * share}
    return Scene(
        Sketch(points, lines=(a + d, d + b, b + c, c + e, e + a, d + e), parallel=((d + e, b + c),)),
        given=ratio.given,
        unknown=ratio.unknown,
        find=ratio.find,
        answer=rational(ratio.answer),
        wrong=ratio.wrong,
        solution=ratio.solution,
        shows=("triangle with a parallel to its side",),
        context=f"In \\triangle {a}{b}{c}, {d} is on {a}{b}, {e} is on {a}{c} and {d}{e} \\parallel {b}{c}.",
    )


def triangle_midsegment(rng: random.Random, level: int) -> Scene:
    """The midsegment of a triangle is half as long as the third side."""
    a, b, c, m, n = letters(rng, 5, level)
    half = rng.randint(2, 60)
    middle, base = side(m + n, half, "midsegment"), side(b + c, 2 * half, "base")
    find = ""
    if level == 1:
        known, unknown = (middle, base) if rng.random() < 0.5 else (base, middle)
        given: tuple[Quantity, ...] = (known,)
        value = int(unknown.text)
        answer = rational(value)
        solution = f"2*{half}={value}" if known is middle else f"{2 * half}/2={value}"
        wrong = [rational(int(known.text)), rational(Fraction(half, 2)), rational(4 * half), rational(half + 2)]
        asked: Quantity | None = unknown
    elif level == 2:
        value, x, text = multiple(rng, lambda: rng.randint(3, 60))
        asked, find, answer = None, "x", rational(x)
        if rng.random() < 0.5:
            given, solution = (
                (side(m + n, text, "midsegment"), side(b + c, 2 * value, "base")),
                f"{2 * value}/2={value}",
            )
        else:
            value *= 2
            x *= 2
            answer = rational(x)
            given, solution = (
                (side(b + c, text, "base"), side(m + n, value // 2, "midsegment")),
                f"2*{value // 2}={value}",
            )
        solution += f", {text}={value}, x={x}"
        wrong = [rational(value), rational(2 * x), rational(Fraction(x, 2)), rational(x + 3)]
    else:
        pair = double_pair(rng, 8, 90, largest=20)
        given = (side(m + n, pair.texts[0], "midsegment"), side(b + c, pair.texts[1], "base"))
        asked, find, answer, solution = None, "x", rational(pair.x), pair.steps
        wrong = [rational(pair.values[1]), rational(2 * pair.x), rational(pair.x + 2), rational(pair.values[0])]
    top = rng.choice((0.4, 0.6, 0.75)) + 1.1j
    points = {a: top, b: 0j, c: 1.2 + 0j, m: top / 2, n: (top + 1.2) / 2}
    return Scene(
        Sketch(
            points,
            lines=(a + m, m + b, b + c, c + n, n + a, m + n),
            equal=((a + m, m + b), (a + n, n + c)),
        ),
        given=given,
        unknown=asked,
        find=find,
        answer=answer,
        wrong=tuple(wrong),
        solution=solution,
        shows=("triangle with its midsegment",),
        context=f"In \\triangle {a}{b}{c}, {m} and {n} are the midpoints of {a}{b} and {a}{c}.",
    )


def angle_bisector(rng: random.Random, level: int) -> Scene:
    """The bisector of an angle divides the opposite side in the proportion of the other two sides."""
    a, b, c, d = letters(rng, 4, level)
    nouns = {a + b: "side", a + c: "side", b + d: "part", d + c: "part"}
    if rng.random() < 0.5:
        nouns = {place: nouns[place] for place in (b + d, d + c, a + b, a + c)}
    while True:
        ratio = _solve(rng, level, nouns)
        first, second, third = (int(one.text) for one in ratio.given[:3])
        whole = (Fraction(first), Fraction(second), Fraction(third), Fraction(second * third, first))
        lengths = dict(zip(nouns, whole, strict=True))
        one, two = lengths[a + b], lengths[a + c]
        if abs(one - two) < lengths[b + d] + lengths[d + c] < one + two:
            break
    share = 0.57 if one > two else 0.43
    top = (0.75 if one > two else 0.45) + 0.95j
    return Scene(
        Sketch({a: top, b: 0j, c: 1.2 + 0j, d: complex(1.2 * share)}, lines=(a + b, b + d, d + c, c + a, a + d)),
        given=ratio.given,
        unknown=ratio.unknown,
        find=ratio.find,
        hint="The inner segment bisects the angle.",
        answer=rational(ratio.answer),
        wrong=ratio.wrong,
        solution=ratio.solution,
        shows=("triangle with a bisector",),
        context=f"In \\triangle {a}{b}{c}, {a}{d} bisects \\angle {a}.",
    )


def triangle_area(rng: random.Random, level: int) -> Scene:
    """Half of base times height; backwards or of a right triangle at level 2; equilateral or isosceles at level 3."""
    if level == 3:
        return _area_from_sides(rng)
    a, b, c, d = letters(rng, 4, level)
    base, height = rng.randint(2, 20), rng.randint(2, 16)
    if base * height % 2:
        base += 1
    area = base * height // 2
    find, told, unknown = "the area of the triangle", "", None
    low, high = side(b + c, base, "base"), side(a + d, height, "height")
    given: tuple[Quantity, ...] = (low, high)
    answer, solution = rational(area), f"{base}*{height}/2={area}"
    wrong = [rational(base * height), rational(base + height), rational(Fraction(area, 2))]
    points = {a: rng.choice((0.45, 0.6, 0.8)) + 1j, b: 0j, c: 1.3 + 0j}
    points[d] = complex(points[a].real)
    sketch = Sketch(points, (a + b, b + d, d + c, c + a), dashed=(a + d,), right_angles=(a + d + c,))
    shows, context = "triangle with its height", f"In \\triangle {a}{b}{c}, {a}{d} is the height on {b}{c}."
    if level == 2 and rng.random() < 0.5:
        told, find, unknown, given = f"The area of the triangle is {area}.", "", high, (low,)
        answer, solution = rational(height), f"2*{area}/{base}={2 * area}/{base}={height}"
        wrong = [rational(Fraction(area, base)), rational(2 * height), rational(abs(area - base) or 1)]
    elif level == 2:
        one, two, long = rng.choice(TRIPLES)
        area = one * two // 2
        wide, tall = legs_to_draw(two, one)
        sketch = Sketch(
            {b: 0j, c: complex(wide), a: complex(0, tall)}, (a + b, b + c, c + a), right_angles=(a + b + c,)
        )
        given = (side(b + c, two, "leg"), side(a + c, long, "hypotenuse"))
        answer, solution = rational(area), f"\\sqrt{{{long}^2-{two}^2}}={one}, {two}*{one}/2={area}"
        wrong = [rational(one * two), rational(Fraction(two * long, 2)), rational(one + two + long)]
        shows, context = "right triangle", f"In \\triangle {a}{b}{c}, \\angle {b} is a right angle."
    return Scene(
        sketch,
        given=given,
        unknown=unknown,
        find=find,
        told=told,
        answer=answer,
        wrong=tuple(wrong),
        solution=solution,
        shows=(shows,),
        context=context,
    )


def _area_from_sides(rng: random.Random) -> Scene:
    """An isosceles triangle of whole area, or an equilateral one."""
    a, b, c = letters(rng, 3, 3)
    if rng.random() < 0.6:
        half, height, edge = rng.choice(TRIPLES)
        if rng.random() < 0.5:
            half, height = height, half
        wide, tall = legs_to_draw(half, height, 1.6)
        points = {a: complex(0, tall), b: complex(-wide), c: complex(wide)}
        given: tuple[Quantity, ...] = (side(b + c, 2 * half, "base"), side(a + b, edge))
        answer = rational(half * height)
        steps = f"\\sqrt{{{edge}^2-{half}^2}}={height}"
        solution = f"{steps}, {2 * half}*{height}/2={half * height}"
        wrong = [rational(half * edge), rational(2 * half * height), rational(2 * edge + 2 * half)]
        equal: tuple[str, ...] = (a + b, a + c)
        shows, context = "isosceles triangle", f"In \\triangle {a}{b}{c}, {a}{b}={a}{c}."
    else:
        edge = rng.randint(2, 40)
        points = dict(zip((b, c, a), triangle(60, 60), strict=True))
        given = (side(b + c, edge),)
        answer = square_root(3, Fraction(edge * edge, 4))
        solution = f"{edge}^2*\\sqrt{{3}}/4={answer.latex}"
        wrong = [square_root(3, Fraction(edge * edge, 2)), rational(Fraction(edge * edge, 2)), rational(3 * edge)]
        equal, shows = (a + b, a + c, b + c), "equilateral triangle"
        context = f"\\triangle {a}{b}{c} is equilateral."
    return Scene(
        Sketch(points, (a + b, b + c, c + a), equal=(equal,)),
        given=given,
        find="the area of the triangle",
        answer=answer,
        wrong=tuple(wrong),
        solution=solution,
        shows=(shows,),
        context=context,
    )
