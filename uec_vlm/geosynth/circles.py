"""Families about whole circles and their angles: circumference, area, central and inscribed angles."""

from __future__ import annotations

import math
import random
from fractions import Fraction

from uec_vlm.geosynth.algebra import double_pair, multiple
from uec_vlm.geosynth.exact import Exact, pi_times, rational, square_root
from uec_vlm.geosynth.relations import relate
from uec_vlm.geosynth.right_triangles import TRIPLES, legs_to_draw
from uec_vlm.geosynth.scene import Quantity, Scene, Sketch, angle, arc, letters, linear, polar, side, signed


def _radius_sketch(o: str, a: str) -> Sketch:
    return Sketch({o: 0j, a: polar(1, 20)}, lines=(o + a,), circles=((o, 1.0),), dots=o)


def _diameter_sketch(o: str, a: str, b: str) -> Sketch:
    return Sketch({o: 0j, a: polar(1, 20), b: polar(1, 200)}, lines=(a + b,), circles=((o, 1.0),), dots=o)


def _inscribed_right(rng: random.Random, o: str, a: str, b: str, c: str) -> tuple[Sketch, tuple[Quantity, ...], int]:
    """A circle round a right triangle with whole sides, its legs given; the hypotenuse is the diameter."""
    one, two, long = rng.choice(TRIPLES)
    wide, high = legs_to_draw(one, two, 1.7)
    corner = 180 - math.degrees(2 * math.atan2(high, wide))
    sketch = Sketch(
        {o: 0j, a: polar(1, 0), b: polar(1, 180), c: polar(1, corner)},
        lines=(a + o, o + b, b + c, c + a),
        circles=((o, 1.0),),
        dots=o,
        right_angles=(a + c + b,),
    )
    given = (side(b + c, two, "leg"), side(a + c, one, "leg"))
    return sketch, given, long


def circumference(rng: random.Random, level: int) -> Scene:
    """2 pi r, or pi d; backwards at level 2; round a right triangle or a square at level 3."""
    o, a, b, c = letters(rng, 4, level)
    if level == 3:
        return (
            _round_square(rng, o, (a, b, c)) if rng.random() < 0.5 else _round_triangle(rng, o, (a, b, c), area=False)
        )
    by_radius = rng.random() < 0.5
    sketch = _radius_sketch(o, a) if by_radius else _diameter_sketch(o, a, b)
    where, noun = (o + a, "radius") if by_radius else (a + b, "diameter")
    if level == 1:
        number = rng.randint(1, 40)
        answer = pi_times(2 * number if by_radius else number)
        wrong = (pi_times(number), pi_times(2 * number), pi_times(number * number), pi_times(4 * number))
        return Scene(
            sketch,
            given=(side(where, number, noun),),
            find="the circumference of the circle",
            answer=answer,
            wrong=wrong,
            solution=f"{'2*' if by_radius else ''}\\pi*{number}={answer.latex}",
            shows=("circle",),
            worded=f"The {noun} of a circle is {number}. Find the circumference of the circle.",
        )
    number = rng.randint(3, 75)
    half = Exact(Fraction(number, 2), decimal=number % 2 == 1)
    answer = half if by_radius else rational(number)
    return Scene(
        sketch,
        given=(),
        unknown=side(where, "x", noun, name=f"its {noun}"),
        told=f"The circumference of the circle is {number}\\pi.",
        answer=answer,
        wrong=(rational(number), rational(2 * number), half, rational(4 * number)),
        solution=f"2*\\pi*x={number}\\pi, {number}/2={half.latex}" if by_radius else f"\\pi*x={number}\\pi, x={number}",
        shows=("circle",),
        worded=f"The circumference of a circle is {number}\\pi. Find its {noun}.",
    )


def _round_square(rng: random.Random, o: str, corners: tuple[str, str, str]) -> Scene:
    """The circumference of the circle round a square."""
    edge = rng.randint(2, 40)
    names = (*corners, "d")
    points = {name: polar(1, 45 + 90 * place) for place, name in enumerate(names)}
    edges = tuple(first + second for first, second in zip(names, (*names[1:], names[0]), strict=True))
    answer = Exact(Fraction(edge), 2, 1)
    return Scene(
        Sketch(
            {o: 0j, **points}, edges, circles=((o, 1.0),), right_angles=("".join(corners),), equal=(edges[1:],), dots=o
        ),
        given=(side(edges[0], edge),),
        find="the circumference of the circle",
        answer=answer,
        wrong=(pi_times(edge), pi_times(2 * edge), answer.times(2), answer.times(Fraction(1, 2))),
        solution=f"{edge}*\\sqrt{{2}}*\\pi={answer.latex}",
        shows=("square in a circle",),
        worded=f"A square with sides of length {edge} is inscribed in a circle. Find the circumference of the circle.",
    )


