"""Families about whole circles and their angles: circumference, area, central and inscribed angles."""

from __future__ import annotations

import math
import random
from fractions import Fraction

from uec_vlm.geosynth.algebra import equal_pair, multiple
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
    """2 pi r, or pi d; backwards at level 2; from an inscribed right triangle at level 3."""
    o, a, b, c = letters(rng, 4, level)
    find, told, unknown = "the circumference of the circle", "", None
    by_radius = rng.random() < 0.5
    sketch = _radius_sketch(o, a) if by_radius else _diameter_sketch(o, a, b)
    where, noun = (o + a, "radius") if by_radius else (a + b, "diameter")
    number = rng.randint(1, 40)
    given: tuple[Quantity, ...] = (side(where, number, noun),)
    worded = f"The {noun} of a circle is {number}. Find {find}."
    context = ""
    if level == 1:
        answer = pi_times(2 * number if by_radius else number)
        solution = f"2*\\pi*{number}={answer.latex}" if by_radius else f"\\pi*{number}={answer.latex}"
        wrong = [pi_times(number), pi_times(2 * number), pi_times(number * number), pi_times(4 * number)]
    elif level == 2:
        number = rng.randint(3, 75)
        told = f"The circumference of the circle is {number}\\pi."
        unknown, given, find = side(where, "x", noun, name=f"its {noun}"), (), ""
        answer = Exact(Fraction(number, 2 if by_radius else 1), decimal=by_radius and number % 2 == 1)
        solution = f"{number}/2={answer.latex}" if by_radius else f"x*\\pi={number}\\pi, x={number}"
        wrong = [rational(number), rational(2 * number), Exact(Fraction(number, 2), decimal=number % 2 == 1)]
        worded = f"The circumference of a circle is {number}\\pi. Find its {noun}."
    else:
        sketch, given, long = _inscribed_right(rng, o, a, b, c)
        answer = pi_times(long)
        legs = [int(one.text) for one in given]
        solution = f"\\sqrt{{{legs[0]}^2+{legs[1]}^2}}={long}, \\pi*{long}={answer.latex}"
        wrong = [pi_times(2 * long), pi_times(sum(legs)), pi_times(Fraction(long * long, 4)), pi_times(long * long)]
        worded, context = "", f"{a}{b}{c} is a right triangle in a circle, \\angle {c} is the right angle."
    return Scene(
        sketch,
        given=given,
        unknown=unknown,
        find=find,
        told=told,
        answer=answer,
        wrong=tuple(wrong),
        solution=solution,
        shows=("circle",) if level < 3 else ("right triangle in a circle",),
        worded=worded,
        context=context,
    )


