"""The lexer, the grammar and the readings: single rules by example."""

from fractions import Fraction

import pytest

from uec_vlm.verifier.answers import readings, sentence
from uec_vlm.verifier.grammar import expression
from uec_vlm.verifier.lexer import tokens
from uec_vlm.verifier.limits import MAX_ANSWER_CHARS, MAX_DEPTH, LimitError, ParseError, Work
from uec_vlm.verifier.nodes import Add, Fn, Mul, Name, Num, Pow, Quantity, Rel, Seq, Sym
from uec_vlm.verifier.settle import settle
from uec_vlm.verifier.spelling import plain


def read(text: str):
    return next(readings(text))


def num(value: int | str | Fraction) -> Num:
    return Num(Fraction(value))


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("2√3π", r"2\sqrt 3\pi "),
        ("48°", r"48^\circ "),
        ("x²³", "x^{23}"),
        ("x₁₂", "x_{12}"),
        ("−8", "-8"),
        ("45⁰", r"45^\circ "),
        ("45^°", r"45^\circ "),
        ("６½", r"6 \frac{1}{2} "),
        ("٤٥", "45"),
        ("1\u200b2", "12"),
        ("𝜋", r"\pi "),
        ("Ｂ", "B"),
        ("∠1 ≅ ∠Z", r"\angle 1 \cong  \angle Z"),
    ],
)
def test_unicode_becomes_latex(text: str, latex: str) -> None:
    assert plain(text) == latex


def test_tokens_drop_dress_and_keep_meaning() -> None:
    assert [t.text for t in tokens(r"\left( \displaystyle 1\,234{,}5 \right)")] == [
        "(",
        "1234",
        "{",
        ",",
        "}",
        "5",
        ")",
    ]
    assert [t.text for t in tokens(r"12\text{ cm}^{2}")] == ["12", "cm", "^", "{", "2", "}"]
    assert [(t.kind, t.text) for t in tokens("1,234,567.8")] == [("num", "1234567.8")]
    assert [t.text for t in tokens("1,234", group_digits=False)] == ["1", ",", "234"]
    assert [t.text for t in tokens(r"\\frac{1}{2}")] == [t.text for t in tokens(r"\frac{1}{2}")]
    assert [t.text for t in tokens("1.2e3")] == ["1.2e3"]
    assert [t.text for t in tokens(r"\color{red}{4}\phantom{\frac12}5")] == ["{", "4", "}", "5"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("4 4/11", Fraction(48, 11)),
        (r"4\frac{4}{11}", Fraction(48, 11)),
        ("6½", Fraction(13, 2)),
        ("1,234", Fraction(1234)),
        ("1 234", Fraction(1234)),
        (".5", Fraction(1, 2)),
        (r"7.3\overline{45}", Fraction(7272, 990)),
        ("1.2e3", Fraction(1200)),
        ("0{.}5", Fraction(1, 2)),
    ],
)
def test_numbers(text: str, value: Fraction) -> None:
    node = read(text)
    assert isinstance(node, Num)
    assert node.value == value


def test_mixed_fractions_add_and_products_multiply() -> None:
    half = Mul((num(1), Pow(num(2), num(-1))))
    assert expression(tokens(r"3\frac{1}{2}")) == num("7/2")
    assert expression(tokens(r"3\cdot\frac{1}{2}")) == Mul((num(3), half))
    assert expression(tokens(r"3\frac{3}{2}")) == Mul((num(3), Mul((num(3), Pow(num(2), num(-1))))))
    assert expression(tokens(r"x\frac{1}{2}")) == Mul((Sym("x"), half))


def test_names_are_ordered_and_variables_multiply() -> None:
    assert expression(tokens("AC")) == expression(tokens("A C")) == Name("", "AC")
    assert expression(tokens("xy")) == Mul((Sym("x"), Sym("y")))
    assert expression(tokens("x_1")) == expression(tokens("x_{1}")) == Sym("x_1")
    assert expression(tokens("1_2")) == Sym("1_2")
    assert expression(tokens(r"m\angle ABC")) == Name("angle", "ABC")
    assert expression(tokens(r"\overset{\frown}{AB}")) == Name("arc", "AB")
    assert expression(tokens("2pir")) == Mul((num(2), Sym("pi"), Sym("r")))
    with pytest.raises(ParseError):
        expression(tokens("reward"))


def test_precedence() -> None:
    assert expression(tokens("a+b/2")) == Add((Sym("a"), Mul((Sym("b"), Pow(num(2), num(-1))))))
    assert expression(tokens("2^3^2")) == Pow(num(2), Pow(num(3), num(2)))
    assert expression(tokens("-2^2")) == Mul((num(-1), Pow(num(2), num(2))))
    assert expression(tokens(r"3\sin 2x")) == Mul((num(3), Fn("sin", (Mul((num(2), Sym("x"))),))))


@pytest.mark.parametrize(
    "text",
    [
        "1 2",
        "1+",
        "(1",
        "1)",
        r"\frac{1}",
        r"\sqrt",
        "1 2 3",
        "()",
        "^2",
        "/2",
        r"\foo{1}",
        "2 3/0x",
        "1..2",
        "--1",
        "5?6",
    ],
)
def test_broken_mathematics_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        read(text)


def test_bounds_are_kept() -> None:
    for text in ("(" * 200 + "1" + ")" * 200, r"\frac" * 300, r"\sqrt" * 300, "2^" * 300 + "2", "sin " * 300 + "1"):
        with pytest.raises((LimitError, ParseError)):
            read(text)
    deep = MAX_DEPTH // 2 - 2
    assert read("(" * deep + "1" + ")" * deep) == num(1)
    for text in ("1" * 500, "1," * 100 + "1", "1+" * 800 + "1", "1" * (MAX_ANSWER_CHARS + 1)):
        with pytest.raises(LimitError):
            read(text)


def test_lists_relations_and_units() -> None:
    assert read("3, 4 and 5") == Seq("list", (num(3), num(4), num(5)))
    assert read("x = 2 = 2") == Rel(("=", "="), (Sym("x"), num(2), num(2)))
    assert read("12 cm^2") == Quantity(num(12), "cm^2")
    assert read("5 ft 6 in") == Quantity(Add((num(5), num("1/2"))), "ft")
    assert read("45^\\circ 30'") == Quantity(num("91/2"), "deg")
    assert read("AB:CD = 3:4").ops == ("=",)
    assert read("[0,5)") == Seq("interval", (num(0), num(5)), "[)")
    assert list(readings("2m")) == [Quantity(num(2), "m"), Mul((num(2), Sym("m")))]
    assert list(readings("2s", is_gold=True)) == [Mul((num(2), Sym("s")))]


def test_inequalities_become_intervals() -> None:
    for text in ("x > 3", "3 < x", "2x > 6", "-x < -3", "-2x + 6 < 0", "x - 3 > 0"):
        assert settle(read(text), Work()) == settle(read(r"x \in (3, \infty)"), Work()), text
    for text in ("x < 3", r"x \ge 3", "-x > -3"):
        assert settle(read(text), Work()) != settle(read(r"x \in (3, \infty)"), Work()), text


def test_sentences() -> None:
    assert sentence("The measure of angle ABC is 45 degrees") == Quantity(num(45), "deg")
    assert sentence("the answer is 12") == num(12)
    for text in ("it is not 12", "there are 5 and the rest is 7", "something else"):
        with pytest.raises(ParseError):
            sentence(text)
