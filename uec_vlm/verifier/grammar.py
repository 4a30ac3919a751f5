"""Tokens in, one expression tree out: a recursive descent over a bounded grammar. Nothing is ever evaluated here.

sum      = [sign] product {(+ | - | pm | mp) product}
product  = power {(* | / | juxtaposed) power}        a whole number before a proper fraction adds (4 4/11)
power    = postfix [^ power]                          right-associative
postfix  = primary {! | % | degree | ...}
primary  = number | name | function | group | root | fraction | absolute value | set | tuple | interval | matrix
"""

from __future__ import annotations

from uec_vlm.verifier.lexer import Token
from uec_vlm.verifier.limits import ParseError
from uec_vlm.verifier.nodes import MINUS_ONE, Add, Fn, Mul, Node, Num, Pow, negate
from uec_vlm.verifier.primaries import Primaries, number
from uec_vlm.verifier.vocabulary import CONSTANTS, FUNCTIONS, GREEK, HEADS, split_words

_SIGNS = ("+", "-", "pm", "mp")
_STARTS_FACTOR = frozenset(
    {*CONSTANTS, *FUNCTIONS, *GREEK, *HEADS, "frac", "sqrt", "binom", "lfloor", "lceil", "langle", "(", "{", "["}
)

__all__ = ["expression", "number"]


def expression(row: list[Token]) -> Node:
    """The tree of a whole token row. Raises ParseError or LimitError."""
    parser = _Parser(split_words(row))
    node = parser.sum()
    if parser.at < len(parser.row):
        raise ParseError(f"unexpected {parser.row[parser.at].text!r}")
    return node


class _Parser(Primaries):
    """The levels of the grammar above the primaries."""

    def sum(self) -> Node:
        terms = [self.signed()]
        while True:
            sign = self.sign()
            if sign not in _SIGNS:
                break
            self.at += 1
            term = self.signed()
            terms.append(term if sign == "+" else negate(term) if sign == "-" else Fn(sign, (term,)))
        return terms[0] if len(terms) == 1 else Add(tuple(terms))

    def signed(self) -> Node:
        """A product with at most two signs before it (`3 - -2`)."""
        sign = self.sign()
        if sign not in _SIGNS:
            return self.product()
        self.at += 1
        if self.sign() in ("+", "pm", "mp") or (self.sign() == sign == "-"):
            raise ParseError("two signs")
        inner = self.signed() if self.sign() == "-" else self.product()
        if sign == "-":
            return negate(inner)
        return inner if sign == "+" else Fn(sign, (inner,))

    def product(self) -> Node:
        first = self.power()
        mixed = self.mixed_fraction(first)
        factors = [first if mixed is None else self.suffixed(mixed)]
        while True:
            if self.typed_times() or self.accept("*", "times", "cdot"):
                factors.append(self.operand())
            elif self.accept("/", "div"):
                factors.append(Pow(self.operand(), MINUS_ONE))
            elif self.juxtaposed(self.peek()):
                factors.append(self.power())
            else:
                break
        return factors[0] if len(factors) == 1 else Mul(tuple(factors))

    def typed_times(self) -> bool:
        """Take the letter x between two numbers as a times sign: `3 x 4`, `1.2x10^3`."""
        if self.peek().text not in ("x", "X") or self.row[self.at - 1].kind != "num" or self.peek(1).kind != "num":
            return False
        self.at += 1
        return True

    def operand(self) -> Node:
        return negate(self.power()) if self.accept("-") else self.power()

    def juxtaposed(self, token: Token) -> bool:
        if token.kind == "word":
            return True
        if token.kind == "env":
            return token.text == "begin"
        return token.text in _STARTS_FACTOR or (token.text == "|" and self.bars == 0)

    def mixed_fraction(self, whole: Node) -> Node | None:
        """`4 \\frac{4}{11}` and `4 4/11`: a whole number and a proper fraction of whole numbers add."""
        if not isinstance(whole, Num) or whole.decimals is not None or whole.value.denominator != 1:
            return None
        start, token = self.at, self.peek()
        if self.row[start - 1].kind != "num":
            return None
        part: Num | None = None
        if self.accept("frac"):
            part = _proper(self.argument(), self.argument())
        elif token.kind == "num" and token.space and self.peek(1).text == "/" and self.peek(2).kind == "num":
            part = _proper(number(token.text), number(self.peek(2).text))
            self.at += 3
        powered = self.sign() == "^" and self.peek(1).text not in ("circ", "{")
        if part is None or powered or self.sign() == "!":
            self.at = start
            return None
        return Num(whole.value + part.value)

    def power(self) -> Node:
        base = self.postfix()
        if not self.accept("^", "**"):
            return base
        self.descend()
        exponent = self.exponent()
        self.depth -= 1
        return Pow(base, exponent)

    def exponent(self) -> Node:
        if self.accept("-"):
            return negate(self.power())
        self.accept("+")
        return self.power()

    def postfix(self) -> Node:
        self.descend()
        node = self.suffixed(self.primary())
        self.depth -= 1
        return node

    def suffixed(self, node: Node) -> Node:
        """The node with the signs behind it."""
        while True:
            if self.accept("!"):
                node = Fn("factorial", (node,))
            elif self.accept("%"):
                node = Fn("pct", (node,))
            elif self.degree(node):
                node = Fn("deg", (node,))
            elif isinstance(node, Num) and node.decimals and self.dots():
                node = Fn("dots", (node,))
            else:
                return node

    def dots(self) -> bool:
        """Take `...` or `\\ldots` behind a decimal number: it goes on."""
        if self.accept("ldots", "dots", "cdots"):
            return True
        if [self.peek(ahead).text for ahead in range(3)] == ["."] * 3:
            self.at += 3
            return True
        return False

    def degree(self, node: Node) -> bool:
        """Take `^\\circ`, `^{\\circ}`, `\\degree`, `\\circ` or `^{o}` behind a value."""
        if self.accept("degree", "circ"):
            return True
        if self.sign() != "^":
            return False
        braced = self.peek(1).text == "{"
        mark = self.peek(2 if braced else 1)
        letter = mark.text in ("o", "O") and isinstance(node, Num)
        if (mark.text not in ("circ", "degree") and not letter) or (braced and self.peek(3).text != "}"):
            return False
        self.at += 4 if braced else 2
        return True


def _proper(top: Node, bottom: Node) -> Num | None:
    """top/bottom where both are whole and the fraction is proper, else None."""
    if not isinstance(top, Num) or not isinstance(bottom, Num):
        return None
    if top.value.denominator != 1 or bottom.value.denominator != 1 or not 0 < top.value < bottom.value:
        return None
    return Num(top.value / bottom.value)
