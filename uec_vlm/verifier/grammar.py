"""Tokens in, one expression tree out: a recursive descent over a bounded grammar. Nothing is ever evaluated here.

sum      = [sign] product {(+ | - | pm | mp) product}
product  = power {(* | / | juxtaposed) power}        a whole number before a proper fraction adds (4 4/11)
power    = postfix [^ power]                          right-associative
postfix  = primary {! | % | degree | '}
primary  = number | name | function | group | root | fraction | absolute value | set | tuple | interval | matrix
"""

from __future__ import annotations

from fractions import Fraction

from uec_vlm.verifier.lexer import Token
from uec_vlm.verifier.limits import MAX_DEPTH, MAX_ITEMS, LimitError, ParseError
from uec_vlm.verifier.nodes import (
    HALF,
    MINUS_ONE,
    Add,
    Fn,
    Matrix,
    Mul,
    Name,
    Node,
    Num,
    Pow,
    Seq,
    Sym,
    negate,
    quotient,
)
from uec_vlm.verifier.vocabulary import CONSTANTS, FUNCTIONS, GREEK, HEADS, TRIGONOMETRIC, is_label, split_words

_END = Token("end", "", False, False)
_CLOSERS = frozenset({")", "]", "}", "\\}", "rangle", "rfloor", "rceil", ","})
_BIG = frozenset({"sum", "prod", "int", "lim", "oint", "iint"})
_OPENING = frozenset({"(", "[", "{", "\\{", "langle", "lfloor", "lceil"})


def number(text: str) -> Num:
    """The number that a num token spells, with the count of its decimals."""
    if text.isdigit():
        return Num(Fraction(int(text)))
    mantissa = text.split("e", 1)[0]
    decimals = len(mantissa) - mantissa.index(".") - 1 if "." in mantissa and mantissa == text else None
    return Num(Fraction(text), decimals)


def expression(row: list[Token]) -> Node:
    """The tree of a whole token row. Raises ParseError or LimitError."""
    parser = _Parser(split_words(row))
    node = parser.sum()
    if parser.at < len(parser.row):
        raise ParseError(f"unexpected {parser.row[parser.at].text!r}")
    return node


