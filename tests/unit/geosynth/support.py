"""What the tests of geosynth share: LaTeX answers to sympy by another way than the generator's own."""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Any

import sympy

from uec_vlm.geosynth import FAMILIES, GeoProblem, make_problem

CELLS = [(family, level) for family in FAMILIES for level in (1, 2, 3)]

_FRACTION = re.compile(r"\\frac\{((?:[^{}]|\{[^{}]*\})*)\}\{(\d+)\}")


def latex_to_sympy(text: str) -> Any:
    r"""The number that an answer stands for: `12`, `2.5`, `3x` with x, `\frac{9\pi}{2}`, `6\sqrt{3}`."""
    text = _FRACTION.sub(r"((\1)/(\2))", text)
    text = re.sub(r"\\sqrt\{(\d+)\}", r"*sqrt(\1)", text).replace("\\pi", "*pi")
    text = re.sub(r"(\d)([a-z])", r"\1*\2", text)
    text = re.sub(r"(^|\()\*", r"\1", text)
    return sympy.nsimplify(sympy.sympify(text), rational=True)


def latex_to_float(text: str) -> float:
    """The same number without sympy, for many answers."""
    text = _FRACTION.sub(r"((\1)/(\2))", text)
    text = re.sub(r"\\sqrt\{(\d+)\}", r"*sqrt(\1)", text).replace("\\pi", "*pi")
    return float(eval(re.sub(r"(^|\()\*", r"\1", text), {"sqrt": math.sqrt, "pi": math.pi}))


@cache
def _problem(family: str, level: int, seed: int) -> GeoProblem:
    return make_problem(family, level, seed)


def problems(family: str, level: int, count: int = 25) -> list[GeoProblem]:
    """The first problems of a family and level at 112 pixels, made once in a test session."""
    return [_problem(family, level, seed) for seed in range(count)]
