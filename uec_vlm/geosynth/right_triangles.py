"""Families of right triangles: Pythagoras, special triangles, trigonometry, the altitude on the hypotenuse."""

from __future__ import annotations

import random

from uec_vlm.geosynth.exact import rational, square_root
from uec_vlm.geosynth.scene import Scene, Sketch, letters, side

TRIPLES = tuple(
    (short * factor, long * factor, hypotenuse * factor)
    for short, long, hypotenuse, most in (
        (3, 4, 5, 12), (5, 12, 13, 4), (8, 15, 17, 3), (7, 24, 25, 2), (20, 21, 29, 1), (9, 40, 41, 1), (12, 35, 37, 1),
    )
    for factor in range(1, most + 1)
)  # fmt: skip


def legs_to_draw(first: float, second: float, most: float = 2.2) -> tuple[float, float]:
    """Two legs whose ratio is at most `most`, so that a thin triangle still has room for its labels."""
    if first > second * most:
        return most, 1.0
    if second > first * most:
        return 1.0, most
    return first, second


def right_triangle(rng: random.Random, level: int) -> Scene:
    """Pythagoras: the third side; with surds at level 2; through a common height at level 3."""
    if level == 3:
        return _two_right_triangles(rng)
    a, b, c = letters(rng, 3, level)
    if level == 1:
        one, two, long = rng.choice(TRIPLES)
        squares = long * long
        one, two = (one, two) if rng.random() < 0.5 else (two, one)
    else:
        one, two = rng.randint(2, 12), rng.randint(2, 12)
        squares = one * one + two * two
    wide, high = legs_to_draw(one, two)
    sketch = Sketch(
        {c: 0j, a: complex(wide), b: complex(0, high)}, lines=(a + b, b + c, c + a), right_angles=(a + c + b,)
    )
    if level == 1 and rng.random() < 0.5:
        given, unknown = (side(b + c, one, "leg"), side(a + b, long, "hypotenuse")), side(a + c, "x", "leg")
        answer, rest = rational(two), long * long - one * one
        solution = f"\\sqrt{{{long}^2-{one}^2}}=\\sqrt{{{rest}}}={answer.latex}"
        wrong = [rational(long - one), square_root(long * long + one * one), rational(long + one)]
    elif level == 2 and rng.random() < 0.5:
        long, one = max(one, two) + rng.randint(1, 5), min(one, two)
        rest = long * long - one * one
        given, unknown = (side(b + c, one, "leg"), side(a + b, long, "hypotenuse")), side(a + c, "x", "leg")
        answer = square_root(rest)
        solution = f"\\sqrt{{{long}^2-{one}^2}}=\\sqrt{{{rest}}}={answer.latex}"
        wrong = [square_root(long * long + one * one), rational(long - one), rational(rest)]
    else:
        given, unknown = (side(b + c, two, "leg"), side(a + c, one, "leg")), side(a + b, "x", "hypotenuse")
        answer = square_root(squares)
        solution = f"\\sqrt{{{one}^2+{two}^2}}=\\sqrt{{{squares}}}={answer.latex}"
        wrong = [rational(one + two), square_root(abs(one * one - two * two) or 2), rational(squares)]
    if solution.endswith(f"{answer.latex}={answer.latex}"):
        solution = solution.removesuffix(f"={answer.latex}")
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
    answer = square_root(squares)
    left, high = legs_to_draw(part, height, 1.6)
    right = left * min(max(other / part, 0.6), 1.7)
    sketch = Sketch(
        {a: complex(0, high), b: complex(-left), c: complex(right), d: 0j},
        lines=(a + b, b + c, c + a),
        dashed=(a + d,),
        right_angles=(a + d + c,),
    )
    last = f"\\sqrt{{{squares}}}={answer.latex}" if answer.root == 1 or answer.fraction != 1 else answer.latex
    return Scene(
        sketch,
        given=(side(a + b, long), side(b + d, part, "part"), side(d + c, other, "part")),
        unknown=side(a + c, "x"),
        answer=answer,
        wrong=(
            square_root(long * long + other * other),
            square_root(abs(squares - 2 * other * other) or 3),
            rational(height),
        ),
        solution=f"h^2={long}^2-{part}^2={height * height}, \\sqrt{{{height * height}+{other}^2}}={last}",
        shows=("triangle with its height",),
        context=f"In \\triangle {a}{b}{c}, {a}{d} is the height on {b}{c}.",
    )
