"""Answers recomputed from what the picture shows, by sympy and the theorem alone, without the generator's numbers."""

import re
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from itertools import permutations
from typing import Any

import pytest
import sympy

from tests.unit.geosynth.support import latex_to_sympy, problems
from uec_vlm.geosynth import GeoProblem

X = sympy.Symbol("x", positive=True)
Shown = dict[str, list[Any]]


def _shown(problem: GeoProblem) -> Shown:
    """Values by what carries them; the points' letters are left out."""
    found: Shown = defaultdict(list)
    for label in problem.labels:
        if not label.role.startswith("vertex"):
            found[re.sub(r" [A-Z]+$", "", label.role)].append(latex_to_sympy(label.text).subs(sympy.Symbol("x"), X))
    return found


def _x(equation: Any) -> float:
    roots = [root for root in sympy.solve(equation, X) if root.is_positive]
    assert len(roots) == 1, equation
    return float(roots[0])


def _told(problem: GeoProblem) -> Any:
    return latex_to_sympy(re.search(r" is ([^ ]+)\. ", problem.question).group(1))  # type: ignore[union-attr]


def _sum(total: int, shown: Shown, problem: GeoProblem) -> float:
    x = _x(sympy.Eq(sum(value for values in shown.values() for value in values), total))
    return _asked(x, problem)


def _asked(x: float, problem: GeoProblem) -> float:
    """x, or what is asked by its letters, found among the labels."""
    if problem.goal == "x":
        return x
    asked = problem.goal.removeprefix("m \\angle ")
    text = next(label.text for label in problem.labels if label.role.endswith(f" {asked}"))
    return float(latex_to_sympy(text).subs(sympy.Symbol("x"), x))


def _equal_or_summing(total: int, shown: Shown, problem: GeoProblem, equal: tuple[str, ...]) -> float:
    (first,) = shown["angle"]
    (other,) = (values[0] for role, values in shown.items() if role != "angle")
    is_equal = any(role in shown for role in equal)
    return _asked(_x(sympy.Eq(first, other) if is_equal else sympy.Eq(first + other, total)), problem)


def _right(shown: Shown, problem: GeoProblem, one: str, two: str, long: str) -> float:
    legs = shown[one] if one == two else [shown[one][0], shown[two][0]]
    return _x(sympy.Eq(legs[0] ** 2 + legs[1] ** 2, shown[long][0] ** 2))


def _linear_pair(shown: Shown, problem: GeoProblem) -> float:
    return _sum(90 if "right angle" in " ".join(problem.facts) else 180, shown, problem)


def _share(shown: Shown, problem: GeoProblem, *, area: bool) -> float:
    radius, part = shown["radius"][0], shown["central angle"][0] / 360
    whole = sympy.pi * radius**2 if area else 2 * sympy.pi * radius
    return float(part * whole) if problem.level < 3 else _x(sympy.Eq(part * whole, _told(problem)))


def _tangent(shown: Shown, problem: GeoProblem) -> float:
    if problem.level < 3:
        return _right(shown, problem, "radius", "tangent", "long side")
    radius, tangent, outer = (shown[role][0] for role in ("radius", "tangent", "outer part"))
    return _x(sympy.Eq(radius**2 + tangent**2, (radius + outer) ** 2))


def _two_tangents(shown: Shown, problem: GeoProblem) -> float:
    if problem.level == 1:
        return _sum(180, shown, problem)
    return _asked(_x(sympy.Eq(*shown["tangent"])), problem)


def _crossing_chords(shown: Shown, problem: GeoProblem) -> float:
    for one, two, three, four in permutations(shown["part"]):
        roots = [float(root) for root in sympy.solve(sympy.Eq(one * two, three * four), X) if root.is_positive]
        if roots and abs(roots[0] - problem.value) < 1e-9:
            return roots[0]
    return -1.0


def _trapezoid_area(shown: Shown, problem: GeoProblem) -> float:
    area = sum(shown["base"]) * shown["height"][0] / 2
    return float(area) if problem.level == 1 else _x(sympy.Eq(area, _told(problem)))


def _triangle_area(shown: Shown, problem: GeoProblem) -> float:
    if "hypotenuse" in shown:
        leg, long = shown["leg"][0], shown["hypotenuse"][0]
        return float(leg * sympy.sqrt(long**2 - leg**2) / 2)
    area = shown["base"][0] * shown["height"][0] / 2
    return float(area) if problem.level == 1 else _x(sympy.Eq(area, _told(problem)))


def _circle(shown: Shown, problem: GeoProblem, *, area: bool) -> float:
    radius = shown["radius"][0] if "radius" in shown else shown["diameter"][0] / 2
    size = sympy.pi * radius**2 if area else 2 * sympy.pi * radius
    return float(size) if not size.has(X) else _x(sympy.Eq(size, _told(problem)))


def _rectangle(shown: Shown, problem: GeoProblem, *, area: bool) -> float:
    if "diagonal" in shown:
        return float(shown["side"][0] * sympy.sqrt(shown["diagonal"][0] ** 2 - shown["side"][0] ** 2))
    one, two = shown["side"]
    size = one * two if area else 2 * (one + two)
    return float(size) if not size.has(X) else _x(sympy.Eq(size, _told(problem)))


