"""Families of right triangles: Pythagoras, special triangles, trigonometry, the altitude on the hypotenuse."""

from __future__ import annotations

import math
import random
from fractions import Fraction

from uec_vlm.geosynth.exact import Exact, decimal, rational, square_root
from uec_vlm.geosynth.scene import Quantity, Scene, Sketch, angle, letters, side

TRIPLES = tuple(
    (short * factor, long * factor, hypotenuse * factor)
    for short, long, hypotenuse, most in (
        (3, 4, 5, 12), (5, 12, 13, 4), (8, 15, 17, 3), (7, 24, 25, 2), (20, 21, 29, 1), (9, 40, 41, 1), (12, 35, 37, 1),
    )
    for factor in range(1, most + 1)
)  # fmt: skip
SMALL_TRIPLES = tuple(triple for triple in TRIPLES if triple[2] <= 41)


def legs_to_draw(first: float, second: float, most: float = 2.2) -> tuple[float, float]:
    """Two legs whose ratio is at most `most`, so that a thin triangle still has room for its labels."""
    if first > second * most:
        return most, 1.0
    if second > first * most:
        return 1.0, most
    return first, second


def root_steps(inside: str, squares: int) -> str:
    r"""The end of a solution: `\sqrt{3^2+4^2}=\sqrt{25}=5`; a root that does not simplify is written once."""
    answer = square_root(squares).latex
    middle = f"\\sqrt{{{squares}}}"
    return f"\\sqrt{{{inside}}}={middle}" + ("" if middle == answer else f"={answer}")


def _right_sketch(a: str, b: str, c: str, legs: tuple[float, float]) -> Sketch:
    """The right angle is at c; the legs are ca and cb."""
    return Sketch(
        {c: 0j, a: complex(legs[0]), b: complex(0, legs[1])}, lines=(a + b, b + c, c + a), right_angles=(a + c + b,)
    )


def right_triangle(rng: random.Random, level: int) -> Scene:
    """Pythagoras: the third side; with surds at level 2; through a common height at level 3."""
    if level == 3:
        return _two_right_triangles(rng)
    a, b, c = letters(rng, 3, level)
    one, two, long = rng.choice(SMALL_TRIPLES)
    if level == 2:
        one, two = rng.randint(2, 12), rng.randint(2, 12)
    elif rng.random() < 0.5:
        one, two = two, one
    squares = one * one + two * two
    sketch = _right_sketch(a, b, c, legs_to_draw(one, two))
    if rng.random() < 0.5:
        if level == 2:
            long, one = max(one, two) + rng.randint(1, 5), min(one, two)
            sketch = _right_sketch(a, b, c, legs_to_draw(math.sqrt(long * long - one * one), one))
        rest = long * long - one * one
        given, unknown = (side(b + c, one, "leg"), side(a + b, long, "hypotenuse")), side(a + c, "x", "leg")
        answer, solution = square_root(rest), root_steps(f"{long}^2-{one}^2", rest)
        wrong = [rational(long - one), square_root(long * long + one * one), rational(rest), rational(long + one)]
    else:
        given, unknown = (side(b + c, two, "leg"), side(a + c, one, "leg")), side(a + b, "x", "hypotenuse")
        answer, solution = square_root(squares), root_steps(f"{one}^2+{two}^2", squares)
        wrong = [rational(one + two), square_root(abs(one * one - two * two) or 2), rational(squares)]
    return Scene(
        sketch,
        given=given,
        unknown=unknown,
        answer=answer,
        wrong=tuple(wrong),
        solution=solution,
        shows=("right triangle",),
        context=f"In \\triangle {a}{b}{c}, \\angle {c} is a right angle.",
    )


def _two_right_triangles(rng: random.Random) -> Scene:
    """A height divides a triangle: from one side and both parts of the base to the other side."""
    a, b, c, d = letters(rng, 4, 3)
    part, height, long = rng.choice([triple for triple in TRIPLES if triple[2] <= 30])
    part, height = (part, height) if rng.random() < 0.5 else (height, part)
    other = rng.choice([value for value in range(2, 25) if value != part])
    squares = height * height + other * other
    left, high = legs_to_draw(part, height, 1.6)
    right = left * min(max(other / part, 0.6), 1.7)
    return Scene(
        Sketch(
            {a: complex(0, high), b: complex(-left), c: complex(right), d: 0j},
            lines=(a + b, b + d, d + c, c + a),
            dashed=(a + d,),
            right_angles=(a + d + c,),
        ),
        given=(side(a + b, long), side(b + d, part, "part"), side(d + c, other, "part")),
        unknown=side(a + c, "x"),
        answer=square_root(squares),
        wrong=(square_root(long * long + other * other), square_root(long * long - part), rational(height)),
        solution=f"h^2={long}^2-{part}^2={height * height}, {root_steps(f'{height * height}+{other}^2', squares)}",
        shows=("triangle with its height",),
        context=f"In \\triangle {a}{b}{c}, {a}{d} is the height on {b}{c}.",
    )


