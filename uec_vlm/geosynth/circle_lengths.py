"""Families about arcs, sectors, tangents, chords and secants."""

from __future__ import annotations

import cmath
import math
import random
from fractions import Fraction

from uec_vlm.geosynth.algebra import equal_pair, multiple
from uec_vlm.geosynth.exact import Exact, pi_times, rational, square_root
from uec_vlm.geosynth.right_triangles import SMALL_TRIPLES, root_steps
from uec_vlm.geosynth.scene import Quantity, Scene, Sketch, angle, letters, linear, polar, side

_NICE_ANGLES = (30, 36, 40, 45, 60, 72, 80, 90, 120, 135, 144, 150)


def arc_length(rng: random.Random, level: int) -> Scene:
    """The length of an arc: its share of 2 pi r. Whole multiples of pi first, then fractions, then backwards."""
    return _share_of_circle(rng, level, area=False)


def sector_area(rng: random.Random, level: int) -> Scene:
    """The area of a sector: its share of pi r^2. Whole multiples of pi first, then fractions, then backwards."""
    return _share_of_circle(rng, level, area=True)


def _share_of_circle(rng: random.Random, level: int, *, area: bool) -> Scene:
    o, a, b = letters(rng, 3, level)
    while True:
        size, radius = rng.choice(_NICE_ANGLES), rng.randint(2, 18 if area else 30)
        whole = radius * radius if area else 2 * radius
        part = Fraction(size, 360) * whole
        if (part.denominator == 1) == (level != 2):
            break
    exact = pi_times(part)
    rule = f"{size}/360*\\pi*{radius}^2" if area else f"{size}/360*2*\\pi*{radius}"
    given = [side(o + a, radius, "radius"), angle(a + o + b, size, "central angle")]
    told, unknown, answer, solution = "", None, exact, f"{rule}={exact.latex}"
    find = "the area of the shaded sector" if area else f"the length of \\widehat{{{a}{b}}}"
    wrong = [pi_times(part * 2), pi_times(whole), pi_times(part / 2), pi_times(Fraction(size, 180) * radius * radius)]
    if level == 3:
        by_angle = rng.random() < 0.5
        what = "area of the shaded sector" if area else f"length of \\widehat{{{a}{b}}}"
        told, find = f"The {what} is {exact.latex}.", ""
        unknown = given.pop(1 if by_angle else 0)
        answer = rational(size if by_angle else radius)
        if by_angle:
            solution = f"360*{part}/{whole}={size}"
            wrong = [rational(size // 2), rational(2 * size), rational(360 - size), rational(180 - size or 90)]
        elif area:
            solution = f"{part}*360/{size}={whole}, \\sqrt{{{whole}}}={radius}"
            wrong = [rational(whole), rational(2 * radius), rational(Fraction(whole, 2)), rational(radius + 2)]
        else:
            solution = f"{part}*360/{size}={whole}, {whole}/2={radius}"
            wrong = [rational(whole), rational(Fraction(radius, 2)), rational(radius + 2), rational(4 * radius)]
    low = min(max(size, 62), 150)
    return Scene(
        Sketch(
            {o: 0j, a: polar(1, 0), b: polar(1, low)},
            lines=(o + a, o + b),
            circles=((o, 1.0),),
            dots=o,
            shaded=(o + a + b,) if area else (),
        ),
        given=tuple(given),
        unknown=unknown,
        find=find,
        letters=not area,
        told=told,
        answer=answer,
        wrong=tuple(wrong),
        solution=solution,
        shows=("circle with a shaded sector",) if area else ("circle with two radii",),
        context=f"{o}{a} and {o}{b} are radii of \\odot {o}" + (" and bound a shaded sector." if area else "."),
    )


def tangent(rng: random.Random, level: int) -> Scene:
    """A tangent is at right angles to the radius: Pythagoras; at level 3 with only the outer part of the long side."""
    o, t, p, q = letters(rng, 4, level)
    radius, length, far = rng.choice(SMALL_TRIPLES)
    if rng.random() < 0.5:
        radius, length = length, radius
    if level == 2:
        radius, length = rng.randint(2, 12), rng.randint(2, 12)
    drawn = min(max(length / radius, 1.1), 1.9)
    points = {o: 0j, t: 1j, p: complex(drawn, 1)}
    if level == 3:
        return _tangent_by_outer_part(rng, (o, t, p, q))
    squares = radius * radius + length * length
    legs = (side(o + t, radius, "radius"), side(t + p, length, "tangent"))
    given: tuple[Quantity, ...]
    if rng.random() < 0.5:
        given, unknown, answer = legs, side(o + p, "x", "long side"), square_root(squares)
        solution = root_steps(f"{radius}^2+{length}^2", squares)
        wrong = [rational(radius + length), square_root(abs(radius * radius - length * length) or 3), rational(squares)]
    else:
        if level == 2:
            far = radius + rng.randint(1, 6)
        rest = far * far - radius * radius
        given, unknown = (legs[0], side(o + p, far, "long side")), side(t + p, "x", "tangent")
        answer, solution = square_root(rest), root_steps(f"{far}^2-{radius}^2", rest)
        wrong = [rational(far - radius), square_root(far * far + radius * radius), rational(far + radius)]
    return Scene(
        Sketch(
            points,
            lines=(o + t, t + p, p + o),
            circles=((o, 1.0),),
            right_angles=(o + t + p,) if level == 1 else (),
            dots=o,
        ),
        given=given,
        unknown=unknown,
        answer=answer,
        wrong=tuple(wrong),
        solution=solution,
        shows=("circle with a tangent",),
        context=f"{p}{t} is tangent to \\odot {o} at {t}.",
    )


def _tangent_by_outer_part(rng: random.Random, names: tuple[str, str, str, str]) -> Scene:
    """The radius from the tangent t and the outer part e of the segment to the centre: r = (t^2 - e^2) / 2e."""
    o, t, p, q = names
    while True:
        outer, length = rng.randint(1, 24), rng.randint(2, 40)
        radius = Fraction(length * length - outer * outer, 2 * outer)
        if length > outer and radius.denominator <= 4 and 1 <= radius <= 60:
            break
    answer = rational(radius)
    end = complex(min(max(float(length / radius), 1.1), 1.9), 1)
    steps = f"({length}^2-{outer}^2)/(2*{outer})={length * length - outer * outer}/{2 * outer}"
    return Scene(
        Sketch(
            {o: 0j, t: 1j, p: end, q: end / abs(end)},
            lines=(o + t, t + p, p + q, q + o),
            circles=((o, 1.0),),
            dots=o,
        ),
        given=(side(t + p, length, "tangent"), side(q + p, outer, "outer part")),
        unknown=side(o + t, "x", "radius"),
        answer=answer,
        wrong=(
            rational(radius + outer),
            rational(length - outer),
            square_root(length * length + outer * outer),
            rational(outer),
        ),
        solution=f"{steps}={answer.latex}",
        shows=("circle with a tangent",),
        context=f"{p}{t} is tangent to \\odot {o} at {t}. {o}{p} meets the circle at {q}.",
    )


def two_tangents(rng: random.Random, level: int) -> Scene:
    """Two tangents from a point: equal lengths, and the angle at the point and the central angle sum to 180."""
    o, p, a, b = letters(rng, 4, level)
    find, unknown = "", None
    lines: tuple[str, ...] = (p + a, p + b)
    opening = 62.0
    if level == 1:
        size = rng.randint(35, 85)
        opening = min(max(size, 50), 58)
        lines = (*lines, o + a, o + b)
        ends = (angle(a + p + b, size), angle(a + o + b, 180 - size, "central angle"))
        known, other = ends if rng.random() < 0.5 else ends[::-1]
        value, rest = int(known.text), int(other.text)
        given: tuple[Quantity, ...] = (known,)
        unknown, answer, solution = other, rational(rest), f"180-{value}={rest}"
        wrong = [rational(value), rational(360 - value), rational(2 * value), rational(Fraction(value // 2))]
    elif level == 2:
        value, x, text = multiple(rng, lambda: rng.randint(6, 90))
        given, find, answer = (side(p + a, value, "tangent"), side(p + b, text, "tangent")), "x", rational(x)
        solution = f"{text}={value}, x={x}"
        wrong = [rational(value), rational(2 * value), rational(value - x or 1), rational(x + 2)]
    else:
        pair = equal_pair(rng, 6, 80, largest=30)
        given = (side(p + a, pair.texts[0], "tangent"), side(p + b, pair.texts[1], "tangent"))
        find, answer, solution = "x", rational(pair.x), pair.steps
        wrong = [rational(pair.values[0]), rational(2 * pair.x), rational(pair.x + 2), rational(pair.x + 3)]
        if rng.random() < 0.4:
            find, answer, solution = f"{p}{a}", rational(pair.values[0]), f"{pair.steps}, {pair.first_step}"
            wrong = [rational(pair.x), rational(2 * pair.values[0]), rational(pair.values[0] + 3)]
    half = 90 - opening / 2
    points = {o: 0j, p: complex(1 / math.cos(math.radians(half))), a: polar(1, half), b: polar(1, -half)}
    return Scene(
        Sketch(points, lines=lines, circles=((o, 1.0),), dots=o),
        given=given,
        unknown=unknown,
        find=find,
        letters=len(find) == 2,
        answer=answer,
        wrong=tuple(wrong),
        solution=solution,
        shows=("circle with two tangents",),
        context=f"{p}{a} and {p}{b} are tangent to \\odot {o} at {a} and {b}.",
    )


def chord(rng: random.Random, level: int) -> Scene:
    """The perpendicular from the centre halves a chord.

    Level 1: radius, distance and half chord by Pythagoras. Level 2: the same with surds. Level 3: the whole chord is
    asked or told.
    """
    o, a, b, m = letters(rng, 4, level)
    half, distance, radius = rng.choice(SMALL_TRIPLES)
    if rng.random() < 0.5:
        half, distance = distance, half
    if level > 1:
        radius = rng.randint(4, 20)
        distance = rng.randint(1, radius - 1)
    square = radius * radius - distance * distance
    drawn = min(max(distance / radius, 0.58), 0.72)
    wide = math.sqrt(1 - drawn * drawn)
    hypotenuse, cathetus = side(o + a, radius, "radius"), side(o + m, distance, "distance")
    told, find, unknown = "", "", None
    given: tuple[Quantity, ...] = (hypotenuse, cathetus)
    if level < 3:
        unknown, answer = side(a + m, "x", "half chord"), square_root(square)
        solution = root_steps(f"{radius}^2-{distance}^2", square)
        wrong = [
            rational(radius - distance),
            square_root(radius * radius + distance * distance),
            square_root(square, 2),
        ]
    elif rng.random() < 0.5:
        find, answer = f"{a}{b}", square_root(square, 2)
        solution = f"2*\\sqrt{{{radius}^2-{distance}^2}}=2*\\sqrt{{{square}}}={answer.latex}"
        wrong = [square_root(square), rational(2 * (radius - distance)), square_root(radius**2 + distance**2, 2)]
    else:
        half, distance = rng.randint(2, 20), rng.randint(2, 20)
        square = half * half + distance * distance
        cathetus = side(o + m, distance, "distance")
        told, given, unknown, answer = f"{a}{b}={2 * half}.", (cathetus,), hypotenuse, square_root(square)
        solution = f"{2 * half}/2={half}, {root_steps(f'{half}^2+{distance}^2', square)}"
        wrong = [square_root(4 * half * half + distance * distance), rational(half + distance), rational(2 * half)]
    return Scene(
        Sketch(
            {o: 0j, a: complex(-wide, -drawn), b: complex(wide, -drawn), m: complex(0, -drawn)},
            lines=(a + m, m + b, o + a, o + m),
            circles=((o, 1.0),),
            right_angles=(o + m + b,),
            dots=o,
        ),
        given=given,
        unknown=unknown,
        find=find,
        letters=bool(find or told),
        told=told,
        answer=answer,
        wrong=tuple(wrong),
        solution=solution,
        shows=("circle with a chord",),
        context=f"{a}{b} is a chord of \\odot {o}, {o}{m} is perpendicular to it at {m}.",
    )


def crossing_chords(rng: random.Random, level: int) -> Scene:
    """Two chords cross: the products of their parts are equal."""
    a, b, c, d, e = letters(rng, 5, level)
    while True:
        one, two, three = (rng.randint(2, 20) for _ in range(3))
        rest = Fraction(one * two, three)
        if (rest.denominator == 1) == (level == 1) and three not in (one, two) and rest < 60:
            break
    noun = "part"
    given: tuple[Quantity, ...] = (side(a + e, one, noun), side(e + b, two, noun), side(c + e, three, noun))
    unknown, find = side(e + d, "x", noun), ""
    answer: Exact = rational(rest)
    solution = f"{one}*{two}/{three}={answer.latex}"
    wrong = [rational(abs(one + two - three) or 1), rational(Fraction(one * three, two)), rational(one * two)]
    if level == 3:
        x, factor = rng.randint(2, 12), rng.randint(2, 5)
        product = factor * x * x
        one, two = rng.choice([(left, product // left) for left in range(2, 25) if product % left == 0])
        given = (*given[:0], side(a + e, one, noun), side(e + b, two, noun),
                 side(c + e, "x", noun), side(e + d, linear(factor), noun))  # fmt: skip
        find, answer = "x", rational(x)
        solution = f"{factor}x^2={one}*{two}={product}, x^2={x * x}, x={x}"
        wrong = [rational(x * x), rational(factor * x), rational(Fraction(product, factor + 1)), rational(x + 1)]
    cross = polar(0.22, rng.choice((0, 90, 180, 270)))
    points = {e: cross}
    for name, degrees in ((a, 200), (c, 120), (b, 20), (d, 300)):
        points[name] = _hit(cross, polar(1, degrees))
    return Scene(
        Sketch({"o": 0j, **points}, lines=(a + e, e + b, c + e, e + d), circles=(("o", 1.0),)),
        given=given,
        unknown=unknown if level < 3 else None,
        find=find,
        answer=answer,
        wrong=tuple(wrong),
        solution=solution,
        shows=("circle with two crossing chords",),
        context=f"Chords {a}{b} and {c}{d} of a circle cross at {e}.",
    )


def _hit(start: complex, way: complex) -> complex:
    """Where a ray from inside the unit circle meets it."""
    along = (start * way.conjugate()).real
    return start + way * (-along + math.sqrt(along * along + 1 - abs(start) ** 2))


def tangent_secant(rng: random.Random, level: int) -> Scene:
    """A tangent and a secant from a point: the tangent's square is the outer part times the whole secant."""
    p, t, a, b = letters(rng, 4, level)
    while True:
        outer, inner = rng.randint(1, 40), rng.randint(1, 60)
        root = square_root(outer * (outer + inner))
        if (root.root == 1) == (level != 2):
            break
    square = outer * (outer + inner)
    parts = (side(p + a, outer, "outer part"), side(a + b, inner, "inner part"))
    touch = side(p + t, root.latex, "tangent")
    if level < 3:
        given, unknown, answer = parts, side(p + t, "x", "tangent"), root
        solution = root_steps(f"{outer}*({outer}+{inner})", square)
        wrong = [square_root(outer * inner), rational(outer + inner), square_root(inner * (outer + inner))]
    else:
        given, unknown, answer = (parts[0], touch), parts[1], rational(inner)
        length = int(root.fraction)
        solution = f"{length}^2/{outer}={outer + inner}, {outer + inner}-{outer}={inner}"
        wrong = [rational(outer + inner), rational(abs(length - outer) or 1), rational(length)]
    away = 1.95 + 0j
    half = math.degrees(math.acos(1 / away.real))
    through = polar(1, 205)
    way = (through - away) / abs(through - away)
    along = -((away * way.conjugate()).real)
    near = away + way * (along - cmath.sqrt(along * along - abs(away) ** 2 + 1).real)
    return Scene(
        Sketch(
            {"o": 0j, p: away, t: polar(1, half), a: near, b: through},
            lines=(p + t, p + a, a + b),
            circles=(("o", 1.0),),
        ),
        given=given,
        unknown=unknown,
        answer=answer,
        wrong=tuple(wrong),
        solution=solution,
        shows=("circle with a tangent and a secant",),
        context=f"{p}{t} is tangent to a circle at {t}; a line from {p} meets the circle at {a}, then {b}.",
    )
