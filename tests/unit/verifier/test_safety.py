"""No text runs code, hangs, or raises."""

import os
from pathlib import Path

import pytest

from tests.support.spent import at_most
from uec_vlm.verifier import judge

TOWERS = [
    "9**9**9**9", "9^{9^{9^{9}}}", "99999999!", "10!!!!!!!!!!", r"\binom{10^9}{10^8}", "(x+y+z+w)^{400}",
    "2**99999999+sqrt(2)", r"\sqrt{9^{9^9}}", r"\frac{9**9**9}{9**9**8}", "1e-999999999", r"1.5^{10^{12}}",
    r"\log(\log(10^{10^{10^{10}}}))", r"\prod_{n=1}^{10^9} n", r"\int_0^1 e^{e^{x^x}} dx", r"\lim_{n\to\infty} n^{n^n}",
    r"\frac{1}{\sqrt2+\sqrt3+\sqrt5+\sqrt7+\sqrt{11}+\sqrt{13}+\sqrt{17}+\sqrt{19}+\sqrt{23}}",
    r"\sqrt{99999989}+" * 60 + "1", "1/" * 800 + "1", r"\pm 1" * 300, "(" * 900, "((" * 100 + "1" + "))" * 100,
    "sqrt(2+" * 150 + "1" + ")" * 150, r"\frac" * 400, r"x^" * 500 + "x", "²" * 1500, "1," * 900 + "1",
    r"(1+\sqrt2+\sqrt3+\sqrt5+\sqrt7+\sqrt{11})^{64}", r"\sin(" * 100 + "1" + ")" * 100,
]  # fmt: skip
GOLDS = [
    "5",
    r"2\sqrt{221}",
    "x+y",
    "(3, 4)",
    "3 < x < 11",
    "1, 2, 3",
    r"\pm 5",
    "3:4",
    "12 cm",
    "isosceles",
    r"\angle 3",
]


@pytest.mark.parametrize("answer", TOWERS, ids=lambda text: text[:30])
def test_nothing_hangs(answer: str) -> None:
    for gold in GOLDS:
        with at_most(0.5, gold):
            verdict = judge(f"\\boxed{{{answer}}}", gold)
        assert not verdict.correct
        assert verdict.reason != "error"


UNITS = ["\\boxed{", "{", "}", "\\", "$", "answer is ", "<think>", "<answer>", " ", "²", "½", "1,", "**"]


@pytest.mark.parametrize("unit", UNITS)
def test_long_texts_take_linear_time(unit: str) -> None:
    for text in (unit * (300_000 // len(unit)), f"\\boxed{{{unit * (300_000 // len(unit))}}}"):
        with at_most(1.0, unit):
            judge(text, "5")


def test_no_text_runs_code(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    attacks = [
        f"__import__('os').system('touch {canary}')",
        f"open('{canary}','w').write('1')",
        f"exec(\"open('{canary}','w')\")",
        f"(open('{canary}','w').close() or 5)*5\\pi",
        f"[x.close() or 5 for x in [open('{canary}','w')]][0]",
        f"sqrt(open('{canary}','w').close() or 25)",
        f"\\input{{{canary}}}\\write18{{touch {canary}}}",
        f"`touch {canary}`",
        "print(5)",
        "globals().clear()",
        "quit()",
        "lambda: 5",
    ]
    before = set(os.listdir())
    for attack in attacks:
        for text in (f"\\boxed{{{attack}}}", f"<answer>{attack}</answer>", attack, f"\\boxed{{\\text{{{attack}}}}}"):
            for gold in ("5", "0", r"25\pi", r"\begin{pmatrix}1\\2\end{pmatrix}", "1 < x < 2"):
                assert not judge(text, gold).correct, (text, gold)
    assert not canary.exists()
    assert set(os.listdir()) == before


def test_golds_and_options_are_held_to_the_same_bounds() -> None:
    for hostile in TOWERS:
        with at_most(1.5, hostile[:30]):
            judge(r"\boxed{5}", hostile)
            judge(r"\boxed{5}", "A", [hostile, "5", hostile])
            judge(r"\boxed{B}", hostile, [hostile, "5"])