def special_right(rng: random.Random, level: int) -> Scene:
    """Triangles of 45-45-90 and 30-60-90 degrees.

    Level 1: from a leg to the hypotenuse (45) or from the short leg (30). Level 2: back, or to the long leg. Level 3:
    from the long leg or from a side with a surd.
    """
    a, b, c = letters(rng, 3, level)
    half_square = rng.random() < 0.5
    number = rng.randint(2, 30) if level == 1 else rng.randint(2, 24)
    if half_square:
        known, asked, given, answer, rule = _in_half_square(rng, level, number)
    else:
        known, asked, given, answer, rule = _in_half_equilateral(rng, level, number)
    sides = {"short leg": b + c, "long leg": a + c, "leg": b + c, "other leg": a + c, "hypotenuse": a + b}
    degrees = 45 if half_square else 30
    corner = angle(c + a + b, degrees) if half_square or rng.random() < 0.5 else angle(c + b + a, 60)
    legs = (1.0, 1.0) if half_square else (1.55, 1.0)
    nouns = {"other leg": "leg", "short leg": "leg", "long leg": "leg"}
    root = Exact(Fraction(1), 2 if half_square else 3)
    return Scene(
        _right_sketch(a, b, c, legs),
        given=(corner, side(sides[known], given.latex, nouns.get(known, known))),
        unknown=side(sides[asked], "x", nouns.get(asked, asked)),
        answer=answer,
        wrong=_special_mistakes(given, root),
        solution=f"{rule}={answer.latex}",
        shows=("right triangle",),
        context=f"In \\triangle {a}{b}{c}, \\angle {c} is a right angle.",
    )


def _special_mistakes(given: Exact, root: Exact) -> tuple[Exact, ...]:
    """The given side with the other factors: 2, 1/2, the root, the root's inverse."""
    factors = [Fraction(2), Fraction(1, 2)]
    plain = [given.times(factor) for factor in factors]
    rooted = [square_root(given.root * root.root, given.fraction * factor) for factor in (1, Fraction(1, root.root), 2)]
    return (rooted[0], plain[0], rooted[1], plain[1], rooted[2])


def _in_half_square(rng: random.Random, level: int, number: int) -> tuple[str, str, Exact, Exact, str]:
    """What is known, what is asked, the given length, the answer and the rule as a solution begins."""
    if level == 1:
        return "leg", "hypotenuse", rational(number), square_root(2, number), f"{number}*\\sqrt{{2}}"
    if level == 2:
        return "hypotenuse", "leg", rational(number), square_root(2, Fraction(number, 2)), f"{number}/\\sqrt{{2}}"
    given = square_root(2, number) if rng.random() < 0.5 else square_root(rng.choice((3, 5, 6, 7)), number)
    if rng.random() < 0.5:
        return "leg", "hypotenuse", given, square_root(given.root * 2, number), f"{given.latex}*\\sqrt{{2}}"
    answer = square_root(given.root * 2, Fraction(number, 2))
    return "hypotenuse", "other leg", given, answer, f"{given.latex}/\\sqrt{{2}}"


def _in_half_equilateral(rng: random.Random, level: int, number: int) -> tuple[str, str, Exact, Exact, str]:
    """The same for a triangle of 30, 60 and 90 degrees."""
    if level == 1:
        if rng.random() < 0.5:
            return "short leg", "hypotenuse", rational(number), rational(2 * number), f"2*{number}"
        return "hypotenuse", "short leg", rational(2 * number), rational(number), f"{2 * number}/2"
    if level == 2:
        if rng.random() < 0.5:
            return "short leg", "long leg", rational(number), square_root(3, number), f"{number}*\\sqrt{{3}}"
        answer = square_root(3, Fraction(number, 2))
        return "hypotenuse", "long leg", rational(number), answer, f"{number}*\\sqrt{{3}}/2"
    given = rational(number) if rng.random() < 0.6 else square_root(3, number)
    if rng.random() < 0.5:
        answer = square_root(given.root * 3, Fraction(number, 3))
        return "long leg", "short leg", given, answer, f"{given.latex}/\\sqrt{{3}}"
    answer = square_root(given.root * 3, Fraction(2 * number, 3))
    return "long leg", "hypotenuse", given, answer, f"2*{given.latex}/\\sqrt{{3}}"


