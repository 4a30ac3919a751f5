"""Families about the angles of triangles: angle sum, exterior angle, isosceles triangles."""

from __future__ import annotations

import random
from fractions import Fraction

from uec_vlm.geosynth.exact import Exact, decimal, rational
from uec_vlm.geosynth.scene import Quantity, Scene, Sketch, angle, drawable, letters, linear, signed, triangle


def corner_angle(at: str, text: object) -> Quantity:
    """The angle of a triangle, called by its vertex alone."""
    return angle(at, text, name=f"m \\angle {at[1]}")


def triangle_angles(rng: random.Random, level: int) -> Scene:
    """The angles of a triangle sum to 180."""
    a, b, c = letters(rng, 3, level)
    texts: tuple[str, ...]
    if level == 1:
        first, second = 5 * rng.randint(6, 19), 5 * rng.randint(6, 14)
        third = 180 - first - second
        if third < 30:
            return triangle_angles(rng, level)
        texts, answer, find = (str(first), str(second), ""), rational(third), ""
        solution = f"180-{first}-{second}={third}"
        wrong = [rational(180 - first), rational(180 - second), rational(first + second), rational(90 - second)]
    else:
        x, terms = _linear_angles(rng, level)
        first, second, third = (slope * x + offset for slope, offset in terms)
        slopes, offset = sum(slope for slope, _ in terms), sum(offset for _, offset in terms)
        texts = tuple(linear(*term) if term[0] else str(term[1]) for term in terms)
        answer, find = rational(x), "x"
        solution = f"{slopes}x{signed(offset)}=180, {slopes}x={180 - offset}, x={x}"
        wrong = [rational(Fraction(round(number))) for number in (180 / slopes, first, second, third)]
        if level == 3 and rng.random() < 0.4:
            answer, find = rational(first), f"m \\angle {a}"
            solution += f", {terms[0][0]}*{x}={first}"
            wrong = [rational(x), rational(second), rational(third), rational(180 - first)]
    places = triangle(*drawable(first, second, third, least=42 if level == 1 else 46)[:2])
    sketch = Sketch(dict(zip((a, b, c), places, strict=True)), lines=(a + b, b + c, c + a))
    angles = [corner_angle(at, text) for at, text in zip((b + a + c, a + b + c, a + c + b), texts, strict=True)]
    return Scene(
        sketch,
        given=tuple(angles[:2]) if level == 1 else tuple(angles),
        unknown=angles[2] if level == 1 else None,
        find=find,
        letters="angle" in find,
        answer=answer,
        wrong=tuple(wrong),
        solution=solution,
        shows=("triangle",),
        context=f"{a}{b}{c} is a triangle.",
    )


def _linear_angles(rng: random.Random, level: int) -> tuple[int, list[tuple[int, int]]]:
    """x and three angles (slope, offset) that sum to 180; at level 2 two multiples of x and a number."""
    while True:
        x = rng.randint(12, 40)
        if level == 2:
            terms = [(rng.randint(1, 3), 0), (rng.randint(1, 4), 0)]
            terms.append((0, 180 - x * (terms[0][0] + terms[1][0])))
        else:
            terms = [(rng.randint(1, 4), 0), (rng.randint(1, 3), 0), (rng.randint(1, 3), 0)]
            terms[2] = (terms[2][0], 180 - sum(slope * x for slope, _ in terms))
        usual = level == 2 or 0 < abs(terms[2][1]) < 40
        if usual and all(30 <= slope * x + offset <= 110 for slope, offset in terms):
            return x, terms


def exterior_angle(rng: random.Random, level: int) -> Scene:
    """An exterior angle of a triangle is the sum of the two remote interior angles."""
    a, b, c, d = letters(rng, 4, level)
    first, second = (5 * rng.randint(7, 15), 5 * rng.randint(7, 15)) if level == 1 else _two(rng, 36, 80, most=138)
    outer = first + second
    names = (b + a + c, a + b + c, a + c + d)
    if level < 3:
        backwards = level == 2
        values = (first, outer, second) if backwards else (first, second, outer)
        order = (names[0], names[2], names[1]) if backwards else names
        known = tuple(
            angle(at, value, "exterior angle" if at == names[2] else "angle")
            for at, value in zip(order[:2], values[:2], strict=True)
        )
        unknown, find = angle(order[2], "x", "angle" if backwards else "exterior angle"), ""
        answer = rational(values[2])
        solution = f"{outer}-{first}={second}" if backwards else f"{first}+{second}={outer}"
        wrong = [rational(180 - values[2]), rational(abs(180 - first - values[1])), rational(180 - first)]
    else:
        x, texts, solution = _exterior_equation(rng)
        first, second = texts[0][1], texts[1][1]
        known = tuple(
            angle(at, text, "exterior angle" if at == names[2] else "angle")
            for at, (text, _) in zip(names, texts, strict=True)
        )
        unknown, find, answer = None, "x", rational(x)
        wrong = [rational(first), rational(second), rational(180 - first - second), rational(x + 5)]
    corners = triangle(*drawable(first, second, 180 - first - second, least=40)[:2])
    places = dict(zip((a, b, c), (corners[0], corners[1], corners[2]), strict=True))
    reach = places[c] + (places[c] - places[b]) / abs(places[c] - places[b]) * 0.45
    sketch = Sketch({**places, d: reach}, lines=(a + b, c + a), arrows=(b + d,))
    return Scene(
        sketch,
        given=known,
        unknown=unknown,
        find=find,
        answer=answer,
        wrong=tuple(wrong),
        solution=solution,
        shows=("triangle with an extended side",),
        context=f"In \\triangle {a}{b}{c}, side {b}{c} is extended to {d}.",
    )


