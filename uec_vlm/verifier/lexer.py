"""Plain LaTeX or typed mathematics in, tokens out. One pass, linear in the text, no recursion.

Dress is dropped here: spacing, sizes, fonts, dollar signs, `\\left`, alignment. What stays carries meaning.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from uec_vlm.verifier.limits import MAX_DIGITS, MAX_TOKENS, LimitError, ParseError, words


class Token(NamedTuple):
    """One token. kind: num, word, cmd, op, env. text: its canonical spelling.

    space: white space stands before it. roman: it was written inside `\\text{}` or the like.
    """

    kind: str
    text: str
    space: bool
    roman: bool


_DRESS = words(
    "left right big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr middle displaystyle textstyle "
    "scriptstyle scriptscriptstyle limits nolimits large Large LARGE huge Huge small normalsize tiny bf rm it sf tt "
    "cal mathstrut strut boxed fbox framebox underline ensuremath centering noindent hfill displaylimits bfseries "
    "itshape null relax mathop mathbin mathrel mathord mathopen mathclose hline smash nonumber notag noalign"
)
_SPACES = words(
    "quad qquad enspace thinspace space hspace hskip kern mkern mskip nobreakspace medspace thickspace negthinspace"
)
_ROMAN = words(
    "text textrm textbf textit textsf texttt textnormal textup textmd mbox hbox mathrm mathbf mathit mathsf mathtt "
    "mathnormal mathcal mathbb mathfrak mathscr bm pmb boldsymbol operatorname emph unit units si SI"
)
_SKIPPED = words("textcolor colorbox color phantom hphantom vphantom label tag vspace rule")
_ALIASES = {
    "le": "leq leqslant leqq", "ge": "geq geqslant geqq", "ne": "neq", "<": "lt", ">": "gt",
    "frac": "dfrac tfrac cfrac sfrac nicefrac", "binom": "dbinom tbinom", "*": "ast star", "\\{": "lbrace",
    "\\}": "rbrace", "[": "lbrack", "]": "rbrack", "(": "lparen", ")": "rparen", "|": "lvert rvert vert mid",
    "parallel": "lVert rVert Vert shortparallel", ":": "colon", "degree": "degrees deg textdegree", "lor": "vee",
    "land": "wedge", "phi": "varphi", "theta": "vartheta", "epsilon": "varepsilon",
    "approx": "approxeq simeq doteq thickapprox", "sim": "thicksim", "perp": "bot",
    "arc": "wideparen overarc frown overparen widehat", "triangle": "bigtriangleup vartriangle",
    "angle": "measuredangle sphericalangle", "emptyset": "varnothing",
    "to": "implies Rightarrow rightarrow longrightarrow Longrightarrow", "arccot": "arcctg", "cot": "ctg", "tan": "tg",
    "arctan": "arctg", "setminus": "backslash", "cup": "bigcup", "cap": "bigcap", "langle": "lang", "rangle": "rang",
    "overline": "bar", "line": "overleftrightarrow", "ray": "overrightarrow", "%": "percent", "gbp": "pounds",
    "eur": "euro texteuro",
}  # fmt: skip
_ALIAS = {spelling: name for name, spellings in _ALIASES.items() for spelling in spellings.split()}

_TOKEN = re.compile(
    r"""
    (?P<space>[\s~]+|\\[,;:!>\ /]|\\(?=\n|$))
  | (?P<repeating>\d{0,20}\.\d{0,20}\\(?:overline|bar|dot)\s?\{\d{1,20}\})
  | (?P<num>\d{1,3}(?:(?:,|\{,\}|,\\!\s{0,2}|\\,|\ |~)\d{3})+(?!\d)(?:(?:\.|\{\.\})\d+)?
           |\d+(?:(?:\.|\{\.\})\d+)?
           |\.\d+)
  | (?P<math>\\[()\[\]]|\$+)
  | (?P<row>\\\\)
  | \\(?P<sign>[{}%_\#&|$])
  | \\(?P<cmd>[A-Za-z]+)\*?
  | (?P<word>[^\W\d_]+)
  | (?P<rel><=|>=|!=|==|:=|=<|\*\*|\|\||//)
  | (?P<op>[\S])
    """,
    re.VERBOSE,
)
_DIMENSION = re.compile(r"\s*-?\d+(?:\.\d+)?\s*(?:mm|cm|em|ex|pt|in|mu)(?![A-Za-z])")
_SIGNS = {"{": "\\{", "}": "\\}", "$": "usd", "|": "parallel"}
_RELATIONS = {
    "<=": ("cmd", "le"), "=<": ("cmd", "le"), ">=": ("cmd", "ge"), "!=": ("cmd", "ne"), "||": ("cmd", "parallel"),
    "//": ("cmd", "parallel"), "==": ("op", "="), ":=": ("op", "="), "**": ("op", "**"),
}  # fmt: skip
_PERIOD = re.compile(r"\\[a-z]+\s?\{(\d+)\}")
_EXPONENT = re.compile(r"[eE]([+-]?\d{1,4})(?![\w.])")
_GROUPING = re.compile(r"[^\d.]+")
_AMBIGUOUS = re.compile(r"\d,\d{3}(?!\d)")
_ENVIRONMENT = re.compile(r"\s*\{\s*([A-Za-z]+)\*?\s*\}(?:\s*\[[a-z]\]|\s*\{[lcr|]+\})?")
_ARGUMENT = re.compile(r"\s*(?:\[[^\][]{0,40}\]\s*)?\{|\s*\[[^\][]{0,40}\]")
_MATRIX = frozenset(["matrix", "pmatrix", "bmatrix", "vmatrix", "Bmatrix", "array", "smallmatrix"])


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
        self.matrices = 0  # open matrix environments
        self.in_rows = False  # inside or behind an environment, where a double backslash ends a row

    def run(self) -> list[Token]:
        match, size = _TOKEN.match, len(self.text)
        while self.at < size:
            found = match(self.text, self.at)
            if found is None or found.lastgroup is None:
                raise ParseError("stray backslash")
            self.at = found.end()
            _HANDLERS[found.lastgroup](self, found.group(found.lastgroup))
        return self.out

    def skip(self, value: str) -> None:
        self.space = True

    def word(self, value: str) -> None:
        self.emit("word", value)

    def repeating(self, value: str) -> None:
        self.emit("num", _PERIOD.sub(r"(\1)", value))

    def escaped(self, value: str) -> None:
        self.emit("cmd" if value == "|" else "op", _SIGNS.get(value, value))

    def relation(self, value: str) -> None:
        kind, text = _RELATIONS[value]
        self.emit(kind, text)

    def emit(self, kind: str, text: str) -> None:
        if len(self.out) >= MAX_TOKENS:
            raise LimitError("too many tokens")
        self.out.append(Token(kind, text, self.space, self.roman_depth > 0))
        self.space = False

    def number(self, value: str) -> None:
        if not value.isdigit():
            comma = value.find(",")
            if 0 < comma < 4 and not self.group_digits and value[comma + 1].isdigit():
                self.at -= len(value) - comma
                value = value[:comma]
            else:
                value = _GROUPING.sub("", value)
        if len(value) > MAX_DIGITS:
            raise LimitError("too many digits")
        exponent = _EXPONENT.match(self.text, self.at)
        if exponent and abs(int(exponent.group(1))) <= MAX_DIGITS:
            value += f"e{int(exponent.group(1))}"
            self.at = exponent.end()
        self.emit("num", value)

    def operator(self, value: str) -> None:
        if value == "{":
            self.braces.append("")
            self.emit("op", "{")
        elif value == "}":
            kind = self.braces.pop() if self.braces else ""
            if kind == "" and self.empty_group():
                return
            if kind != "roman":
                self.emit("op", "}")
            if kind:
                self.roman_depth -= 1
                self.space = self.space or kind == "roman"
        elif value != "&" or self.matrices or not self.in_rows:  # elsewhere it only aligns
            self.emit("op", value)

    def empty_group(self) -> bool:
        """Take back the brace of `{}` where it is no argument."""
        if not self.out or self.out[-1].text != "{":
            return False
        before = self.out[-2].text if len(self.out) > 1 else ""
        if before in ("^", "_", "frac", "sqrt", "binom", "}", "]"):
            return False
        self.out.pop()
        return True

    def command(self, name: str) -> None:
        if name.startswith("quad") and name not in _SPACES:
            # "\quadx" as some data sets have it: a space and letters
            self.at -= len(name) - 4
            name = "quad"
        if name in _SPACES:
            self.space = True
            if name in ("hspace", "hskip", "kern", "mskip", "mkern"):
                self.skip_argument()
                dimension = _DIMENSION.match(self.text, self.at)
                self.at = dimension.end() if dimension else self.at
        elif name in _DRESS:
            if name in ("left", "right", "middle") and self.text.startswith(".", self.at):
                self.at += 1
        elif name in _ROMAN:
            self.open_roman()
        elif name in _SKIPPED:
            self.skip_argument()
            if name == "rule":
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
        """Leave out `[...]` and a balanced `{...}`."""
        found = _ARGUMENT.match(self.text, self.at)
        if found is None:
            return
        self.at = found.end()
        depth = 1 if found.group().endswith("{") else 0
        while depth and self.at < len(self.text):
            depth += {"{": 1, "}": -1}.get(self.text[self.at], 0)
            self.at += 1

    def double_backslash(self, value: str) -> None:
        """A row break; or, where the whole text was escaped twice, the start of a command."""
        following = self.text[self.at : self.at + 1]
        if not self.in_rows and following and (following.isalpha() or following in "{}%()[]$"):
            self.at -= 1
        else:
            self.emit("op", "\\\\")

    def environment(self, name: str) -> None:
        found = _ENVIRONMENT.match(self.text, self.at)
        if found is None:
            raise ParseError("environment without a name")
        self.at = found.end()
        self.in_rows = True
        if found.group(1) in _MATRIX:
            self.matrices += 1 if name == "begin" else -1
            self.emit("env", name)
        else:
            self.space = True


_HANDLERS: dict[str, Callable[[_Lexer, str], None]] = {
    "space": _Lexer.skip,
    "math": _Lexer.skip,
    "num": _Lexer.number,
    "repeating": _Lexer.repeating,
    "op": _Lexer.operator,
    "cmd": _Lexer.command,
    "sign": _Lexer.escaped,
    "rel": _Lexer.relation,
    "row": _Lexer.double_backslash,
    "word": _Lexer.word,
}
