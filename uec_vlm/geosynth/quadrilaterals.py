"""Families of rectangles and parallelograms: areas, perimeters, diagonals, angles."""

from __future__ import annotations

import math
import random
from fractions import Fraction

from uec_vlm.geosynth.algebra import double_pair, equal_pair, multiple
from uec_vlm.geosynth.exact import rational, square_root
from uec_vlm.geosynth.relations import relate
from uec_vlm.geosynth.right_triangles import TRIPLES
from uec_vlm.geosynth.scene import Quantity, Scene, Sketch, angle, letters, linear, polar, side


def _rectangle(names: tuple[str, str, str, str], wide: float, high: float) -> Sketch:
    """Corners counter-clockwise from the lower left, one right angle marked."""
    a, b, c, d = names
    ratio = min(max(wide / high, 0.6), 1.8)
    points = {a: 0j, b: complex(ratio), c: complex(ratio, 1), d: 1j}
    return Sketch(points, lines=(a + b, b + c, c + d, d + a), right_angles=(d + a + b,))


def rectangle_area(rng: random.Random, level: int) -> Scene:
    """Length times width; backwards or through the diagonal at level 2; an L-shape at level 3."""
    if level == 3:
        return _l_shape(rng)
    a, b, c, d = names = _four(rng, level)
    wide, high = rng.randint(2, 20), rng.randint(2, 12)
    told, find, unknown = "", "the area of the rectangle", None
    given: tuple[Quantity, ...] = (side(a + b, wide), side(b + c, high))
    answer, solution = rational(wide * high), f"{wide}*{high}={wide * high}"
    wrong = [rational(2 * (wide + high)), rational(wide + high), rational(Fraction(wide * high, 2))]
    sketch = _rectangle(names, wide, high)
    if level == 2 and rng.random() < 0.5:
        told, find, given, unknown = f"The area of the rectangle is {wide * high}.", "", given[:1], given[1]
        answer, solution = rational(high), f"{wide * high}/{wide}={high}"
        wrong = [rational(wide * high - wide), rational(Fraction(wide * high - 2 * wide, 2) or 1), rational(2 * high)]
    elif level == 2:
        wide, high, diagonal = rng.choice(TRIPLES)
        if rng.random() < 0.5:
            wide, high = high, wide
        sketch = _rectangle(names, wide, high)
        sketch = Sketch(sketch.points, (*sketch.lines, a + c), right_angles=(a + b + c,))
        given = (side(a + b, wide), side(a + c, diagonal, "diagonal"))
        answer = rational(wide * high)
        solution = f"\\sqrt{{{diagonal}^2-{wide}^2}}={high}, {wide}*{high}={wide * high}"
        wrong = [rational(wide * diagonal), rational(Fraction(wide * high, 2)), rational(2 * (wide + high))]
    return Scene(
        sketch,
        given=given,
        unknown=unknown,
        find=find,
        told=told,
        answer=answer,
        wrong=tuple(wrong),
        solution=solution,
        shows=("rectangle",) if "diagonal" not in str(given) else ("rectangle with a diagonal",),
        context=f"{a}{b}{c}{d} is a rectangle.",
    )


def _four(rng: random.Random, level: int) -> tuple[str, str, str, str]:
    a, b, c, d = letters(rng, 4, level)
    return a, b, c, d


def _l_shape(rng: random.Random) -> Scene:
    """A rectangle with a corner cut out; all angles are right."""
    a, b, c, d, e, f = letters(rng, 6, 3)
    wide, high = rng.randint(6, 20), rng.randint(6, 20)
    cut_wide, cut_high = rng.randint(2, wide - 2), rng.randint(2, high - 2)
    area = wide * high - cut_wide * cut_high
    points = {a: 0j, b: 1.3 + 0j, c: 1.3 + 0.55j, d: 0.7 + 0.55j, e: 0.7 + 1.15j, f: 1.15j}
    return Scene(
        Sketch(points, lines=(a + b, b + c, c + d, d + e, e + f, f + a), right_angles=(f + a + b, d + e + f)),
        given=(side(a + b, wide), side(f + a, high), side(c + d, cut_wide), side(d + e, cut_high)),
        find="the area of the figure",
        answer=rational(area),
        wrong=(rational(wide * high), rational(wide * high + cut_wide * cut_high), rational(cut_wide * cut_high)),
        solution=f"{wide}*{high}-{cut_wide}*{cut_high}={wide * high}-{cut_wide * cut_high}={area}",
        shows=("L-shape",),
        worded=f"A rectangle of {cut_wide} by {cut_high} is cut out of a corner of a rectangle of {wide} by {high}. "
        "Find the area of the figure that is left.",
    )