class _Parser:
    """A place in a token row, and the depth of groups around it."""

    def __init__(self, row: list[Token]) -> None:
        self.row = row
        self.at = 0
        self.depth = 0
        self.bars = 0

    # ---------------------------------------------------------------- tokens

    def peek(self, ahead: int = 0) -> Token:
        place = self.at + ahead
        return self.row[place] if place < len(self.row) else _END

    def take(self) -> Token:
        token = self.peek()
        self.at += 1
        return token

    def expect(self, text: str) -> None:
        if self.take().text != text:
            raise ParseError(f"expected {text!r}")

    # ---------------------------------------------------------------- sums and products

    def sum(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise LimitError("nested too deeply")
        terms = [self.signed()]
        while True:
            token = self.peek()
            if token.kind == "word" or token.text not in ("+", "-", "pm", "mp"):
                break
            self.at += 1
            term = self.signed()
            if token.text == "-":
                term = negate(term)
            elif token.text != "+":
                term = Fn(token.text, (term,))
            terms.append(term)
        self.depth -= 1
        return terms[0] if len(terms) == 1 else Add(tuple(terms))

    def signed(self) -> Node:
        token = self.peek()
        if token.kind == "word" or token.text not in ("+", "-", "pm", "mp"):
            return self.product()
        self.at += 1
        if self.peek().text in ("+", "pm", "mp"):
            raise ParseError("two signs")
        inner = self.signed() if self.peek().text == "-" and token.text != "-" else self.product()
        if token.text == "-":
            return negate(inner)
        return inner if token.text == "+" else Fn(token.text, (inner,))

    def product(self) -> Node:
        factors = [self.power()]
        mixed = self.mixed_fraction(factors[0])
        if mixed is not None:
            factors = [mixed]
        while True:
            token = self.peek()
            text = token.text
            if token.kind != "word" and text in ("*", "times", "cdot"):
                self.at += 1
                factors.append(self.operand())
            elif token.kind != "word" and text in ("/", "div"):
                self.at += 1
                factors.append(Pow(self.operand(), MINUS_ONE))
            elif self.juxtaposed(token):
                factors.append(self.power())
            else:
                break
        return factors[0] if len(factors) == 1 else Mul(tuple(factors))

    def operand(self) -> Node:
        if self.peek().text == "-":
            self.at += 1
            return negate(self.power())
        return self.power()

    def juxtaposed(self, token: Token) -> bool:
        kind, text = token.kind, token.text
        if kind == "word":
            return True
        if kind == "op":
            return text in ("(", "{", "[") or (text == "|" and self.bars == 0)
        if kind == "cmd":
            known = text in GREEK or text in CONSTANTS or text in FUNCTIONS or text in HEADS
            return known or text in ("frac", "sqrt", "binom", "lfloor", "lceil", "langle")
        return kind == "env" and text == "begin"

    def mixed_fraction(self, whole: Node) -> Node | None:
        """`4 \\frac{4}{11}` and `4 4/11`: a whole number and a proper fraction of whole numbers add."""
        if not isinstance(whole, Num) or whole.decimals is not None or whole.value.denominator != 1:
            return None
        if self.row[self.at - 1].kind != "num":
            return None
        token = self.peek()
        start = self.at
        part: Num | None = None
        if token.text == "frac" and token.kind == "cmd":
            self.at += 1
            part = _proper(self.argument(), self.argument())
        elif token.kind == "num" and token.space and self.peek(1).text == "/" and self.peek(2).kind == "num":
            self.at += 3
            part = _proper(number(token.text), number(self.row[self.at - 1].text))
        if part is None or self.peek().text in ("^", "!"):
            self.at = start
            return None
        return Num(whole.value + part.value)

    # ---------------------------------------------------------------- powers and signs behind

    def power(self) -> Node:
        base = self.postfix()
        token = self.peek()
        if token.text not in ("^", "**") or token.kind != "op":
            return base
        self.at += 1
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise LimitError("nested too deeply")
        exponent = self.exponent()
        self.depth -= 1
        return Pow(base, exponent)

    def exponent(self) -> Node:
        if self.peek().text == "-":
            self.at += 1
            return negate(self.power())
        if self.peek().text == "+":
            self.at += 1
        return self.power()

    def postfix(self) -> Node:
        node = self.primary()
        while True:
            token = self.peek()
            if token.kind == "op" and token.text == "!":
                self.at += 1
                node = Fn("factorial", (node,))
            elif token.kind == "op" and token.text == "%":
                self.at += 1
                node = Fn("pct", (node,))
            elif self.take_degree(node):
                node = Fn("deg", (node,))
            else:
                return node

    def take_degree(self, node: Node) -> bool:
        """Consume `^\\circ`, `^{\\circ}`, `\\degree` or `^{o}` behind a value."""
        token = self.peek()
        if token.text == "degree" and token.kind == "cmd":
            self.at += 1
            return True
        if token.text == "circ":
            self.at += 1
            return True
        if token.text != "^":
            return False
        braced = self.peek(1).text == "{"
        sign = self.peek(2 if braced else 1)
        letter = sign.text in ("o", "O") and isinstance(node, Num)
        if sign.text not in ("circ", "degree") and not letter:
            return False
        if braced and self.peek(3).text != "}":
            return False
        self.at += 4 if braced else 2
        return True

    # ---------------------------------------------------------------- primaries

    def primary(self) -> Node:
        token = self.take()
        kind, text = token.kind, token.text
        if kind == "num":
            return self.indexed_number(text)
        if kind == "word":
            return self.word(token)
        if kind == "op":
            if text == "{":
                return self.brace_group()
            if text in ("(", "["):
                return self.bracketed(text)
            if text == "\\{":
                return self.bracketed(text)
            if text == "|":
                return self.bars_group()
        if kind == "cmd":
            return self.command(text)
        if kind == "env" and text == "begin":
            return self.matrix()
        raise ParseError(f"unexpected {text!r}")

    def indexed_number(self, text: str) -> Node:
        if self.peek().text == "_" and self.peek().kind == "op":
            return Sym(f"{text}{self.subscript()}")
        return number(text)

    def subscript(self) -> str:
        """Consume `_x`, `_{12}`; the text of it, as part of a name."""
        self.expect("_")
        token = self.take()
        if token.text != "{":
            return "_" + token.text
        parts: list[str] = []
        while self.peek().text not in ("}", ""):
            parts.append(self.take().text)
        self.expect("}")
        return "_" + "".join(parts)

    def brace_group(self) -> Node:
        items = [self.sum()]
        if self.peek().text == "over":
            self.at += 1
            items = [quotient(items[0], self.sum())]
        while self.peek().text == ",":
            self.at += 1
            items.append(self.sum())
        self.expect("}")
        return items[0] if len(items) == 1 else Seq("list", tuple(items))

    def bracketed(self, opening: str) -> Node:
        items: list[Node] = []
        if self.peek().text == "\\}" and opening == "\\{":
            self.at += 1
            return Seq("set", ())
        while True:
            items.append(self.sum())
            if len(items) > MAX_ITEMS:
                raise LimitError("too many items")
            token = self.take()
            if token.text not in (",", ";"):
                break
        closing = token.text
        if opening == "\\{":
            if closing != "\\}":
                raise ParseError("unbalanced")
            return Seq("set", tuple(items))
        if closing not in (")", "]"):
            raise ParseError("unbalanced")
        brackets = opening + closing
        if len(items) == 1:
            if brackets in ("()", "[]"):
                return items[0]
            raise ParseError("unbalanced")
        if brackets == "()" or len(items) > 2:
            return Seq("tuple", tuple(items), brackets)
        return Seq("interval", tuple(items), brackets)

    def bars_group(self) -> Node:
        self.bars += 1
        inner = self.sum()
        self.expect("|")
        self.bars -= 1
        return Fn("abs", (inner,))

    def argument(self) -> Node:
        """The argument of a command: a group, or one sign (`\\frac12` has two one-digit arguments)."""
        token = self.peek()
        if token.text == "{" and token.kind == "op":
            self.at += 1
            return self.brace_group()
        if token.kind == "num":
            digits = token.text
            if len(digits) > 1 and digits.isdigit():
                self.row = [*self.row[: self.at], *_digits(token), *self.row[self.at + 1 :]]
                return self.argument()
        return self.primary()

    def command(self, name: str) -> Node:
        if name == "frac":
            top = self.argument()
            return quotient(top, self.argument())
        if name in ("sqrt", "root"):
            return self.root()
        if name == "binom":
            top = self.argument()
            return Fn("binom", (top, self.argument()))
        if name in FUNCTIONS and name not in GREEK:
            return self.function(FUNCTIONS[name])
        if name in CONSTANTS:
            return Sym(CONSTANTS[name])
        if name in HEADS:
            return self.geometric(HEADS[name])
        if name in GREEK:
            return self.symbol(name)
        if name in ("lfloor", "lceil"):
            inner = self.sum()
            self.expect("rfloor" if name == "lfloor" else "rceil")
            return Fn("floor" if name == "lfloor" else "ceil", (inner,))
        if name == "langle":
            return self.angle_brackets()
        if name == "emptyset":
            return Seq("set", ())
        if name in ("stackrel", "overset"):
            self.argument_text()
            return self.geometric("arc")
        if name in _BIG:
            return self.big_operator(name)
        raise ParseError(f"unknown command {name!r}")

    def root(self) -> Node:
        exponent: Node = HALF
        if self.peek().text == "[":
            self.at += 1
            exponent = Pow(self.sum(), MINUS_ONE)
            self.expect("]")
        token = self.peek()
        if token.kind == "num":  # \sqrt 20: the whole number, as writers mean it
            self.at += 1
            return Pow(number(token.text), exponent)
        if token.text in ("(", "{"):
            return Pow(self.primary(), exponent)
        return Pow(self.argument(), exponent)

    def word(self, token: Token) -> Node:
        text = token.text
        if text in ("sqrt", "root"):
            return self.root()
        if text == "cbrt":
            return Pow(self.argument(), quotient(Num(Fraction(1)), Num(Fraction(3))))
        if text == "frac":
            return self.command("frac")
        if text in CONSTANTS:
            return Sym(CONSTANTS[text])
        if text in FUNCTIONS:
            return self.function(FUNCTIONS[text])
        if text in HEADS:
            return self.geometric(HEADS[text])
        follower = self.peek()
        if text == "m" and (follower.text in ("angle", "arc", "overline") or follower.text == "stackrel"):
            return self.primary()
        if is_label(token) and (len(text) > 1 or is_label(follower)):
            return Name("", text + self.label())
        return self.symbol(text)

    def symbol(self, name: str) -> Node:
        if self.peek().text == "_" and self.peek().kind == "op":
            name += self.subscript()
        while self.peek().text in ("'", "prime") or (self.peek().text == "^" and self.peek(1).text in ("'", "prime")):
            self.at += 2 if self.peek().text == "^" else 1
            name += "'"
        return Sym(name)

    def label(self) -> str:
        """The capital letters (with primes) that follow."""
        parts: list[str] = []
        while True:
            token = self.peek()
            if is_label(token):
                parts.append(token.text)
            elif token.text in ("'", "prime"):
                parts.append("'")
            else:
                return "".join(parts)
            self.at += 1

    def geometric(self, head: str) -> Node:
        """The name behind `\\angle`, `\\triangle`, `\\overline` ...: letters, a number or one symbol."""
        braced = self.peek().text == "{"
        if braced:
            self.at += 1
        label = self.label()
        if not label:
            token = self.take()
            if token.kind not in ("num", "word") and token.text not in GREEK:
                raise ParseError("a name is missing")
            label = token.text
        if braced:
            self.expect("}")
        return Name(head, label)

    def function(self, name: str) -> Node:
        exponent: Node | None = None
        base: Node | None = None
        while self.peek().kind == "op" and self.peek().text in ("^", "_", "**"):
            if self.take().text == "_":
                base = self.argument()
            else:
                exponent = self.exponent()
        argument = self.function_argument(name)
        if name in TRIGONOMETRIC and exponent == MINUS_ONE:
            return Fn("a" + name, argument)
        if name == "log" and base is not None:
            argument = (*argument, base)
        node: Node = Fn(name, argument)
        return node if exponent is None else Pow(node, exponent)

    def function_argument(self, name: str) -> tuple[Node, ...]:
        token = self.peek()
        if token.text in ("(", "{", "["):
            node = self.postfix()
            if isinstance(node, Seq):
                return node.items
            return (node,)
        factors = [self.power()]
        while True:
            token = self.peek()
            if token.text in FUNCTIONS or not self.juxtaposed(token) or token.text in ("(", "|"):
                break
            factors.append(self.power())
        return (factors[0] if len(factors) == 1 else Mul(tuple(factors)),)

    def argument_text(self) -> str:
        """Skip one argument without understanding it."""
        self.expect("{")
        parts: list[str] = []
        while self.peek().text not in ("}", ""):
            parts.append(self.take().text)
        self.expect("}")
        return "".join(parts)

    def angle_brackets(self) -> Node:
        items = [self.sum()]
        while self.peek().text == ",":
            self.at += 1
            items.append(self.sum())
        self.expect("rangle")
        return Seq("tuple", tuple(items), "()")

    def big_operator(self, name: str) -> Node:
        """Sums, products, integrals and limits are kept as they are written; only their parts are understood."""
        parts: list[str] = []
        while self.peek().text in ("_", "^"):
            sign = self.take().text
            group = self.argument_text() if self.peek().text == "{" else self.take().text
            parts.append(sign + group)
        return Fn(f"{name}{''.join(sorted(parts))}", (self.product(),))

    def matrix(self) -> Node:
        rows: list[list[Node]] = [[]]
        if self.peek().kind == "env":
            raise ParseError("empty matrix")
        while True:
            rows[-1].append(self.sum())
            token = self.take()
            if token.text == "\\\\":
                if self.peek().kind == "env":
                    self.at += 1
                    break
                rows.append([])
            elif token.kind == "env" and token.text == "end":
                break
            elif token.text != "&":
                raise ParseError("a matrix entry is broken")
            if sum(len(row) for row in rows) > MAX_ITEMS:
                raise LimitError("too many entries")
        if len({len(row) for row in rows}) != 1:
            raise ParseError("rows of different length")
        return Matrix(tuple(tuple(row) for row in rows))


def _proper(top: Node, bottom: Node) -> Num | None:
    """top/bottom where both are whole and the fraction is proper, else None."""
    if not isinstance(top, Num) or not isinstance(bottom, Num):
        return None
    if top.value.denominator != 1 or bottom.value.denominator != 1 or not 0 < top.value < bottom.value:
        return None
    return Num(top.value / bottom.value)


def _digits(token: Token) -> list[Token]:
    """A number as its first digit and the rest, as TeX reads arguments without braces."""
    return [token._replace(text=token.text[0]), token._replace(text=token.text[1:], space=False)]