def _two(rng: random.Random, least: int, most_each: int, *, most: int) -> tuple[int, int]:
    while True:
        first, second = rng.randint(least, most_each), rng.randint(least, most_each)
        if first + second <= most:
            return first, second


def _exterior_equation(rng: random.Random) -> tuple[int, list[tuple[str, int]], str]:
    """x, the three labels with their values (two remote angles, the exterior one), and the solution."""
    while True:
        x, slope, out, known = rng.randint(8, 40), rng.randint(1, 4), rng.randint(2, 7), rng.randint(36, 80)
        rest = slope * x + known - out * x
        values = (slope * x, known, out * x + rest)
        if out > slope and 36 <= values[0] <= 80 and values[2] <= 136 and abs(rest) <= 60:
            texts = [linear(slope), str(known), linear(out, rest)]
            steps = f"{linear(slope)}+{known}={texts[2]}, "
            steps += f"{out - slope}x={known - rest}, " if out - slope > 1 else ""
            return x, list(zip(texts, values, strict=True)), f"{steps}x={x}"


def isosceles(rng: random.Random, level: int) -> Scene:
    """The base angles of an isosceles triangle are equal."""
    a, b, c = letters(rng, 3, level)
    top, left, right = b + a + c, a + b + c, a + c + b
    find, unknown = "", None
    if level == 1:
        base = 5 * rng.randint(6, 15) if rng.random() < 0.3 else rng.randint(30, 76)
        apex = Fraction(180 - 2 * base)
        known: tuple[Quantity, ...] = (corner_angle(left, base),)
        unknown, answer = corner_angle(top, "x"), rational(apex)
        solution = f"180-2*{base}={apex}"
        wrong = [rational(180 - base), rational(base), Exact(Fraction(180 - base, 2), decimal=base % 2 == 1)]
    elif level == 2:
        apex = Fraction(rng.randint(30, 120))
        half = (180 - apex) / 2
        base = round(half)
        known, unknown, answer = (corner_angle(top, apex),), corner_angle(right, "x"), decimal(half)
        solution = f"180-{apex}={180 - apex}, {180 - apex}/2={answer.latex}"
        wrong = [rational(180 - apex), rational(apex), decimal(apex / 2), rational(180 - 2 * apex)]
    else:
        x, one, two, base = _equal_angles(rng)
        apex = Fraction(180 - 2 * base)
        known = (corner_angle(left, linear(*one)), corner_angle(right, linear(*two)))
        steps = f"{linear(*one)}={linear(*two)}, x={x}"
        if rng.random() < 0.5:
            find, answer, solution = "x", rational(x), steps
            wrong = [rational(base), rational(apex), rational(x + 2), rational(2 * x)]
        else:
            unknown, answer = corner_angle(top, "y"), rational(apex)
            find, unknown = unknown.name, None
            solution = f"{steps}, {one[0]}*{x}={base}, 180-2*{base}={apex}"
            wrong = [rational(x), rational(base), rational(180 - base), rational(2 * base)]
    bottom = drawable(float(apex), (180 - float(apex)) / 2, (180 - float(apex)) / 2, least=50 if level == 3 else 44)[1]
    first, second, peak = triangle(bottom, bottom)
    sketch = Sketch({a: peak, b: first, c: second}, lines=(a + b, b + c, c + a), equal=((a + b, a + c),))
    return Scene(
        sketch,
        given=known,
        unknown=unknown,
        find=find,
        letters="angle" in find,
        answer=answer,
        wrong=tuple(wrong),
        solution=solution,
        shows=("isosceles triangle",),
        context=f"In \\triangle {a}{b}{c}, {a}{b}={a}{c}.",
    )


def _equal_angles(rng: random.Random) -> tuple[int, tuple[int, int], tuple[int, int], int]:
    """x, two expressions (slope, offset) with the same value, and that value, a base angle."""
    while True:
        x, one, two = rng.randint(8, 60), rng.randint(1, 6), rng.randint(1, 6)
        base = one * x
        rest = base - two * x
        if 30 <= base <= 76 and 0 < abs(rest) <= 60:
            return x, (one, 0), (two, rest), base
