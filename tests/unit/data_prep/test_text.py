"""Texts lose control characters and keep everything else."""

import pytest

from data_prep.text import clean_text, comparable_text, without_placeholder


@pytest.mark.parametrize(
    ("text", "cleaned", "repairs"),
    [
        ("Find $x$.", "Find $x$.", ()),
        ("▱ABCD, ∠1 ≅ △Z, 45°, √3", "▱ABCD, ∠1 ≅ △Z, 45°, √3", ()),
        ("  Find x. ", "Find x.", ()),
        ("One. \r\n Two.\rThree.\n\n\nFour", "One.\nTwo.\nThree.\nFour", ("line_ends",)),
        ("a\x00b\x1b[31m\u200bc\ufeff", "ab[31mc", ("control_characters",)),
        ("lone \ud800 surrogate", "lone  surrogate", ("control_characters",)),
        ("a\tb", "a b", ("control_characters",)),
        (
            "$\x0crac{1}{2}$ of \x07ngle, \theta, \x08eta",
            "$\\frac{1}{2}$ of \\angle, \\theta, \\beta",
            ("lost_backslash",),
        ),
        ("Draw\tan altitude.", "Draw an altitude.", ("control_characters",)),
        ("It costs \\$5: draw,\tan $x$", "It costs \\$5: draw, an $x$", ("control_characters",)),
        ("Draw:\n\tan altitude and $y$,\tan $x$.", "Draw:\nan altitude and $y$, an $x$.", ("control_characters",)),
        ("$\tan AB + x\tan y$", "$\\tan AB + x\\tan y$", ("lost_backslash",)),
        ("$$\tan AB$$ or \\(\tan BC\\)", "$$\\tan AB$$ or \\(\\tan BC\\)", ("lost_backslash",)),
        ("\tan 45^\\circ", "\\tan 45^\\circ", ("lost_backslash",)),
        ("Find \tan A = 2\tan(x)", "Find \\tan A = 2\\tan(x)", ("lost_backslash",)),
        ("\x0crac{1}{2}\r\n\x01", "\\frac{1}{2}", ("lost_backslash", "line_ends", "control_characters")),
    ],
)
def test_clean_text(text: str, cleaned: str, repairs: tuple[str, ...]) -> None:
    assert clean_text(text) == (cleaned, repairs)


def test_cleaning_twice_changes_nothing_more() -> None:
    once, _ = clean_text("\x0crac\r\n\t a \u200b b")
    assert clean_text(once) == (once, ())


def test_literal_placeholder_is_taken_out() -> None:
    assert without_placeholder("a <image> b<image>") == ("a  b", True)
    assert without_placeholder("a < image > b") == ("a < image > b", False)


def test_comparable_text_ignores_case_spaces_and_dollars() -> None:
    assert comparable_text("<image>Find $m \\angle A$.") == comparable_text("find m\\angle a.")
    assert comparable_text("Find x.") != comparable_text("Find y.")
