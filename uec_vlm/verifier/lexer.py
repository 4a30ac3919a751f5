"""Plain LaTeX or typed mathematics in, tokens out. One pass, linear in the text, no recursion.

Dress is dropped here: spacing, sizes, fonts, dollar signs, `\\left`, alignment. What stays carries meaning.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from uec_vlm.verifier.limits import MAX_DIGITS, MAX_TOKENS, LimitError, ParseError


class Token(NamedTuple):
    """One token. kind: num, word, cmd, op, env. text: its canonical spelling.

    space: white space stands before it. roman: it was written inside `\\text{}` or the like.
    """

    kind: str
    text: str
    space: bool
    roman: bool


_DRESS = frozenset(
    [
        "left",
        "right",
        "big",
        "Big",
        "bigg",
        "Bigg",
        "bigl",
        "bigr",
        "Bigl",
        "Bigr",
        "biggl",
        "biggr",
        "Biggl",
        "Biggr",
        "middle",
        "displaystyle",
        "textstyle",
        "scriptstyle",
        "scriptscriptstyle",
        "limits",
        "nolimits",
        "large",
        "Large",
        "LARGE",
        "huge",
        "Huge",
        "small",
        "normalsize",
        "tiny",
        "bf",
        "rm",
        "it",
        "sf",
        "tt",
        "cal",
        "mathstrut",
        "strut",
        "boxed",
        "fbox",
        "framebox",
        "underline",
        "ensuremath",
        "centering",
        "noindent",
        "hfill",
        "displaylimits",
        "bfseries",
        "itshape",
        "null",
        "relax",
        "mathbin",
        "mathrel",
        "mathord",
        "mathopen",
        "mathclose",
        "hline",
        "smash",
        "vphantom",
    ]
)
_SPACES = frozenset(
    [
        "quad",
        "qquad",
        "enspace",
        "thinspace",
        "space",
        "hspace",
        "hskip",
        "nobreakspace",
        "medspace",
        "thickspace",
        "negthinspace",
    ]
)
_ROMAN = frozenset(
    [
        "text",
        "textrm",
        "textbf",
        "textit",
        "textsf",
        "texttt",
        "textnormal",
        "textup",
        "textmd",
        "mbox",
        "hbox",
        "mathrm",
        "mathbf",
        "mathit",
        "mathsf",
        "mathtt",
        "mathnormal",
        "mathcal",
        "mathbb",
        "mathfrak",
        "mathscr",
        "bm",
        "pmb",
        "boldsymbol",
        "operatorname",
        "emph",
        "texttt",
        "unit",
        "units",
        "si",
        "SI",
        "textstyle",
    ]
)
_ALIAS = {
    "leq": "le", "leqslant": "le", "leqq": "le", "geq": "ge", "geqslant": "ge", "geqq": "ge", "neq": "ne", "lt": "<",
    "gt": ">", "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "sfrac": "frac", "nicefrac": "frac", "dbinom": "binom",
    "tbinom": "binom", "ast": "*", "star": "*", "lbrace": "\\{", "rbrace": "\\}", "lbrack": "[", "rbrack": "]",
    "lparen": "(", "rparen": ")", "lvert": "|", "rvert": "|", "vert": "|", "mid": "|", "lVert": "parallel",
    "rVert": "parallel", "Vert": "parallel", "|": "parallel", "colon": ":", "degrees": "degree", "deg": "degree",
    "textdegree": "degree", "vee": "lor", "wedge": "land", "varphi": "phi", "vartheta": "theta", "varepsilon": "epsilon",
    "approxeq": "approx", "simeq": "approx", "doteq": "approx", "thickapprox": "approx", "thicksim": "sim",
    "thinsim": "sim", "shortparallel": "parallel", "bot": "perp", "wideparen": "arc", "overarc": "arc", "frown": "arc",
    "overparen": "arc", "widehat": "arc", "bigtriangleup": "triangle", "vartriangle": "triangle", "measuredangle": "angle",
    "sphericalangle": "angle", "varnothing": "emptyset", "implies": "to", "Rightarrow": "to", "rightarrow": "to",
    "longrightarrow": "to", "Longrightarrow": "to", "arcctg": "arccot", "ctg": "cot", "tg": "tan", "arctg": "arctan",
    "backslash": "setminus", "bigcup": "cup", "bigcap": "cap", "lang": "langle", "rang": "rangle", "overline": "overline",
    "bar": "overline", "overleftrightarrow": "line", "overrightarrow": "ray", "vec": "vec", "hat": "hat",
    "percent": "%", "pounds": "gbp", "euro": "eur", "texteuro": "eur",
}  # fmt: skip

_TOKEN = re.compile(
    r"""
    (?P<space>[\s~]+|\\[,;:!>\ /]|\\(?=\n))
  | (?P<num>\d{1,3}(?:(?:,|\{,\}|,\\!\s{0,2}|\\,|\ |~)\d{3})+(?![\d])(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)
  | (?P<math>\\[()\[\]]|\$+)
  | (?P<row>\\\\)
  | \\(?P<sign>[{}%_\#&|$])
  | \\(?P<cmd>[A-Za-z]+)\*?
  | (?P<word>[^\W\d_]+)
  | (?P<rel><=|>=|!=|==|:=|=<|\*\*)
  | (?P<op>[\S])
    """,
    re.VERBOSE,
)
_RELATIONS = {"<=": "le", "=<": "le", ">=": "ge", "!=": "ne"}
_EXPONENT = re.compile(r"[eE]([+-]?\d{1,4})(?![\w.])")
_GROUPING = re.compile(r"[^\d.]+")
_AMBIGUOUS = re.compile(r"\d,\d{3}(?!\d)")
_ENVIRONMENT = re.compile(r"\s*\{\s*([A-Za-z]+)\*?\s*\}(?:\s*\[[a-z]\]|\s*\{[lcr|]+\})?")
_ARGUMENT = re.compile(r"\s*(?:\{[^{}]{0,40}\}|\[[^\][]{0,40}\])")
_MATRIX = frozenset(["matrix", "pmatrix", "bmatrix", "vmatrix", "Bmatrix", "array", "smallmatrix", "cases"])


def has_digit_groups(text: str) -> bool:
    """Tell whether a comma in `text` may group digits or may separate items (`1,234`)."""
    return _AMBIGUOUS.search(text) is not None


def tokens(text: str, *, group_digits: bool = True) -> list[Token]:
    """Cut `text` (as `spelling.plain` leaves it) into tokens.

    group_digits: `1,234` is one number; otherwise the comma separates. Raises ParseError on what LaTeX does not know
    and LimitError on too many tokens or digits.
    """
    return _Lexer(text, group_digits).run()


class _Lexer:
    """The state of one pass: the place, the tokens so far, the open braces and which of them are text."""

    def __init__(self, text: str, group_digits: bool) -> None:
        self.text = text
        self.at = 0
        self.out: list[Token] = []
        self.space = False
        self.group_digits = group_digits
        self.braces: list[str] = []  # per open brace: "" (a group), "roman" (text, dropped) or "roman-group"
        self.roman_depth = 0

    def run(self) -> list[Token]:
        match = _TOKEN.match
        text, size = self.text, len(self.text)
        while self.at < size:
            found = match(text, self.at)
            if found is None:  # a lone backslash
                raise ParseError("stray backslash")
            kind = found.lastgroup or ""
            value = found.group(kind)
            self.at = found.end()
            if kind == "space" or kind == "math":
                self.space = True
            elif kind == "num":
                self.number(value)
            elif kind == "op":
                self.operator(value)
            elif kind == "cmd":
                self.command(value)
            elif kind == "sign":
                self.emit("op", {"{": "\\{", "}": "\\}", "$": "usd", "|": "parallel"}.get(value, value))
            elif kind == "rel":
                name = _RELATIONS.get(value)
                self.emit("cmd", name) if name else self.emit("op", {"==": "=", ":=": "="}.get(value, value))
            elif kind == "row":
                self.double_backslash()
            else:
                self.emit("word", value)
        return self.out

    def emit(self, kind: str, text: str) -> None:
        if len(self.out) >= MAX_TOKENS:
            raise LimitError("too many tokens")
        self.out.append(Token(kind, text, self.space, self.roman_depth > 0))
        self.space = False

    def number(self, value: str) -> None:
        if not value.isdigit():
            whole = value.split(".")[0]
            if not whole.isdigit() and whole:
                separators = _GROUPING.search(whole)
                comma = separators is not None and separators.group() == ","
                if comma and not self.group_digits:
                    first = len(whole.split(",", 1)[0])
                    self.at -= len(value) - first
                    value = value[:first]
                else:
                    value = re.sub(r"[^\d.]", "", value)
        if len(value) > MAX_DIGITS:
            raise LimitError("too many digits")
        exponent = _EXPONENT.match(self.text, self.at) if self.at < len(self.text) else None
        if exponent:
            power = int(exponent.group(1))
            if abs(power) <= MAX_DIGITS:
                value += f"e{power}"
                self.at = exponent.end()
        self.emit("num", value)

    def operator(self, value: str) -> None:
        if value == "{":
            self.braces.append("")
            self.emit("op", "{")
        elif value == "}":
            kind = self.braces.pop() if self.braces else ""
            if kind != "roman":
                self.emit("op", "}")
            if kind:
                self.roman_depth -= 1
                self.space = self.space or kind == "roman"
        else:
            self.emit("op", value)

    def command(self, name: str) -> None:
        if name.startswith("quad") and name not in _SPACES:
            # "\quadx" as some data sets have it: a space and letters
            self.at -= len(name) - 4
            name = "quad"
        if name in _SPACES:
            self.space = True
            if name in ("hspace", "hskip"):
                self.skip_argument()
        elif name in _DRESS:
            if name in ("left", "right", "middle") and self.text.startswith(".", self.at):
                self.at += 1
        elif name in _ROMAN:
            self.open_roman()
        elif (
            name in ("textcolor", "colorbox")
            or name == "color"
            or name in ("phantom", "hphantom", "label", "tag", "vspace")
        ):
            self.skip_argument()
        elif name in ("begin", "end"):
            self.environment(name)
        else:
            name = _ALIAS.get(name, name)
            self.emit("cmd" if name.isalpha() else "op", name)

    def open_roman(self) -> None:
        """`\\text{`: its braces vanish, unless they are the argument of a power or an index."""
        at = self.at
        while at < len(self.text) and self.text[at] == " ":
            at += 1
        if self.text.startswith("{", at):
            self.at = at + 1
            grouped = bool(self.out) and self.out[-1].text in ("^", "_", "frac", "sqrt")
            if grouped:
                self.emit("op", "{")
            self.braces.append("roman-group" if grouped else "roman")
            self.roman_depth += 1

    def skip_argument(self) -> None:
        found = _ARGUMENT.match(self.text, self.at)
        if found:
            self.at = found.end()

    def double_backslash(self) -> None:
        """A row break; or, where the whole text was escaped twice, the start of a command."""
        in_matrix = any(token.kind == "env" for token in self.out)
        following = self.text[self.at : self.at + 1]
        if not in_matrix and following and (following.isalpha() or following in "{}%()[]$"):
            self.at -= 1
        else:
            self.emit("op", "\\\\")

    def environment(self, name: str) -> None:
        found = _ENVIRONMENT.match(self.text, self.at)
        if found is None:
            raise ParseError("environment without a name")
        self.at = found.end()
        if found.group(1) in _MATRIX:
            self.emit("env", name)
        else:
            self.space = True