def _round_triangle(rng: random.Random, o: str, corners: tuple[str, str, str], *, area: bool) -> Scene:
    """The circumference or the area of the circle round a right triangle with whole sides."""
    a, b, c = corners
    sketch, given, long = _inscribed_right(rng, o, a, b, c)
    legs = [int(one.text) for one in given]
    steps = f"\\sqrt{{{legs[0]}^2+{legs[1]}^2}}={long}"
    if area:
        answer = pi_times(Fraction(long * long, 4))
        wrong = [pi_times(long * long), pi_times(long), pi_times(Fraction(legs[0] * legs[1], 2))]
        solution = f"{steps}, \\pi*({long}/2)^2={answer.latex}"
    else:
        answer = pi_times(long)
        wrong = [pi_times(2 * long), pi_times(sum(legs)), pi_times(Fraction(long * long, 4)), pi_times(long * long)]
        solution = f"{steps}, \\pi*{long}={answer.latex}"
    return Scene(
        sketch,
        given=given,
        find=f"the {'area' if area else 'circumference'} of the circle",
        answer=answer,
        wrong=tuple(wrong),
        solution=solution,
        shows=("right triangle in a circle",),
        context=f"{a}{b}{c} is a right triangle in a circle, \\angle {c} is the right angle.",
    )


def circle_area(rng: random.Random, level: int) -> Scene:
    """pi r^2; of an odd diameter or backwards at level 2; a ring or round a right triangle at level 3."""
    o, a, b, c = letters(rng, 4, level)
    if level == 3:
        return _ring(rng, o, a, b) if rng.random() < 0.5 else _round_triangle(rng, o, (a, b, c), area=True)
    if level == 2 and rng.random() < 0.5:
        return _radius_from_area(rng, o, a)
    by_radius = level == 1 and rng.random() < 0.6
    number = rng.randint(2, 30) if by_radius else 2 * rng.randint(1, 20) + (level == 2)
    where, noun = (o + a, "radius") if by_radius else (a + b, "diameter")
    radius = Fraction(number, 1 if by_radius else 2)
    answer = pi_times(radius * radius)
    shown = f"({number}/2)" if radius.denominator > 1 else str(radius)
    wrong = (pi_times(2 * radius), answer.times(4), pi_times(4 * radius), answer.times(Fraction(1, 2)))
    return Scene(
        _radius_sketch(o, a) if by_radius else _diameter_sketch(o, a, b),
        given=(side(where, number, noun),),
        find="the area of the circle",
        answer=answer,
        wrong=wrong,
        solution=f"\\pi*{shown}^2={answer.latex}",
        shows=("circle",),
        worded=f"The {noun} of a circle is {number}. Find the area of the circle.",
    )


def _radius_from_area(rng: random.Random, o: str, a: str) -> Scene:
    """The radius, often with a surd, from an area that is told."""
    inside = rng.choice([value for value in range(2, 200) if value != 4])
    answer = square_root(inside)
    return Scene(
        _radius_sketch(o, a),
        given=(),
        unknown=side(o + a, "x", "radius", name="its radius"),
        told=f"The area of the circle is {inside}\\pi.",
        answer=answer,
        wrong=(rational(inside), rational(Fraction(inside, 2)), answer.times(2), rational(2 * inside)),
        solution=f"x^2={inside}, x={answer.latex}",
        shows=("circle",),
        worded=f"The area of a circle is {inside}\\pi. Find its radius.",
    )


