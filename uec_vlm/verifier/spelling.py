"""Unicode in, plain LaTeX in ASCII out: one spelling per sign, so that the lexer meets a small alphabet."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_INVISIBLE = "\u200b\u200c\u200d\u2060\u2061\u2062\u2063\u2064\ufeff\u00ad\u200e\u200f\u202a\u202b\u202c\ufe0e\ufe0f"

_GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ϵ": "epsilon", "ζ": "zeta", "η": "eta",
    "θ": "theta", "ϑ": "theta", "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "ρ": "rho",
    "σ": "sigma", "τ": "tau", "φ": "phi", "ϕ": "phi", "χ": "chi", "ψ": "psi", "ω": "omega", "π": "pi", "Γ": "Gamma",
    "Θ": "Theta", "Λ": "Lambda", "Σ": "Sigma", "Φ": "Phi", "Ψ": "Psi", "Ω": "Omega", "Δ": "Delta",
}  # fmt: skip

_SIGNS = {
    "-": "−–—‐‑‒﹣－",
    "\\times ": "×✕✖⨯",
    "\\cdot ": "·⋅∙•・",
    "*": "∗＊",
    "\\div ": "÷",
    "/": "⁄∕",
    "\\sqrt ": "√",
    "\\sqrt[3]": "∛",
    "\\sqrt[4]": "∜",
    "^\\circ ": "°˚º∘◦⁰",
    "'": "′’‘ʹ",
    "''": "″”“",
    "\\le ": "≤⩽≦",
    "\\ge ": "≥⩾≧",
    "\\ne ": "≠",
    "\\approx ": "≈≃≒≐",
    "\\cong ": "≅",
    "\\sim ": "∼～",
    "\\equiv ": "≡",
    "\\parallel ": "∥‖",
    "\\perp ": "⊥⟂",
    "\\angle ": "∠∡∢",
    "\\triangle ": "△▲∆▵",
    "\\odot ": "⊙",
    "\\infty ": "∞",
    "\\pm ": "±",
    "\\mp ": "∓",
    "\\in ": "∈",
    "\\cup ": "∪",
    "\\cap ": "∩",
    "\\emptyset ": "∅",
    "\\lor ": "∨",
    "\\land ": "∧",
    "\\therefore ": "∴",
    "\\to ": "→⟶",
    "\\arc ": "⌒⏜",
    "\\sum ": "∑",
    "\\prod ": "∏",
    "\\int ": "∫",
    "|": "∣｜",
    ":": "∶：",
    ",": "，、",
    ";": "；",
    ".": "。．",
    "\\langle ": "⟨〈",
    "\\rangle ": "⟩〉",
    "\\lfloor ": "⌊",
    "\\rfloor ": "⌋",
    "\\lceil ": "⌈",
    "\\rceil ": "⌉",
}

_VULGAR = {
    "½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅖": (2, 5), "⅗": (3, 5),
    "⅘": (4, 5), "⅙": (1, 6), "⅚": (5, 6), "⅐": (1, 7), "⅛": (1, 8), "⅜": (3, 8), "⅝": (5, 8), "⅞": (7, 8),
    "⅑": (1, 9), "⅒": (1, 10),
}  # fmt: skip

_SUPER = dict(zip("¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿˣ", "123456789+-nx", strict=True))
_SUB = dict(zip("₀₁₂₃₄₅₆₇₈₉ₙₓ", "0123456789nx", strict=True))
_SUPER_RUN = re.compile("[" + "".join(_SUPER) + "⁰]+")
_SUB_RUN = re.compile("[" + "".join(_SUB) + "]+")

_DOUBLE_HAT = re.compile(r"\^\s?\^\\circ |\^\{\s?\^\\circ \s?\}")

_TABLE: dict[str, str] = {sign: latex for latex, signs in _SIGNS.items() for sign in signs}
_TABLE.update({letter: f"\\{name} " for letter, name in _GREEK.items()})
_TABLE.update({sign: f" \\frac{{{a}}}{{{b}}} " for sign, (a, b) in _VULGAR.items()})
_TABLE.update(dict.fromkeys(_INVISIBLE, ""))


@lru_cache(maxsize=4096)
def _plain(char: str) -> str:
    """The spelling of one non-ASCII character: a sign, a digit, a folded letter, a space, or itself."""
    known = _TABLE.get(char)
    if known is not None:
        return known
    if char.isdecimal():
        return str(unicodedata.decimal(char))
    if char.isspace():
        return "\n" if char in "\u2028\u2029\x85" else " "
    folded = unicodedata.normalize("NFKC", char)
    return "".join(c if c.isascii() else _TABLE.get(c, c) for c in folded)


def plain(text: str) -> str:
    """Write `text` with one spelling per sign: Unicode mathematics as LaTeX, digits of any script as 0-9."""
    if text.isascii():
        return text
    text = _SUPER_RUN.sub(_superscript, text)
    text = _SUB_RUN.sub(lambda run: "_{" + "".join(_SUB[c] for c in run.group()) + "}", text)
    return _DOUBLE_HAT.sub(r"^\\circ ", "".join([c if c.isascii() else _plain(c) for c in text]))


def _superscript(run: re.Match[str]) -> str:
    """`²³` as `^{23}`; a lone raised zero is how some writers type the degree sign."""
    if run.group() == "⁰":
        return "^\\circ "
    return "^{" + "".join(_SUPER.get(c, "0") for c in run.group()) + "}"