SIDES = {"pentagon": 5, "hexagon": 6, "heptagon": 7, "octagon": 8}
Solver = Callable[[Shown, GeoProblem], float]
SOLVERS: dict[tuple[str, int], Solver] = {
    **{("right_triangle", level): partial(_right, one="leg", two="leg", long="hypotenuse") for level in (1, 2)},
    **{("triangle_angles", level): partial(_sum, 180) for level in (1, 2, 3)},
    **{("quadrilateral_angles", level): partial(_sum, 360) for level in (1, 2, 3)},
    **{("polygon_angles", level): partial(_sum, 540) for level in (1, 2, 3)},
    **{("inscribed_quadrilateral", level): partial(_sum, 180) for level in (1, 2, 3)},
    **{("central_angle", level): partial(_sum, 360) for level in (2, 3)},
    **{("linear_pair", level): _linear_pair for level in (1, 2, 3)},
    **{
        ("exterior_angle", level): lambda shown, problem: _asked(
            _x(sympy.Eq(sum(shown["angle"]), shown["exterior angle"][0])), problem
        )
        for level in (1, 2, 3)
    },
    **{("vertical_angles", level): partial(_equal_or_summing, 180, equal=("vertical angle",)) for level in (1, 2, 3)},
    **{
        ("parallel_lines", level): partial(_equal_or_summing, 180, equal=("corresponding angle", "alternate angle"))
        for level in (1, 2, 3)
    },
    **{
        ("parallelogram_angles", level): partial(_equal_or_summing, 180, equal=("opposite angle",))
        for level in (1, 2, 3)
    },
    **{("arc_length", level): partial(_share, area=False) for level in (1, 2, 3)},
    **{("sector_area", level): partial(_share, area=True) for level in (1, 2, 3)},
    **{("circumference", level): partial(_circle, area=False) for level in (1, 2)},
    **{("circle_area", level): partial(_circle, area=True) for level in (1, 2)},
    **{("tangent", level): _tangent for level in (1, 2, 3)},
    **{("two_tangents", level): _two_tangents for level in (1, 2, 3)},
    **{("chord", level): partial(_right, one="half chord", two="distance", long="radius") for level in (1, 2)},
    **{("crossing_chords", level): _crossing_chords for level in (1, 2, 3)},
    **{
        ("tangent_secant", level): lambda shown, problem: _x(
            sympy.Eq(
                shown["tangent"][0] ** 2, shown["outer part"][0] * (shown["outer part"][0] + shown["inner part"][0])
            )
        )
        for level in (1, 2, 3)
    },
    **{("trapezoid_area", level): _trapezoid_area for level in (1, 2)},
    **{
        ("trapezoid_midsegment", level): lambda shown, problem: _x(
            sympy.Eq(sum(shown["base"]), 2 * shown["midsegment"][0])
        )
        for level in (1, 2, 3)
    },
    **{
        ("triangle_midsegment", level): lambda shown, problem: _x(
            sympy.Eq(shown["base"][0], 2 * shown["midsegment"][0])
        )
        for level in (1, 2, 3)
    },
    **{("triangle_area", level): _triangle_area for level in (1, 2)},
    **{("rectangle_area", level): partial(_rectangle, area=True) for level in (1, 2)},
    **{("rectangle_perimeter", level): partial(_rectangle, area=False) for level in (1, 2, 3)},
    ("altitude", 1): lambda shown, problem: _x(
        sympy.Eq(shown["altitude"][0] ** 2, shown["part"][0] * shown["part"][1])
    ),
    ("altitude", 2): lambda shown, problem: _x(
        sympy.Eq(shown["altitude"][0] ** 2, shown["part"][0] * shown["part"][1])
    ),
    ("parallelogram_area", 1): lambda shown, problem: float(shown["base"][0] * shown["height"][0]),
    ("rhombus_area", 1): lambda shown, problem: float(2 * shown["half diagonal"][0] * shown["half diagonal"][1]),
    ("regular_polygon", 1): lambda shown, problem: float(SIDES[problem.facts[0].split()[1]] * shown["side"][0]),
}


def _complete(problem: GeoProblem) -> bool:
    """All numbers stand in the picture, except one that the text tells of the figure; x is asked, or by a phrase."""
    question = problem.question
    told = question.startswith("The ") and " is " in question
    carrier = problem.goal.removeprefix("m \\angle ")
    named = any(label.role.endswith(f" {carrier}") for label in problem.labels if "vertex" not in label.role)
    asked = problem.goal == "x" or problem.goal.startswith("the ") or named
    return problem.needs_picture and asked and " If " not in f" {question}" and (told or not re.search(r"\d", question))


@pytest.mark.parametrize(("family", "level"), list(SOLVERS))
def test_answers_follow_from_the_picture(family: str, level: int) -> None:
    checked = 0
    for problem in problems(family, level, count=20):
        if _complete(problem):
            assert SOLVERS[family, level](_shown(problem), problem) == pytest.approx(problem.value, rel=0, abs=1e-9)
            checked += 1
    assert checked >= 5


def test_sixteen_families_are_recomputed() -> None:
    assert len({family for family, _ in SOLVERS}) >= 28
