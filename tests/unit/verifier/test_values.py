"""Exact forms, numbers with many digits, units and rounding, by hand."""

from fractions import Fraction

import pytest

from uec_vlm.verifier import numeric, units
from uec_vlm.verifier.answers import readings
from uec_vlm.verifier.compare import match
from uec_vlm.verifier.exact import Undefined, Unsupported, exact, linear, rational, same
from uec_vlm.verifier.limits import LimitError, Work
from uec_vlm.verifier.nodes import Node, Num
from uec_vlm.verifier.settle import settle
from uec_vlm.verifier.values import Context, match_scalar, same_value


def read(text: str) -> Node:
    return next(readings(text))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (r"2\sqrt{221}", r"\sqrt{884}"),
        (r"\frac{17}{2}\sqrt2", r"\frac{17}{\sqrt2}"),
        (r"\sqrt[3]{16}", r"2\cdot 2^{1/3}"),
        (r"\frac{1}{\sqrt2-1}", r"1+\sqrt2"),
        (r"(1+\sqrt5)^2", r"6+2\sqrt5"),
        (r"\frac{1}{3\pi}", r"\frac{1}{3}\pi^{-1}"),
        ("(x+1)^2", "x^2+2x+1"),
        (r"\frac{x^2-1}{x-1}", "x+1"),
        ("5!", "120"),
        (r"\binom{5}{2}", "10"),
        ("(1+i)^2", "2i"),
    ],
)
def test_exact_equality(a: str, b: str) -> None:
    assert same(exact(read(a)), exact(read(b)))
    assert same(exact(read(b)), exact(read(a)))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (r"\sqrt2+\sqrt3", r"\sqrt5"),
        (r"9\sqrt2\pi", r"9\sqrt{2\pi}"),
        (r"\frac{1}{3\pi}", r"\frac{\pi}{3}"),
        ("(a+b)/2", "a+b/2"),
        (r"\pi r^2", r"\pi R^2"),
        (r"1-\sqrt2", r"\sqrt2-1"),
        ("x-1", "1-x"),
    ],
)
def test_exact_difference(a: str, b: str) -> None:
    assert not same(exact(read(a)), exact(read(b)))


def test_exact_bounds() -> None:
    assert rational(exact(read("2^{10}"))) == 1024
    with pytest.raises(Undefined):
        exact(read("1/0"))
    for text in ("2^{9999}", r"\sqrt{x^2}", r"\sin 1", "(x+y+z+w)^{60}", r"\sqrt[50]{2}", "(-8)^{1/3}"):
        with pytest.raises(Unsupported):
            exact(read(text))
    assert linear(exact(read("2x-6"))) == ("x", Fraction(2), Fraction(-6))
    assert linear(exact(read("x^2"))) is None
    with pytest.raises(LimitError):
        exact(read("+".join(f"x^{{{n}}}" for n in range(60))), Work(10))


def test_numbers_with_many_digits_decide_the_rest() -> None:
    assert same_value(read(r"\sqrt{3+2\sqrt2}"), read(r"1+\sqrt2"), Work())
    assert same_value(read(r"3\cos 65^\circ"), read(r"3\sin\frac{5\pi}{36}"), Work())
    assert same_value(read(r"\tan^2 y+1"), read(r"\sec^2 y"), Work())
    assert not same_value(read(r"\sqrt{x^2}"), read("x"), Work())
    assert same_value(read(r"\sqrt{x^2}"), read("|x|"), Work())
    # equal in floating point, different in the 30th digit
    assert not same_value(read(r"\sin(1)+10^{-30}"), read(r"\sin(1)"), Work())


@pytest.mark.parametrize(
    "text", ["9^{9^{9^9}}", "10^{10^{10}}", "0/0", r"\ln 0", "1000!", r"\tan(10^{300})", r"e^{99999}"]
)
def test_what_has_no_value_within_the_bounds(text: str) -> None:
    with pytest.raises(numeric.NoValue):
        numeric.evaluate(read(text), {})


def test_one_judgement_has_a_bounded_number_of_steps() -> None:
    hard = ",".join(rf"\sqrt{{{n}+\sqrt{{2}}}}" for n in range(39, 0, -1))
    same_in_order = ",".join(rf"\sqrt{{{n}+\sqrt{{2}}}}+0" for n in range(1, 40))
    work = Work()
    with pytest.raises(LimitError):
        for _ in range(50):
            match(settle(read(hard), work), settle(read(same_in_order), work), Context(work=work))


@pytest.mark.parametrize("text", ["2^{99999}", "1.5^{10^{12}}", r"(\sqrt2)^{10^{7}}", r"\pi^{10^{9}}", "0.1^{99999}"])
def test_powers_are_bounded_before_they_are_taken(text: str) -> None:
    for arithmetic in (numeric.evaluate, lambda *args: numeric.evaluate(*args, numeric.many_digits())):
        with pytest.raises(numeric.NoValue):
            arithmetic(read(text), {})


def test_units() -> None:
    assert units.conversion("m", "cm") == 100
    assert units.conversion("cm^2", "m^2") == Fraction(1, 10000)
    assert units.conversion("l", "cm^3") == 1000
    assert units.conversion("unit", "cm") == 1
    assert units.conversion("unit^2", "cm^2") == 1
    assert units.conversion("unit", "cm^2") is None
    assert units.conversion("unit", "kg") is None
    assert units.conversion("cm", "cm^2") is None
    assert units.conversion("deg", "rad") is None
    assert units.conversion("km h^-1", "m s^-1") == Fraction(1000, 3600)


@pytest.mark.parametrize(
    ("gold", "answer", "reason"),
    [
        ("48", "48.0", "exact"),
        (r"2\sqrt{221}", r"\sqrt{884}", "equivalent"),
        (r"2\sqrt{221}", "29.73", "rounded"),
        (r"2\sqrt{221}", "29.72", None),
        (r"2\sqrt{221}", "29.7", None),
        ("22/3", "7.33", "rounded"),
        ("22/3", "7.333...", "rounded"),
        ("22/3", "7.33...4", None),
        ("1/3", "0.3", None),
        ("1/300", "0.00", None),
        ("29.7", "29.73", "rounded"),
        ("29.7", "29.76", None),
        ("29.73", "29.7", None),
        ("3.5", "3.46", None),
        ("7", "7.001", None),
        (r"36\pi", "113.1", "rounded"),
        (r"36\pi", "113", None),
    ],
)
def test_rounding(gold: str, answer: str, reason: str | None) -> None:
    try:
        tree = read(answer)
    except ValueError:
        assert reason is None
        return
    assert match_scalar(read(gold), tree, Context()) == reason


def test_a_rounded_answer_must_be_nearest_to_the_right_option() -> None:
    near = [Num(Fraction("29.74"), 2)]
    assert match_scalar(read(r"2\sqrt{221}"), read("29.73"), Context()) == "rounded"
    assert match_scalar(read(r"2\sqrt{221}"), read("29.73"), Context(others=near)) == "rounded"
    assert match_scalar(read("29.7"), read("29.73"), Context(others=near)) is None


def test_the_question_can_ask_for_a_rounded_answer() -> None:
    assert match_scalar(read("37"), read("36.87"), Context()) is None
    assert match_scalar(read("37"), read("36.87"), Context(asked=0)) == "rounded"
    assert match_scalar(read("37"), read("36.4"), Context(asked=0)) is None