def trigonometry(rng: random.Random, level: int) -> Scene:
    """Sine, cosine, tangent: as a fraction of given sides; with a missing side first; a side to the nearest tenth."""
    a, b, c = letters(rng, 3, level)
    if level == 3:
        return _side_by_angle(rng, a, b, c)
    one, two, long = rng.choice(TRIPLES)
    near, far = (one, two) if rng.random() < 0.5 else (two, one)
    ratio = rng.choice(("sin", "cos", "tan"))
    lengths = {"opposite": far, "adjacent": near, "hypotenuse": long}
    top, bottom = {"sin": ("opposite", "hypotenuse"), "cos": ("adjacent", "hypotenuse")}.get(
        ratio, ("opposite", "adjacent")
    )
    answer = rational(Fraction(lengths[top], lengths[bottom]))
    sides = {
        "opposite": side(b + c, far, "leg"), "adjacent": side(a + c, near, "leg"),
        "hypotenuse": side(a + b, long, "hypotenuse"),
    }  # fmt: skip
    solution = f"{lengths[top]}/{lengths[bottom]}={answer.latex}"
    known = list(sides)
    if level == 2:
        hidden = rng.choice((top, bottom))
        known.remove(hidden)
        others = [lengths[name] for name in known]
        if hidden == "hypotenuse":
            solution = f"\\sqrt{{{others[0]}^2+{others[1]}^2}}={long}, {solution}"
        else:
            solution = f"\\sqrt{{{long}^2-{others[0]}^2}}={lengths[hidden]}, {solution}"
    pairs = ((far, long), (near, long), (far, near), (near, far), (long, far), (long, near))
    return Scene(
        _right_sketch(a, b, c, legs_to_draw(near, far)),
        given=tuple(sides[name] for name in known),
        find=f"\\{ratio} {a}",
        letters=True,
        answer=answer,
        wrong=tuple(rational(Fraction(*pair)) for pair in pairs),
        solution=solution,
        shows=("right triangle",),
        context=f"In \\triangle {a}{b}{c}, \\angle {c} is a right angle.",
    )


def _side_by_angle(rng: random.Random, a: str, b: str, c: str) -> Scene:
    """A leg from the hypotenuse or from the other leg and an angle, rounded to a tenth."""
    degrees, length = rng.randint(25, 65), rng.randint(5, 40)
    ratio, known, asked = rng.choice((("sin", a + b, b + c), ("cos", a + b, a + c), ("tan", a + c, b + c)))
    values = {name: getattr(math, name)(math.radians(degrees)) * length for name in ("sin", "cos", "tan")}
    answer = _tenth(values[ratio])
    nouns = {a + b: "hypotenuse"}
    wrong = [_tenth(values[name]) for name in values if name != ratio]
    wrong.append(_tenth(length * length / values[ratio]))
    near, far = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return Scene(
        _right_sketch(a, b, c, legs_to_draw(near, far, 1.6)),
        given=(angle(c + a + b, degrees), side(known, length, nouns.get(known, "leg"))),
        unknown=side(asked, "x", "leg"),
        note="Round to the nearest tenth.",
        answer=answer,
        wrong=tuple(wrong),
        solution=f"{length}*{ratio} {degrees}={answer.latex}",
        shows=("right triangle",),
        context=f"In \\triangle {a}{b}{c}, \\angle {c} is a right angle.",
    )


def _tenth(value: float) -> Exact:
    return decimal(Fraction(math.floor(value * 10 + 0.5), 10))


def altitude(rng: random.Random, level: int) -> Scene:
    """The altitude h on the hypotenuse with its parts p and q: h^2 = pq, and a leg's square is its part times p + q.

    Level 1: h from p and q, whole. Level 2: h with a surd, or q from h and p. Level 3: a leg, or p from a leg.
    """
    a, b, c, d = letters(rng, 4, level)
    if level == 1:
        small, one, two = rng.randint(1, 6), rng.randint(1, 5), rng.randint(1, 5)
        p, q = small * one * one, small * two * two
        if one == two:
            return altitude(rng, level)
    else:
        p, q = rng.sample(range(2, 19), 2)
    parts = (side(a + d, p, "part"), side(d + b, q, "part"))
    height = side(c + d, "x", "altitude")
    leg = side(a + c, "x", "leg")
    given: tuple[Quantity, ...] = parts
    if level < 3:
        unknown, answer, solution = height, square_root(p * q), root_steps(f"{p}*{q}", p * q)
        wrong = [decimal(Fraction(p + q, 2)), square_root(p * (p + q)), rational(p * q), rational(p + q)]
        if level == 2 and rng.random() < 0.4:
            h = rng.randint(2, 20)
            other = Fraction(h * h, p)
            given, unknown = (parts[0], side(c + d, h, "altitude")), side(d + b, "x", "part")
            answer, solution = rational(other), f"{h}^2/{p}={h * h}/{p}={rational(other).latex}"
            wrong = [square_root(p * h), rational(abs(h * h - p) + 1), rational(Fraction(p * p, h)), rational(h + p)]
            solution = solution if other.denominator > 1 or other != h * h else f"{h}^2/{p}={other}"
    else:
        unknown, answer, solution = leg, square_root(p * (p + q)), root_steps(f"{p}*({p}+{q})", p * (p + q))
        wrong = [square_root(p * q), square_root(q * (p + q)), square_root(p * p + q * q)]
    drawn = math.sqrt(min(max(p / q, 0.3), 3.3))
    left, right = drawn, 1 / drawn
    return Scene(
        Sketch(
            {a: complex(-left), b: complex(right), c: 1j, d: 0j},
            lines=(a + d, d + b, b + c, c + a),
            dashed=(c + d,),
            right_angles=(a + c + b, a + d + c),
        ),
        given=given,
        unknown=unknown,
        answer=answer,
        wrong=tuple(wrong),
        solution=solution,
        shows=("right triangle with its altitude",),
        context=f"In \\triangle {a}{b}{c}, \\angle {c} is a right angle and {c}{d} is the altitude on {a}{b}.",
    )
