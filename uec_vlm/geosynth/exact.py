"""Exact answers: a fraction times a square root times a power of pi, written as Geometry3K writes them.

Such numbers cover every answer of the generator; arithmetic on them is plain `Fraction` arithmetic, which is a thousand
times cheaper than sympy's. `Exact.sympy` gives the same number to sympy, and the tests compare the two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

Rational = int | Fraction


@dataclass(frozen=True)
class Exact:
    """`fraction * sqrt(root) * pi ** pi`.

    root: square-free and at least 1. pi: 0 or 1. decimal: write the fraction as a decimal ("2.5"), which it must allow.
    """

    fraction: Fraction
    root: int = 1
    pi: int = 0
    decimal: bool = False

    @property
    def value(self) -> float:
        """The number as a float."""
        return float(self.fraction) * math.sqrt(self.root) * math.pi**self.pi

    @property
    def latex(self) -> str:
        r"""The number as LaTeX without spaces: `12`, `2.5`, `\frac{5}{2}`, `6\sqrt{3}`, `\frac{9\pi}{2}`."""
        if self.decimal:
            return decimal_text(self.fraction) + self._irrational()
        top, bottom, rest = abs(self.fraction.numerator), self.fraction.denominator, self._irrational()
        head = rest if rest and top == 1 else f"{top}{rest}"
        sign = "-" if self.fraction < 0 else ""
        return f"{sign}{head}" if bottom == 1 else f"{sign}\\frac{{{head}}}{{{bottom}}}"

    def _irrational(self) -> str:
        return ("" if self.root == 1 else f"\\sqrt{{{self.root}}}") + ("\\pi" if self.pi else "")

    def times(self, factor: Rational) -> Exact:
        """The number times a rational."""
        return Exact(self.fraction * factor, self.root, self.pi, self.decimal)

    def sympy(self) -> Any:
        """The same number as a sympy expression."""
        import sympy

        fraction = sympy.Rational(self.fraction.numerator, self.fraction.denominator)
        return fraction * sympy.sqrt(self.root) * sympy.pi**self.pi


def rational(value: Rational) -> Exact:
    """An integer or a fraction."""
    return Exact(Fraction(value))


def decimal(value: Rational) -> Exact:
    """A fraction that is written as a decimal; its denominator must divide a power of ten."""
    exact = Fraction(value)
    return Exact(exact, decimal=exact.denominator != 1)


def pi_times(value: Rational) -> Exact:
    """A multiple of pi."""
    return Exact(Fraction(value), pi=1)


def square_root(value: Rational, factor: Rational = 1) -> Exact:
    """`factor * sqrt(value)` with the largest square taken out and a rational denominator."""
    exact = Fraction(value)
    outside, inside = _take_out(exact.numerator * exact.denominator)
    return Exact(Fraction(factor) * Fraction(outside, exact.denominator), inside)


def decimal_text(value: Rational) -> str:
    """A fraction as a decimal without trailing zeros: 5/2 is "2.5"."""
    exact = Fraction(value)
    if exact.denominator == 1:
        return str(exact.numerator)
    for digits in range(1, 7):
        scaled = exact * 10**digits
        if scaled.denominator == 1:
            sign, whole = ("-" if exact < 0 else ""), str(abs(scaled.numerator)).rjust(digits + 1, "0")
            return f"{sign}{whole[:-digits]}.{whole[-digits:]}"
    raise ValueError(f"{exact} has no short decimal form; use rational() for it")


@lru_cache(maxsize=4096)
def _take_out(value: int) -> tuple[int, int]:
    """`(outside, inside)` with `value == outside**2 * inside` and `inside` square-free."""
    outside, inside, divisor = 1, value, 2
    while divisor * divisor <= inside:
        while inside % (divisor * divisor) == 0:
            inside //= divisor * divisor
            outside *= divisor
        divisor += 1
    return outside, inside
