"""What holds of the verifier for every answer: Hypothesis looks for exceptions."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.spent import at_most
from uec_vlm.verifier import REASONS, answer_value, judge, normalise_answer
from uec_vlm.verifier.grading import Item, decide

MANY = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])

PIECES = [
    "\\boxed{",
    "}",
    "{",
    "\\frac",
    "\\sqrt",
    "\\text{",
    "\\left(",
    "\\right)",
    "$",
    "\\pi",
    "^",
    "_",
    "^\\circ",
    "°",
    "√",
    "π",
    "½",
    "²",
    "1",
    "2",
    "34",
    "5.6",
    "1,234",
    ".",
    ",",
    ";",
    ":",
    "x",
    "AB",
    "cm",
    " units",
    " or ",
    " and ",
    " is ",
    "=",
    "<",
    "\\le ",
    "\\approx ",
    "+",
    "-",
    "*",
    "/",
    "\\cdot ",
    "(",
    ")",
    "[",
    "]",
    "|",
    "!",
    "%",
    "\\pm ",
    "\\infty",
    "\\angle ",
    "\\triangle ",
    "\\begin{pmatrix}",
    "\\end{pmatrix}",
    "\\\\",
    "&",
    "\\{",
    "\\}",
    "<think>",
    "</think>",
    "<answer>",
    "</answer>",
    "the answer is ",
    "A",
    "(B)",
    "not ",
    "\\sin ",
    "\\log",
    "e",
    "i",
    " ",
    "\n",
    "\\,",
    "\\quad",
    "'",
    '"',
    "\\cup ",
    "\\in ",
    "...",
    "\\overline{",
    "\u200b",
    "−",
    "∠",
    "厘米",
    "٣",
    "\ud800",
]
soup = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3)), max_size=40).map("".join)
GOLDS = ["5", "2\\sqrt{221}", "36\\pi", "x+1", "(3, 4)", "[0,5)", "3 < x < 11", "\\pm 5", "3:4", "12 cm", "Yes"]
golds = st.one_of(st.sampled_from(GOLDS), soup)
choices = st.one_of(st.none(), st.lists(st.sampled_from(["5", "6", "\\pi", "A", "2\\sqrt{3}", ""]), max_size=5))


@MANY
@given(soup, golds, choices)
def test_every_text_gets_a_verdict_in_time(response: str, gold: str, options: list[str] | None) -> None:
    with at_most(1.0, response[:30]):
        for text in (response, f"\\boxed{{{response}}}"):
            outcome = decide(Item(text, gold, options))
            assert outcome.reason in REASONS
            assert outcome.correct or outcome.reason not in ("exact", "equivalent", "rounded", "choice")


@MANY
@given(golds, choices)
def test_golds_are_total_too(gold: str, options: list[str] | None) -> None:
    assert isinstance(normalise_answer(gold), str)
    assert normalise_answer(normalise_answer(gold)) == normalise_answer(gold)
    value = answer_value(gold)
    assert value is None or isinstance(value, float)


# ------------------------------------------------------------------------------------------------------------ numbers

whole = st.integers(-999, 999)
positive = st.integers(1, 400)


@st.composite
def numbers(draw: st.DrawFn) -> tuple[str, float]:
    """A gold in LaTeX and its value: whole, decimal, fraction, mixed, surd, multiple of pi, or a product of them."""
    kind = draw(st.sampled_from(["whole", "decimal", "fraction", "surd", "pi", "both"]))
    a, b, n = draw(whole), draw(st.integers(2, 60)), draw(st.integers(2, 300))
    if kind == "whole":
        return str(a), float(a)
    if kind == "decimal":
        return f"{a}.{b:02d}", float(f"{a}.{b:02d}")
    if kind == "fraction":
        return rf"\frac{{{a}}}{{{b}}}", a / b
    a = abs(a) + 1
    if kind == "surd":
        return rf"{a}\sqrt{{{n}}}", a * n**0.5
    if kind == "pi":
        return rf"{a}\pi", a * 3.141592653589793
    return rf"\frac{{{a}\sqrt{{{n}}}}}{{{b}}}", a * n**0.5 / b


DRESS = [
    "{0}",
    "${0}$",
    r"\({0}\)",
    " {0} ",
    r"\,{0}\,",
    "{{{0}}}",
    r"\left({0}\right)",
    r"\displaystyle {0}",
    "x = {0}",
    "{0} = x",
    r"{0}\text{{ cm}}",
    "{0} units",
    r"{0}^\circ",
    "{0}°",
    r"{0} \text{{ cm}}^2",
    r"\text{{Area}} = {0}",
    r"\mathbf{{{0}}}",
    "{0}.",
    r"m\angle ABC = {0}",
    r"\approx {0}",
    "The answer is {0}",
    r"\boxed{{{0}}}",
]


@MANY
@given(numbers(), st.sampled_from(DRESS))
def test_dress_and_units_do_not_matter(number: tuple[str, float], dress: str) -> None:
    gold, _ = number
    assert judge(f"\\boxed{{{dress.format(gold)}}}", gold).correct
    assert judge(f"<answer>{dress.format(gold)}</answer>", gold).correct


@MANY
@given(numbers(), numbers())
def test_equality_is_symmetric_and_is_equality_of_values(a: tuple[str, float], b: tuple[str, float]) -> None:
    forth = decide(Item(f"\\boxed{{{a[0]}}}", b[0]))
    back = decide(Item(f"\\boxed{{{b[0]}}}", a[0]))
    same = abs(a[1] - b[1]) <= 1e-12 * max(abs(a[1]), abs(b[1]))
    exact = {"exact", "equivalent"}
    assert (forth.reason in exact) == (back.reason in exact) == same


@MANY
@given(numbers())
def test_the_canonical_spelling_is_the_same_answer(number: tuple[str, float]) -> None:
    gold, value = number
    spelling = normalise_answer(gold)
    assert judge(f"\\boxed{{{spelling}}}", gold).correct
    found = answer_value(gold)
    assert found is not None
    assert abs(found - value) <= 1e-9 * max(1.0, abs(value))


@MANY
@given(st.lists(numbers(), min_size=2, max_size=5, unique_by=lambda number: round(number[1], 9)), st.data())
def test_exactly_the_right_option_is_right(options: list[tuple[str, float]], data: st.DataObject) -> None:
    texts = [text for text, _ in options]
    right = data.draw(st.integers(0, len(texts) - 1))
    for gold in (texts[right], "ABCDE"[right]):
        for place, text in enumerate(texts):
            for answer in (text, "ABCDE"[place], f"({'ABCDE'[place]}) {text}"):
                assert judge(f"\\boxed{{{answer}}}", gold, texts).correct == (place == right), (gold, answer)


@MANY
@given(numbers())
def test_decimals_count_when_they_are_rounded_correctly(number: tuple[str, float]) -> None:
    gold, value = number
    exact_form = "\\sqrt" in gold or "\\pi" in gold
    rounded = f"{value:.3f}"
    if not exact_form or abs(value) < 0.1 or abs(abs(value * 1000) % 1 - 0.5) < 1e-6:
        return
    assert judge(f"\\boxed{{{rounded}}}", gold).correct
    beside = f"{float(rounded) + 0.001:.3f}"
    assert not judge(f"\\boxed{{{beside}}}", gold).correct


@MANY
@given(st.lists(whole, min_size=2, max_size=6, unique=True), st.randoms(use_true_random=False))
def test_lists_have_no_order_and_tuples_have_one(items: list[int], random: object) -> None:
    other = list(items)
    random.shuffle(other)  # type: ignore[attr-defined]
    gold, shuffled = ", ".join(map(str, items)), ", ".join(map(str, other))
    assert judge(f"\\boxed{{{shuffled}}}", gold).correct
    assert judge(f"\\boxed{{({shuffled})}}", f"({gold})").correct == (items == other)
    assert judge(f"\\boxed{{\\{{{shuffled}\\}}}}", f"\\{{{gold}\\}}").correct


@MANY
@given(numbers(), numbers(), st.sampled_from([", ", " or ", r"\text{ or }", " and ", "; ", r"\lor "]))
def test_two_different_answers_are_never_one(a: tuple[str, float], b: tuple[str, float], joint: str) -> None:
    if abs(a[1] - b[1]) < 0.02 * max(1.0, abs(a[1])):
        return
    if joint == ", " and a[0].lstrip("-").isdigit() and b[0].split(".")[0].isdigit() and len(b[0].split(".")[0]) == 3:
        joint = "; "  # "1, 234" may be a number
    for gold in (a[0], b[0]):
        assert not judge(f"\\boxed{{{a[0]}{joint}{b[0]}}}", gold).correct


@MANY
@given(st.fractions(min_value=Fraction(1, 50), max_value=200, max_denominator=50))
def test_mixed_numbers_add(value: Fraction) -> None:
    whole_part, rest = divmod(value, 1)
    if whole_part < 1 or rest == 0:
        return
    mixed = rf"{whole_part}\frac{{{rest.numerator}}}{{{rest.denominator}}}"
    improper = rf"\frac{{{value.numerator}}}{{{value.denominator}}}"
    assert judge(f"\\boxed{{{mixed}}}", improper).correct
    assert judge(f"\\boxed{{{improper}}}", mixed).correct
    assert judge(f"\\boxed{{{whole_part} {rest}}}", improper).correct
    product = whole_part * rest
    if product != value:
        assert not judge(
            rf"\boxed{{{whole_part}\cdot\frac{{{rest.numerator}}}{{{rest.denominator}}}}}", improper
        ).correct


@pytest.mark.slow
@settings(max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(soup, golds, choices)
def test_every_text_gets_a_verdict_long(response: str, gold: str, options: list[str] | None) -> None:
    for text in (response, f"\\boxed{{{response}}}"):
        assert decide(Item(text, gold, options)).reason in REASONS
