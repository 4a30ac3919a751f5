"""Families of polygons: sums of angles, regular polygons."""

from __future__ import annotations

import math
import random
from fractions import Fraction

from uec_vlm.geosynth.algebra import equal_pair
from uec_vlm.geosynth.exact import Exact, decimal, rational, square_root
from uec_vlm.geosynth.scene import Scene, Sketch, angle, letters, linear, polar, side, signed

_NAMES = {5: "pentagon", 6: "hexagon", 7: "heptagon", 8: "octagon"}


def _tangential(names: tuple[str, ...], angles: list[float]) -> Sketch:
    """A polygon with the given interior angles, all of whose sides touch one circle."""
    points, turn = {}, 0.0
    for name, size in zip(names, angles, strict=True):
        points[name] = polar(1 / math.sin(math.radians(size / 2)), turn + (180 - size) / 2)
        turn += 180 - size
    return Sketch(points, lines=_edges(names))


def _edges(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(first + second for first, second in zip(names, names[1:] + names[:1], strict=True))


def _soft(sizes: list[int], mean: float, spread: float) -> list[float]:
    """Angles drawn nearer to their mean, so that all corners have room; their sum is kept."""
    widest = max(abs(size - mean) for size in sizes)
    share = min(1.0, spread / widest) if widest else 1.0
    return [mean + (size - mean) * share for size in sizes]


def _angle_sum(rng: random.Random, level: int, corners: int, least: int, most: int, spread: float) -> Scene:
    """Angles of a polygon that sum to (n - 2) 180: the last one, x among multiples of x, or expressions."""
    names = letters(rng, corners, level)
    total = (corners - 2) * 180
    corner_names = [names[place - 1] + names[place] + names[(place + 1) % corners] for place in range(corners)]
    find = "" if level == 1 else "x"
    while True:
        if level == 1:
            step = rng.choice((1, 5))
            sizes = [step * rng.randint(-(-least // step), most // step) for _ in range(corners - 1)]
            texts = [str(size) for size in sizes]
            sizes.append(total - sum(sizes))
            answer, texts = rational(sizes[-1]), [*texts, ""]
            solution = f"{total}-{'-'.join(texts[:-1])}={sizes[-1]}"
            wrong = [rational(abs(total - 180 - sum(sizes[:-1])) or 1), rational(abs(180 - sizes[-1]) or 1)]
        else:
            x, slopes = rng.randint(15, 70), [rng.randint(1, 4) for _ in range(2 if level == 2 else 3)]
            sizes = [slope * x for slope in slopes]
            texts = [linear(slope) for slope in slopes]
            if level == 3:
                offset = 5 * rng.randint(1, 8) * rng.choice((1, -1))
                sizes[-1], texts[-1] = sizes[-1] + offset, linear(slopes[-1], offset)
            known = [rng.randint(least, most) for _ in range(corners - len(sizes) - 1)]
            known.append(total - sum(sizes) - sum(known))
            offset = offset if level == 3 else 0
            constant, slope = offset + sum(known), sum(slopes)
            sizes, texts = sizes + known, texts + [str(size) for size in known]
            answer, wrong = rational(x), [rational(sizes[0]), rational(Fraction(total, slope)), rational(x + 5)]
            solution = f"{slope}x{signed(constant)}={total}, {slope}x={slope * x}, x={x}"
        if all(least <= size <= most for size in sizes):
            break
    order = list(range(corners))
    rng.shuffle(order)
    sizes, texts = [sizes[place] for place in order], [texts[place] for place in order]
    angles = [angle(at, text) for at, text in zip(corner_names, texts, strict=True)]
    drawn = _soft(sizes, total / corners, spread)
    shape = "quadrilateral" if corners == 4 else _NAMES[corners]
    return Scene(
        _tangential(names, drawn),
        given=tuple(one for one in angles if one.text),
        unknown=next((one for one in angles if not one.text), None),
        find=find,
        answer=answer,
        wrong=tuple(wrong),
        solution=solution,
        shows=(shape,),
        context=f"{''.join(names)} is a {shape}.",
    )


def quadrilateral_angles(rng: random.Random, level: int) -> Scene:
    """The angles of a quadrilateral sum to 360."""
    return _angle_sum(rng, level, 4, 50, 140, 24)


def polygon_angles(rng: random.Random, level: int) -> Scene:
    """The angles of a pentagon sum to 540."""
    return _angle_sum(rng, level, 5, 70, 145, 24)


def regular_polygon(rng: random.Random, level: int) -> Scene:
    """Regular polygons whose sides must be counted.

    Level 1: the perimeter. Level 2: an interior angle in x. Level 3: the perimeter from two sides in x, or the area of
    a hexagon.
    """
    corners = rng.randint(5, 8)
    if level == 3 and rng.random() < 0.4:
        corners = 6
        length = rng.randint(2, 40)
        given = {0: str(length)}
        answer, find = square_root(3, Fraction(3 * length * length, 2)), "the area of the regular polygon"
        solution = f"6*{length}^2*\\sqrt{{3}}/4={answer.latex}"
        wrong = [square_root(3, Fraction(length * length, 4)), rational(6 * length), rational(6 * length * length)]
    elif level == 3:
        pair = equal_pair(rng, 4, 40, largest=16)
        given = {0: pair.texts[0], 2: pair.texts[1]}
        length = pair.values[0]
        answer, find = rational(corners * length), "the perimeter of the regular polygon"
        solution = f"{pair.steps}, {pair.first_step}, {corners}*{length}={corners * length}"
        wrong = [rational((corners + 1) * length), rational((corners - 1) * length), rational(corners * pair.x)]
    elif level == 1:
        length = rng.randint(2, 30)
        given, answer, find = {0: str(length)}, rational(corners * length), "the perimeter of the regular polygon"
        solution = f"{corners}*{length}={corners * length}"
        wrong = [rational((corners + 1) * length), rational((corners - 1) * length), rational(length * length)]
    else:
        return _regular_angle(rng)
    names = letters(rng, corners, 2)
    sketch = _regular(names)
    edges = sketch.lines
    shape = _NAMES[corners]
    sides = f"One side of a regular {shape} measures" if len(given) == 1 else f"Two sides of a regular {shape} measure"
    return Scene(
        Sketch(sketch.points, edges, equal=(tuple(edge for place, edge in enumerate(edges) if place not in given),)),
        given=tuple(side(edges[place], text) for place, text in given.items()),
        find=find,
        answer=answer,
        wrong=tuple(wrong),
        solution=solution,
        shows=(f"regular {_NAMES[corners]}",),
        worded=f"{sides} {' and '.join(given.values())}. Find its {find.split()[1]}.",
    )


def _regular(names: tuple[str, ...]) -> Sketch:
    count = len(names)
    points = {name: polar(1, 360 * place / count - 90 + 180 / count) for place, name in enumerate(names)}
    return Sketch(points, lines=_edges(names))


def _regular_angle(rng: random.Random) -> Scene:
    """An interior angle of a regular polygon is kx, or kx and a number; the sides must be counted."""
    corners, slope = rng.choice((5, 6, 8)), rng.randint(1, 9)
    size = (corners - 2) * 180 // corners
    offset = rng.choice((0, *(size - slope * x for x in range(5, 60) if 0 < abs(size - slope * x) < 50)))
    value = Fraction(size - offset, slope)
    if value.denominator not in (1, 2) or (slope == 1 and offset == 0):
        return _regular_angle(rng)
    answer: Exact = decimal(value)
    names = letters(rng, corners, 2)
    sketch = _regular(names)
    text = linear(slope, offset)
    last = f", {slope}x={size - offset}" if slope > 1 and offset else ""
    total = (corners - 2) * 180
    return Scene(
        Sketch(sketch.points, sketch.lines, equal=(sketch.lines,)),
        given=(angle(names[0] + names[1] + names[2], text),),
        find="x",
        answer=answer,
        wrong=(rational(size), decimal(Fraction(size, slope)) if size % slope == 0 else rational(180 - size),
               rational(360 // corners), rational(total)),
        solution=f"({corners}-2)*180/{corners}={size}, {text}={size}{last}, x={answer.latex}",
        shows=(f"regular {_NAMES[corners]}",),
        hint="The polygon is regular.",
        worded=f"An interior angle of a regular {_NAMES[corners]} is {text}. Find x.",
    )  # fmt: skip
