"""Exact numbers agree with sympy and are written as Geometry3K writes them."""

from fractions import Fraction

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.geosynth.support import latex_to_sympy
from uec_vlm.geosynth.exact import decimal, decimal_text, pi_times, rational, square_root

FRACTIONS = st.fractions(min_value=Fraction(1, 40), max_value=2000, max_denominator=40)


@settings(max_examples=150, deadline=None)
@given(FRACTIONS, FRACTIONS)
def test_square_roots_equal_sympys(inside: Fraction, factor: Fraction) -> None:
    number = square_root(inside, factor)
    expected = sympy.Rational(factor.numerator, factor.denominator) * sympy.sqrt(
        sympy.Rational(inside.numerator, inside.denominator)
    )
    assert sympy.simplify(number.sympy() - expected) == 0
    assert latex_to_sympy(number.latex).equals(expected)
    assert number.value == pytest.approx(float(expected), rel=1e-12, abs=0)
    assert sympy.factorint(number.root) == dict.fromkeys(sympy.factorint(number.root), 1), "the root is square-free"


@settings(max_examples=80, deadline=None)
@given(FRACTIONS)
def test_rationals_and_multiples_of_pi_equal_sympys(value: Fraction) -> None:
    expected = sympy.Rational(value.numerator, value.denominator)
    assert latex_to_sympy(rational(value).latex).equals(expected)
    assert latex_to_sympy(pi_times(value).latex).equals(expected * sympy.pi)


@pytest.mark.parametrize(
    ("number", "latex"),
    [
        (rational(12), "12"),
        (rational(Fraction(5, 2)), "\\frac{5}{2}"),
        (rational(Fraction(-5, 2)), "-\\frac{5}{2}"),
        (decimal(Fraction(5, 2)), "2.5"),
        (decimal(Fraction(1, 8)), "0.125"),
        (decimal(3), "3"),
        (square_root(108), "6\\sqrt{3}"),
        (square_root(3), "\\sqrt{3}"),
        (square_root(49), "7"),
        (square_root(Fraction(3, 4)), "\\frac{\\sqrt{3}}{2}"),
        (square_root(3, Fraction(5, 2)), "\\frac{5\\sqrt{3}}{2}"),
        (pi_times(9), "9\\pi"),
        (pi_times(1), "\\pi"),
        (pi_times(Fraction(9, 2)), "\\frac{9\\pi}{2}"),
    ],
)
def test_numbers_are_written_as_in_geometry3k(number, latex: str) -> None:  # type: ignore[no-untyped-def]
    assert number.latex == latex


def test_a_third_has_no_decimal_form() -> None:
    with pytest.raises(ValueError, match="no short decimal form"):
        decimal_text(Fraction(1, 3))