def rectangle_perimeter(rng: random.Random, level: int) -> Scene:
    """Twice length and width; backwards at level 2; sides in x at level 3."""
    a, b, c, d = names = _four(rng, level)
    wide, high = rng.randint(2, 40), rng.randint(2, 30)
    told, find, unknown = "", "the perimeter of the rectangle", None
    given: tuple[Quantity, ...] = (side(a + b, wide), side(b + c, high))
    total = 2 * (wide + high)
    answer, solution = rational(total), f"2*({wide}+{high})={total}"
    wrong = [rational(wide + high), rational(wide * high), rational(2 * wide + high)]
    if level == 2:
        told, find, given, unknown = f"The perimeter of the rectangle is {total}.", "", given[:1], given[1]
        answer, solution = rational(high), f"{total}/2={wide + high}, {wide + high}-{wide}={high}"
        wrong = [rational(total - wide), rational(abs(total - 2 * wide)), rational(wide + high)]
    elif level == 3:
        x, slope, offset = rng.randint(2, 20), rng.randint(1, 4), rng.randint(1, 12)
        wide, high = slope * x + offset, x
        total = 2 * (wide + high)
        given = (side(a + b, linear(slope, offset)), side(b + c, "x"))
        told, find, answer = f"The perimeter of the rectangle is {total}.", "x", rational(x)
        half = total // 2
        solution = f"{slope + 1}x+{offset}={total}/2={half}, {slope + 1}x={half - offset}, x={x}"
        wrong = [rational(Fraction(total - offset, slope + 1)), rational(wide), rational(half), rational(x + 1)]
    return Scene(
        _rectangle(names, wide, high),
        given=given,
        unknown=unknown,
        find=find,
        told=told,
        answer=answer,
        wrong=tuple(wrong),
        solution=solution,
        shows=("rectangle",),
        context=f"{a}{b}{c}{d} is a rectangle.",
    )