def _ring(rng: random.Random, o: str, a: str, b: str) -> Scene:
    """The area between two circles with one centre, from the inner radius and the width."""
    inner, width = rng.randint(2, 12), rng.randint(1, 8)
    outer = inner + width
    answer = pi_times(outer * outer - inner * inner)
    points = {o: 0j, a: polar(0.55, 20), b: polar(1, 20)}
    return Scene(
        Sketch(points, lines=(o + a, a + b), circles=((o, 0.55), (o, 1.0)), dots=o + a),
        given=(side(o + a, inner, "inner radius"), side(a + b, width, "width of the ring")),
        find="the area of the ring",
        answer=answer,
        wrong=(pi_times(width * width), pi_times(outer * outer), pi_times(outer * outer + inner * inner)),
        solution=f"{inner}+{width}={outer}, \\pi*({outer}^2-{inner}^2)={answer.latex}",
        shows=("two circles with one centre",),
        worded=f"A ring has the inner radius {inner} and the width {width}. Find its area.",
    )


def central_angle(rng: random.Random, level: int) -> Scene:
    """Central angles and arcs: an arc has its angle's measure, all of them sum to 360."""
    o, a, b, c = letters(rng, 4, level)
    context = f"{a}, {b} and {c} are on \\odot {o}."
    if level == 1:
        size = rng.randint(40, 160)
        major = rng.random() < 0.5
        low = min(max(size, 60), 150)
        points = {o: 0j, a: polar(1, 0), b: polar(1, low), c: polar(1, low / 2 + 180)}
        name = f"m \\widehat{{{a}{c}{b}}}" if major else f"m \\widehat{{{a}{b}}}"
        unknown = arc(o + b + a, "x", "major arc", name=name) if major else arc(o + a + b, "x", "minor arc", name=name)
        value = 360 - size if major else size
        return Scene(
            Sketch(points, lines=(o + a, o + b), circles=((o, 1.0),), dots=o + c),
            given=(angle(a + o + b, size, "central angle"),),
            unknown=unknown,
            answer=rational(value),
            wrong=(
                rational(360 - value),
                rational(abs(180 - size) or 90),
                rational(Fraction(size // 2)),
                rational(2 * size),
            ),
            solution=f"360-{size}={value}" if major else f"x={value}",
            shows=("circle with two radii",),
            context=f"{context[:-1]}, {c} on the major arc.",
        )
    return _three_sectors(rng, level, o, (a, b, c))


def _three_sectors(rng: random.Random, level: int, o: str, ends: tuple[str, str, str]) -> Scene:
    """Three radii: two central angles given, or three expressions that sum to 360."""
    a, b, c = ends
    names = (a + o + b, b + o + c, c + o + a)
    while True:
        if level == 2:
            sizes = [rng.randint(60, 170), rng.randint(60, 170)]
            texts, x, steps = [str(size) for size in sizes], 0, ""
        else:
            x, slopes = rng.randint(10, 60), [rng.randint(1, 5) for _ in range(3)]
            sizes = [slopes[0] * x, slopes[1] * x]
            offset = 360 - sum(slopes) * x
            texts = [linear(slopes[0]), linear(slopes[1]), linear(slopes[2], offset)]
            total = sum(slopes)
            steps = f"{total}x{signed(offset)}=360, {total}x={360 - offset}, x={x}"
            if not 0 < abs(offset) <= 60:
                continue
        sizes.append(360 - sum(sizes))
        if all(60 <= size <= 170 for size in sizes):
            break
    angles_ = [angle(at, text, "central angle") for at, text in zip(names, [*texts, "x"][:3], strict=True)]
    drawn = [max(size, 85) for size in sizes]
    scale = 360 / sum(drawn)
    points = {o: 0j, a: polar(1, 0), b: polar(1, drawn[0] * scale), c: polar(1, (drawn[0] + drawn[1]) * scale)}
    first, second, third = sizes
    if level == 2:
        solution, answer = f"360-{first}-{second}={third}", rational(third)
        wrong = [
            rational(360 - first),
            rational(360 - second),
            rational(abs(180 - first - second) or 90),
            rational(180 - third),
        ]
    else:
        solution, answer = steps, rational(x)
        wrong = [rational(first), rational(second), rational(third), rational(x + 10)]
    return Scene(
        Sketch(points, lines=(o + a, o + b, o + c), circles=((o, 1.0),), dots=o),
        given=tuple(angles_[:2] if level == 2 else angles_),
        unknown=angles_[2] if level == 2 else None,
        find="" if level == 2 else "x",
        answer=answer,
        wrong=tuple(wrong),
        solution=solution,
        shows=("circle with three radii",),
        context=f"Radii {o}{a}, {o}{b} and {o}{c} divide \\odot {o} into three sectors.",
    )


def inscribed_angle(rng: random.Random, level: int) -> Scene:
    """An inscribed angle is half its arc; in a semicircle it is right."""
    o, a, b, c = letters(rng, 4, level)
    if level == 2 and rng.random() < 0.6:
        return _in_semicircle(rng, o, a, b, c)
    corner, bow = a + c + b, o + a + b
    half, find, unknown = rng.randint(30, 75), "x", None
    if level == 3:
        pair = double_pair(rng, 70, 150)
        half, answer, solution = pair.values[0], rational(pair.x), pair.steps
        given: tuple[Quantity, ...] = (angle(corner, pair.texts[0], "inscribed angle"), arc(bow, pair.texts[1]))
        wrong = [rational(2 * half), rational(half), rational(2 * pair.x), rational(pair.x + 5)]
    elif level == 2:
        half, x, text = multiple(rng, lambda: rng.randint(30, 75))
        given = (arc(bow, 2 * half), angle(corner, text, "inscribed angle"))
        answer, solution = rational(x), f"{2 * half}/2={half}, {text}={half}, x={x}"
        wrong = [rational(half), rational(2 * x), rational(x + 5), rational(4 * x)]
    elif rng.random() < 0.5:
        given, unknown, find = (arc(bow, 2 * half),), angle(corner, "x", "inscribed angle"), ""
        answer, solution = rational(half), f"{2 * half}/2={half}"
        wrong = [rational(2 * half), rational(4 * half), rational(180 - 2 * half), rational(180 - half)]
    else:
        given, unknown, find = (angle(corner, half, "inscribed angle"),), arc(bow, "x"), ""
        answer, solution = rational(2 * half), f"2*{half}={2 * half}"
        wrong = [rational(half), rational(180 - half), rational(180 - 2 * half), rational(360 - 2 * half)]
    drawn = min(max(2 * half, 80), 150)
    top = 90 + rng.choice((-25, 0, 25))
    points = {o: 0j, a: polar(1, -drawn / 2 - 90), b: polar(1, drawn / 2 - 90), c: polar(1, top)}
    return Scene(
        Sketch(points, lines=(c + a, c + b), circles=((o, 1.0),), dots=o),
        given=given,
        unknown=unknown,
        find=find,
        answer=answer,
        wrong=tuple(wrong),
        solution=solution,
        shows=("inscribed angle",),
        context=f"{a}, {b} and {c} are on \\odot {o}, {c} not on minor arc {a}{b}.",
    )


def _in_semicircle(rng: random.Random, o: str, a: str, b: str, c: str) -> Scene:
    """A triangle over a diameter: from one acute angle to the other."""
    size = rng.randint(25, 65)
    drawn = min(max(size, 40), 50)
    points = {o: 0j, a: polar(1, 180), b: polar(1, 0), c: polar(1, 2 * drawn)}
    rest = 90 - size
    return Scene(
        Sketch(points, lines=(a + b, b + c, c + a), circles=((o, 1.0),), dots=o),
        given=(angle(b + a + c, size),),
        unknown=angle(a + b + c, "x"),
        answer=rational(rest),
        wrong=(rational(180 - size), rational(size), rational(2 * size), rational(180 - 2 * size)),
        solution=f"180-90-{size}={rest}",
        shows=("triangle over a diameter",),
        context=f"{a}{b} is a diameter of \\odot {o}, {c} is on the circle.",
    )


def inscribed_quadrilateral(rng: random.Random, level: int) -> Scene:
    """Opposite angles of a quadrilateral in a circle sum to 180."""
    o, a, b, c, d = letters(rng, 5, level)
    found = relate(rng, level, d + a + b, b + c + d, total=180, noun="opposite angle", least=45)
    size = min(max(found.size, 72), 108)
    lean = rng.choice((-12, 0, 12))
    turns = (0.0, 180 - size + lean, 180 - size + lean + size - lean, 180 + size + lean)
    points = {name: polar(1, turn) for name, turn in zip((a, b, c, d), turns, strict=True)}
    return Scene(
        Sketch({o.lower(): 0j, **points}, lines=(a + b, b + c, c + d, d + a), circles=((o.lower(), 1.0),)),
        given=found.given,
        unknown=found.unknown,
        find=found.find,
        letters="angle" in found.find,
        answer=found.answer,
        wrong=found.wrong,
        solution=found.solution,
        shows=("quadrilateral in a circle",),
        context=f"Quadrilateral {a}{b}{c}{d} is inscribed in a circle.",
    )
