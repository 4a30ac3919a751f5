"""The words and commands that the grammar knows, and how runs of letters are cut into them."""

from __future__ import annotations

from uec_vlm.verifier.lexer import Token
from uec_vlm.verifier.limits import ParseError, words

CONSTANTS = {"pi": "pi", "Pi": "pi", "infty": "oo", "infinity": "oo", "inf": "oo", "oo": "oo", "Infinity": "oo"}

_CIRCULAR = words("sin cos tan cot sec csc")
FUNCTIONS = {
    **{
        name: name for name in words("sinh cosh tanh ln exp gcd lcm max min log lg lb floor ceil factorial") | _CIRCULAR
    },
    **{"arc" + name: "a" + name for name in _CIRCULAR},
    **{"a" + name: "a" + name for name in _CIRCULAR},
    "abs": "abs",
    "Abs": "abs",
    "gamma": "gamma",
    "Gamma": "gamma",
}
TRIGONOMETRIC = _CIRCULAR

GREEK = words(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau phi chi psi omega Gamma "
    "Delta Theta Lambda Xi Sigma Upsilon Phi Psi Omega ell hbar"
)

# what stands before a geometric label; the value is the head of the Name
HEADS = {
    "angle": "angle", "angles": "angle", "triangle": "triangle", "triangles": "triangle", "arc": "arc", "arcs": "arc",
    "overline": "", "line": "line", "lines": "line", "ray": "ray", "rays": "ray", "segment": "", "segments": "",
    "side": "", "sides": "", "chord": "", "chords": "", "odot": "circle", "circle": "circle", "circles": "circle",
    "square": "quad", "Box": "quad", "parallelogram": "quad", "quadrilateral": "quad", "rectangle": "quad",
    "rhombus": "quad", "trapezoid": "quad", "polygon": "quad", "point": "", "points": "", "hat": "", "vec": "vec",
    "edge": "", "edges": "", "segmentline": "", "diameter": "", "radius": "", "underline": "",
}  # fmt: skip

SMALL_WORDS = words(
    "a an the and or is are be it of to in at on by as if no not yes so do we us up my me he go all one two six ten "
    "odd any but can for has its may nor our out see who was why you none true both only each than then from with"
)
_PRODUCTS = words("abc xyz lwh bcd abh mgh prt ijk uvw rst pqr abd xyw xyh bch abx aby")
_PREFIXES = ("sqrt", "arcsin", "arccos", "arctan", "sin", "cos", "tan", "log", "pi", "ln")
_KNOWN = frozenset(FUNCTIONS) | frozenset(CONSTANTS) | frozenset(HEADS) | {"sqrt", "cbrt", "frac", "root"}


def is_label(token: Token) -> bool:
    """Capital letters only: the name of a point, a segment, a figure, or of a congruence rule."""
    return token.kind == "word" and token.text.isupper() and token.text.isascii()


def split_words(row: list[Token]) -> list[Token]:
    """Cut runs of letters in mathematics into variables and known names: `xy` is x times y, `2pir` has pi and r.

    Raises ParseError where a run of letters is a word of a language.
    """
    if not any(token.kind == "word" and len(token.text) > 1 for token in row):
        return row
    out: list[Token] = []
    for token in row:
        known = token.text in _KNOWN or token.text.casefold() in HEADS
        if token.kind != "word" or len(token.text) == 1 or known or is_label(token):
            out.append(token)
            continue
        pieces = _pieces(token.text, token.roman)
        for index, piece in enumerate(pieces):
            out.append(Token("word", piece, token.space and index == 0, token.roman))
    return out


def _pieces(word: str, roman: bool) -> list[str]:
    if word.casefold() in SMALL_WORDS:
        raise ParseError(f"a word: {word}")
    for prefix in _PREFIXES:
        if word.startswith(prefix) and len(word) - len(prefix) <= 2 and not roman:
            rest = word[len(prefix) :]
            return [prefix, *(_pieces(rest, roman) if len(rest) > 1 and rest not in _KNOWN else [rest])]
    if roman or not word.isascii():
        raise ParseError(f"a word: {word}")
    if len(word) == 2 or (len(word) == 3 and (word in _PRODUCTS or not set(word) & set("aeiouyAEIOUY"))):
        return list(word)
    if len(word) == 3 and word.endswith("pi"):
        return [word[0], "pi"]
    raise ParseError(f"a word: {word}")