def rectangle_diagonals(rng: random.Random, level: int) -> Scene:
    """The diagonals of a rectangle are equal and halve each other."""
    a, b, c, d, e = letters(rng, 5, level)
    half, told = rng.randint(2, 60), ""
    if level == 1:
        text, find, answer, solution = str(half), f"{b}{d}", rational(2 * half), f"2*{half}={2 * half}"
        wrong = [rational(half), rational(4 * half), rational(half + 2), rational(3 * half)]
    elif level == 2:
        whole, x, multiple_text = multiple(rng, lambda: 2 * rng.randint(3, 60))
        text, told, find, answer = str(whole // 2), f"{b}{d}={multiple_text}.", "x", rational(x)
        solution = f"2*{text}={whole}, {multiple_text}={whole}, x={x}"
        wrong = [rational(Fraction(x, 2)), rational(whole), rational(whole // 2), rational(2 * x)]
    else:
        pair = double_pair(rng, 8, 120, largest=24)
        text, told = pair.texts[0], f"{b}{d}={pair.texts[1]}."
        find, answer, solution = "x", rational(pair.x), pair.steps
        wrong = [rational(pair.values[0]), rational(2 * pair.x), rational(pair.x + 3), rational(pair.x + 1)]
        if rng.random() < 0.4:
            find, answer = f"{a}{c}", rational(pair.values[1])
            solution = f"{pair.steps}, {pair.first_step}, 2*{pair.values[0]}={pair.values[1]}"
            wrong = [rational(pair.values[0]), rational(pair.x), rational(2 * pair.x), rational(2 * pair.values[1])]
    plain = _rectangle((a, b, c, d), rng.choice((1.2, 1.5)), 1)
    points = {**plain.points, e: (plain.points[a] + plain.points[c]) / 2}
    return Scene(
        Sketch(points, lines=(*plain.lines, a + e, e + c, b + e, e + d), right_angles=(d + a + b,)),
        given=(side(a + e, text, "half diagonal"),),
        find=find,
        letters=find != "x" or bool(told),
        told=told,
        answer=answer,
        wrong=tuple(wrong),
        solution=solution,
        shows=("rectangle with diagonals",),
        context=f"{a}{b}{c}{d} is a rectangle, its diagonals cross at {e}.",
    )


def parallelogram_angles(rng: random.Random, level: int) -> Scene:
    """Opposite angles are equal, neighbouring ones sum to 180."""
    a, b, c, d = letters(rng, 4, level)
    opposite = rng.random() < 0.4
    corners = {a: d + a + b, b: a + b + c, c: b + c + d}
    noun = "opposite angle" if opposite else "next angle"
    found = relate(rng, level, corners[a], corners[c if opposite else b], total=None if opposite else 180, noun=noun)
    sketch = _parallelogram(
        (a, b, c, d), 1.35, 1.0, min(max(found.size, 58 if level == 1 else 66), 122 if level == 1 else 114)
    )
    return Scene(
        Sketch(sketch.points, sketch.lines, parallel=((a + b, d + c), (a + d, b + c)) if level == 1 else ()),
        given=found.given,
        unknown=found.unknown,
        find=found.find,
        letters="angle" in found.find,
        hint="" if level == 1 else "The figure is a parallelogram.",
        answer=found.answer,
        wrong=found.wrong,
        solution=found.solution,
        shows=("parallelogram",),
        context=f"{a}{b}{c}{d} is a parallelogram.",
    )


def _parallelogram(names: tuple[str, str, str, str], wide: float, slanted: float, degrees: float) -> Sketch:
    """Corners counter-clockwise from the lower left, whose angle is `degrees`."""
    a, b, c, d = names
    rise = polar(slanted, degrees)
    return Sketch({a: 0j, b: complex(wide), c: wide + rise, d: rise}, lines=(a + b, b + c, c + d, d + a))


def parallelogram_sides(rng: random.Random, level: int) -> Scene:
    """Opposite sides are equal: the perimeter, then x in one or both of two opposite sides."""
    a, b, c, d = letters(rng, 4, level)
    find = "x"
    if level == 1:
        wide, slanted = rng.randint(2, 40), rng.randint(2, 30)
        given: tuple[Quantity, ...] = (side(a + b, wide), side(b + c, slanted))
        total = 2 * (wide + slanted)
        find, answer, solution = "the perimeter of the parallelogram", rational(total), f"2*({wide}+{slanted})={total}"
        wrong = [rational(wide + slanted), rational(wide * slanted), rational(2 * wide + slanted)]
    elif level == 2:
        value, x, text = multiple(rng, lambda: rng.randint(6, 80))
        other = rng.randint(4, 40)
        given = (side(a + b, value), side(b + c, other), side(c + d, text))
        answer, solution = rational(x), f"{text}={value}, x={x}"
        wrong = [rational(value), rational(other), rational(2 * x), rational(x + 1)]
    else:
        pair = equal_pair(rng, 6, 80, largest=24)
        other = rng.randint(4, 40)
        given = (side(a + b, pair.texts[0]), side(c + d, pair.texts[1]))
        answer, solution = rational(pair.x), pair.steps
        wrong = [rational(pair.values[0]), rational(2 * pair.x), rational(pair.x + 3), rational(pair.x + 1)]
        if rng.random() < 0.5:
            total = 2 * (pair.values[0] + other)
            given, find = (*given, side(b + c, other)), "the perimeter of the parallelogram"
            answer = rational(total)
            solution = f"{pair.steps}, {pair.first_step}, 2*({pair.values[0]}+{other})={total}"
            wrong = [rational(pair.values[0] + other), rational(pair.values[0] * other), rational(pair.x)]
    return Scene(
        _parallelogram((a, b, c, d), 1.3, 0.95, rng.choice((60, 68, 112, 120))),
        given=given,
        find=find,
        hint="" if level == 1 else "The figure is a parallelogram.",
        answer=answer,
        wrong=tuple(wrong),
        solution=solution,
        shows=("parallelogram",),
        context=f"{a}{b}{c}{d} is a parallelogram.",
    )


def parallelogram_area(rng: random.Random, level: int) -> Scene:
    """Base times height; the height from a right triangle at level 2, from an angle of 30, 45 or 60 at level 3."""
    a, b, c, d, e = letters(rng, 5, level)
    base, height, slanted, degrees = rng.randint(2, 20), rng.randint(2, 12), 0, 0
    low = side(a + b, base, "base")
    find = "the area of the parallelogram"
    if level == 1:
        slanted = height + rng.randint(1, 4)
        given: tuple[Quantity, ...] = (low, side(d + e, height, "height"), side(b + c, slanted))
        answer, solution = rational(base * height), f"{base}*{height}={base * height}"
        wrong = [rational(base * slanted), rational(Fraction(base * height, 2)), rational(2 * (base + slanted))]
    elif level == 2:
        foot, height, slanted = rng.choice([triple for triple in TRIPLES if triple[2] < 40])
        given = (side(d + a, slanted), side(a + e, foot, "foot"), side(d + c, base, "base"))
        answer = rational(base * height)
        solution = f"\\sqrt{{{slanted}^2-{foot}^2}}={height}, {base}*{height}={base * height}"
        wrong = [rational(base * slanted), rational(base * foot), rational(Fraction(base * height, 2))]
    else:
        degrees, slanted = rng.choice((30, 45, 60)), rng.randint(2, 20)
        root, part = {30: (1, "1/2"), 45: (2, "\\sqrt{2}/2"), 60: (3, "\\sqrt{3}/2")}[degrees]
        given = (low, side(d + a, slanted), angle(d + a + b, degrees))
        answer = square_root(root, Fraction(base * slanted, 2))
        solution = f"{base}*{slanted}*{part}={answer.latex}"
        wrong = [
            rational(base * slanted),
            square_root(root, Fraction(base * slanted, 4)),
            square_root(root, base * slanted),
        ]
    lean = 60.0 if level < 3 else {30: 52.0, 45: 56.0, 60: 60.0}[degrees]
    plain = _parallelogram((a, b, c, d), 1.45 if level == 2 else 1.25, 1.0, lean)
    foot_at = complex(math.cos(math.radians(lean)))
    if level == 3:
        sketch = plain
    else:
        sketch = Sketch(
            {**plain.points, e: foot_at},
            lines=(a + e, e + b, b + c, c + d, d + a),
            dashed=(d + e,),
            right_angles=(d + e + b,),
        )
    return Scene(
        sketch,
        given=given,
        find=find,
        answer=answer,
        wrong=tuple(wrong),
        solution=solution,
        shows=("parallelogram",) if level == 3 else ("parallelogram with its height",),
        context=f"{a}{b}{c}{d} is a parallelogram" + ("." if level == 3 else f", {d}{e} is its height on {a}{b}."),
    )
