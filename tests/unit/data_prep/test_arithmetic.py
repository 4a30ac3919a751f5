"""The grammar of exact values: value, LaTeX, and what is refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.arithmetic import evaluate, latex, parse


@pytest.mark.parametrize(
    ("text", "spelled", "value"),
    [
        ("15", "15", 15.0),
        ("13/2", r"\frac{13}{2}", 6.5),
        ("60*sqrt(3)", r"60\sqrt{3}", 103.92304845413264),
        ("-3/4+3*sqrt(73)/4", r"-\frac{3}{4}+\frac{3\sqrt{73}}{4}", 5.658002808988147),
        ("180*acos(5/13)/pi", r"\frac{180\arccos(\frac{5}{13})}{\pi}", 67.38013505195957),
        ("2**(3/4)*sqrt(2)", r"2^{\frac{3}{4}}\sqrt{2}", 2.378414230005442),
        ("50-25*pi/4", r"50-\frac{25\pi}{4}", 30.365045915063792),
        ("(1+2)*(3-4)", "(1+2)(3-4)", -3.0),
        ("1-(2-3)", "1-(2-3)", 2.0),
        ("1-(2+3)", "1-(2+3)", -4.0),
        ("1-2-3", "1-2-3", -4.0),
        ("2*-3", "2(-3)", -6.0),
        ("-2**2", "-2^{2}", -4.0),
        ("2**-1", "2^{-1}", 0.5),
        ("2**3**2", "2^{3^{2}}", 512.0),
        ("(1/2)**2", r"(\frac{1}{2})^{2}", 0.25),
        ("8/2/2", r"\frac{\frac{8}{2}}{2}", 2.0),
        ("2*3", r"2\cdot 3", 6.0),
        ("5*(1/2)", r"5\cdot \frac{1}{2}", 2.5),
        ("180*(1/3)/pi", r"\frac{180\cdot \frac{1}{3}}{\pi}", 60 / math.pi),
        (" 1.5 + 1 ", "1.5+1", 2.5),
    ],
)
def test_value_and_latex(text: str, spelled: str, value: float) -> None:
    expression = parse(text)
    assert latex(expression) == spelled
    assert math.isclose(evaluate(expression), value, rel_tol=0, abs_tol=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "missing at the end"),
        ("1+", "missing at the end"),
        ("1 2", "not expected"),
        ("x+1", "not expected"),
        ("__import__('os')", "not understood"),
        ("sqrt 2", "not expected"),
        ("(1", "closing bracket"),
        ("1)", "not expected"),
        ("(" * 60 + "1" + ")" * 60, "deep"),
        ("-" * 60 + "1", "deep"),
        ("1" + "+1" * 3000, "more than 400"),
        ("9" * 5000, "characters"),
        ("٣", "not understood"),
    ],
)
def test_what_is_no_expression_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(text)


@pytest.mark.parametrize("text", ["1/0", "sqrt(-1)", "asin(2)", "9**9**9**9", "0**-1", "(-8)**(1/3)", "1/(1-1)"])
def test_what_has_no_value_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="value"):
        evaluate(parse(text))


def test_the_longest_chain_is_spelled_and_evaluated() -> None:
    chain = parse("1" + "+1" * 199)
    assert evaluate(chain) == 200.0
    assert latex(chain).count("+") == 199


@given(st.text(alphabet="0123456789+-*/(). sqrtpincoa", max_size=60))
def test_any_text_has_a_value_or_a_value_error(text: str) -> None:
    try:
        expression = parse(text)
        latex(expression)
        assert math.isfinite(evaluate(expression))
    except ValueError:
        pass