def circle_area(rng: random.Random, level: int) -> Scene:
    """pi r^2; of an odd diameter or backwards at level 2; a ring or round a right triangle at level 3."""
    o, a, b, c = letters(rng, 4, level)
    find, told, context, unknown = "the area of the circle", "", "", None
    by_radius = rng.random() < 0.6
    number = rng.randint(2, 30) if by_radius else 2 * rng.randint(1, 20)
    sketch = _radius_sketch(o, a) if by_radius else _diameter_sketch(o, a, b)
    where, noun = (o + a, "radius") if by_radius else (a + b, "diameter")
    shows = "circle"
    if level == 2 and rng.random() < 0.5:
        sketch, where, noun, by_radius, number = (
            _diameter_sketch(o, a, b),
            a + b,
            "diameter",
            False,
            number // 2 * 2 + 1,
        )
    given: tuple[Quantity, ...] = (side(where, number, noun),)
    worded = f"The {noun} of a circle is {number}. Find {find}."
    if level == 1 or (level == 2 and not by_radius):
        radius = Fraction(number) if by_radius else Fraction(number, 2)
        answer = pi_times(radius * radius)
        shown = number if by_radius else f"({number}/2)" if radius.denominator > 1 else radius
        solution = f"\\pi*{shown}^2={answer.latex}"
        wrong = [
            pi_times(2 * radius),
            pi_times(4 * radius * radius),
            pi_times(4 * radius),
            pi_times(radius * radius / 2),
        ]
    elif level == 2:
        inside = rng.choice([value for value in range(2, 200) if value not in (1, 4)])
        told = f"The area of the circle is {inside}\\pi."
        unknown, given, find = side(where, "x", noun, name="its radius"), (), ""
        answer = square_root(inside)
        solution = f"x^2={inside}, x={answer.latex}"
        wrong = [rational(inside), rational(Fraction(inside, 2)), square_root(inside, 2), rational(2 * inside)]
        worded = f"The area of a circle is {inside}\\pi. Find its radius."
    elif rng.random() < 0.5:
        inner, width = rng.randint(2, 12), rng.randint(1, 8)
        sketch = Sketch(
            {o: 0j, a: polar(0.55, 20), b: polar(1, 20)},
            lines=(o + a, a + b),
            circles=((o, 0.55), (o, 1.0)),
            dots=o + a,
        )
        given = (side(o + a, inner, "inner radius"), side(a + b, width, "width of the ring"))
        find, shows, outer = "the area of the ring", "two circles with one centre", inner + width
        answer = pi_times(outer * outer - inner * inner)
        solution = f"{inner}+{width}={outer}, \\pi*({outer}^2-{inner}^2)={answer.latex}"
        wrong = [pi_times(width * width), pi_times(outer * outer), pi_times(outer * outer + inner * inner)]
        worded = f"A ring has the inner radius {inner} and the width {width}. Find its area."
    else:
        sketch, given, long = _inscribed_right(rng, o, a, b, c)
        answer, shows = pi_times(Fraction(long * long, 4)), "right triangle in a circle"
        legs = [int(one.text) for one in given]
        solution = f"\\sqrt{{{legs[0]}^2+{legs[1]}^2}}={long}, \\pi*({long}/2)^2={answer.latex}"
        wrong = [pi_times(long * long), pi_times(long), pi_times(Fraction(legs[0] * legs[1], 2))]
        worded, context = "", f"{a}{b}{c} is a right triangle in a circle, \\angle {c} is the right angle."
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
        worded=worded,
        context=context,
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
    find, unknown = "", None
    corner, bow = a + c + b, o + a + b
    if level == 3:
        while True:
            pair = equal_pair(rng, 70, 150)
            slope = int(pair.texts[0].removesuffix("x") or 1)
            if slope % 2 == 0:
                break
        arc_size, texts = pair.values[0], (linear(slope // 2), pair.texts[1])
        given: tuple[Quantity, ...] = (angle(corner, texts[0], "inscribed angle"), arc(bow, texts[1]))
        find, answer = "x", rational(pair.x)
        solution = f"2*{texts[0]}={texts[1]}, {pair.steps.split(', ', 1)[1]}"
        wrong = [rational(arc_size), rational(Fraction(arc_size // 2)), rational(2 * pair.x), rational(pair.x + 5)]
    elif rng.random() < 0.5:
        arc_size = 2 * rng.randint(30, 75)
        given, unknown = (arc(bow, arc_size),), angle(corner, "x", "inscribed angle")
        answer, solution = rational(arc_size // 2), f"{arc_size}/2={arc_size // 2}"
        wrong = [rational(arc_size), rational(2 * arc_size), rational(180 - arc_size), rational(180 - arc_size // 2)]
        if level == 2:
            _, x, text = (
                multiple(rng, lambda: arc_size // 2) if any(arc_size // 2 % k == 0 for k in range(2, 7)) else (0, 0, "")
            )
            if text:
                given, unknown, find = (*given, angle(corner, text, "inscribed angle")), None, "x"
                answer, solution = rational(x), f"{solution}, {text}={arc_size // 2}, x={x}"
                wrong = [rational(arc_size // 2), rational(2 * x), rational(x + 5), rational(4 * x)]
    else:
        half = rng.randint(30, 75)
        arc_size = 2 * half
        given, unknown = (angle(corner, half, "inscribed angle"),), arc(bow, "x")
        answer, solution = rational(arc_size), f"2*{half}={arc_size}"
        wrong = [rational(half), rational(180 - half), rational(180 - arc_size), rational(360 - arc_size)]
    drawn = min(max(arc_size, 80), 150)
    points = {
        o: 0j,
        a: polar(1, -drawn / 2 - 90),
        b: polar(1, drawn / 2 - 90),
        c: polar(1, 90 + rng.choice((-25, 0, 25))),
    }
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
