"""The smallest parts of an expression: numbers, names, groups, fractions, roots, functions, sets, matrices."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from fractions import Fraction

from uec_vlm.verifier.cursor import Cursor
from uec_vlm.verifier.lexer import Token
from uec_vlm.verifier.limits import MAX_ITEMS, LimitError, ParseError
from uec_vlm.verifier.nodes import HALF, MINUS_ONE, Fn, Matrix, Mul, Name, Node, Num, Pow, Seq, Sym, quotient
from uec_vlm.verifier.vocabulary import CONSTANTS, FUNCTIONS, GREEK, HEADS, TRIGONOMETRIC, is_label

_THIRD = Pow(Num(Fraction(3)), MINUS_ONE)
_TYPED_COMMANDS = frozenset({"sqrt", "root", "cbrt", "frac"})  # understood without their backslash


def number(text: str) -> Num:
    """The number that a num token spells, with the count of its decimals."""
    if text.isdigit():
        return Num(Fraction(int(text)))
    if text.endswith(")"):
        return _repeating(text)
    mantissa = text.split("e", 1)[0]
    decimals = len(mantissa) - mantissa.index(".") - 1 if "." in mantissa and mantissa == text else None
    return Num(Fraction(text), decimals)


def _repeating(text: str) -> Num:
    """`7.3(45)`: the digits in parentheses repeat for ever."""
    head, tail = text[:-1].split("(")
    fixed = head.split(".")[1]
    period = Fraction(int(tail), (10 ** len(tail) - 1) * 10 ** len(fixed))
    return Num(Fraction(head + "0") + period)


class Primaries(Cursor):
    """Reads primaries; the levels above them (sums, products, powers) come from the grammar."""

    @abstractmethod
    def sum(self) -> Node:
        """A sum."""

    @abstractmethod
    def product(self) -> Node:
        """A product."""

    @abstractmethod
    def power(self) -> Node:
        """A power."""

    @abstractmethod
    def postfix(self) -> Node:
        """A primary with the signs behind it."""

    @abstractmethod
    def exponent(self) -> Node:
        """What may stand behind `^`."""

    @abstractmethod
    def juxtaposed(self, token: Token) -> bool:
        """Whether a token starts a factor without a sign before it."""

    def primary(self) -> Node:
        """One primary. Raises ParseError where none starts."""
        token = self.take()
        if token.kind == "num":
            if self.sign() == "_":  # 1101_2 is a name, not 11012
                return Sym(token.text + self.subscript())
            return number(token.text)
        if token.kind == "word":
            return self.word(token)
        if token.kind == "env" and token.text == "begin":
            return self.matrix()
        reader = _READERS.get(token.text)
        if reader is not None:
            return reader(self)
        return self.command(token.text)

    # ------------------------------------------------------------------------------------------------- names

    def word(self, token: Token) -> Node:
        """A variable, a label, or a command that was typed without its backslash."""
        text = token.text
        if text in _TYPED_COMMANDS:
            return _READERS[text](self)
        if text in CONSTANTS:
            return Sym(CONSTANTS[text])
        if text in FUNCTIONS:
            return self.function(FUNCTIONS[text])
        if text.casefold() in HEADS and not is_label(token):
            return self.geometric(HEADS[text.casefold()])
        if text == "m" and self.sign() in ("angle", "arc", "overline", "stackrel", "overset"):
            return self.primary()  # m\angle ABC, the measure of the angle
        if is_label(token) and (len(text) > 1 or is_label(self.peek())):
            return Name("", text + self.label())
        return self.symbol(text)

    def command(self, name: str) -> Node:
        """A command that stands for a constant, a function, a figure or a Greek letter."""
        if name in CONSTANTS:
            return Sym(CONSTANTS[name])
        if name in FUNCTIONS and name not in GREEK:
            return self.function(FUNCTIONS[name])
        if name in HEADS:
            return self.geometric(HEADS[name])
        if name == "Delta" and is_label(self.peek()):
            return self.geometric("triangle")
        if name in GREEK:
            return self.symbol(name)
        raise ParseError(f"unexpected {name!r}")

    def symbol(self, name: str) -> Node:
        """A variable with its index and primes."""
        if self.sign() == "_":
            name += self.subscript()
        while True:
            raised = self.sign() == "^" and self.peek(1).text in ("'", "prime")
            if not raised and self.sign() not in ("'", "prime"):
                return Sym(name)
            self.at += 2 if raised else 1
            name += "'"

    def geometric(self, head: str) -> Node:
        """The name behind `\\angle`, `\\triangle`, `\\overline` ...: letters, a number or one symbol."""
        braced = self.accept("{")
        label = self.label()
        if not label:
            token = self.take()
            if token.kind not in ("num", "word") and token.text not in GREEK:
                raise ParseError("a name is missing")
            label = token.text
        if braced:
            self.expect("}")
        return Name(head, label)

    def stacked(self) -> Node:
        """`\\overset{\\frown}{AB}`: an arc."""
        self.raw_argument()
        return self.geometric("arc")

    # ------------------------------------------------------------------------------------------------- groups

    def brace_group(self) -> Node:
        """`{...}`: a group, or items without brackets (`{1, 3}`)."""
        items = [self.sum()]
        if self.accept("over"):
            items = [quotient(items[0], self.sum())]
        items += self.more_items()
        self.expect("}")
        return items[0] if len(items) == 1 else Seq("list", tuple(items))

    def more_items(self) -> list[Node]:
        """The items behind commas or semicolons."""
        items: list[Node] = []
        while self.accept(",", ";"):
            items.append(self.sum())
            if len(items) > MAX_ITEMS:
                raise LimitError("too many items")
        return items

    def round_group(self) -> Node:
        """`(...)`."""
        return self.bracketed("(")

    def square_group(self) -> Node:
        """`[...]`."""
        return self.bracketed("[")

    def bracketed(self, opening: str) -> Node:
        """A group, a tuple or an interval, by the number of items and the kind of brackets."""
        items = [self.sum(), *self.more_items()]
        closing = self.take().text
        if closing not in (")", "]"):
            raise ParseError("a bracket is not closed")
        brackets = opening + closing
        if len(items) == 1:
            if brackets not in ("()", "[]"):
                raise ParseError("brackets do not match")
            return items[0]
        kind = "tuple" if brackets == "()" or len(items) > 2 else "interval"
        return Seq(kind, tuple(items), brackets)

    def set_group(self) -> Node:
        """`\\{...\\}`."""
        if self.accept("\\}"):
            return Seq("set", ())
        items = [self.sum(), *self.more_items()]
        self.expect("\\}")
        return Seq("set", tuple(items))

    def empty_set(self) -> Node:
        """`\\emptyset`."""
        return Seq("set", ())

    def angle_brackets(self) -> Node:
        """`\\langle ... \\rangle`: a vector by its components."""
        items = [self.sum(), *self.more_items()]
        self.expect("rangle")
        return Seq("tuple", tuple(items), "()")

    def bars_group(self) -> Node:
        """`|...|`."""
        self.bars += 1
        inner = self.sum()
        self.expect("|")
        self.bars -= 1
        return Fn("abs", (inner,))

    def floor(self) -> Node:
        """`\\lfloor ... \\rfloor`."""
        inner = self.sum()
        self.expect("rfloor")
        return Fn("floor", (inner,))

    def ceiling(self) -> Node:
        """`\\lceil ... \\rceil`."""
        inner = self.sum()
        self.expect("rceil")
        return Fn("ceil", (inner,))

    # ------------------------------------------------------------------------------------------------- commands

    def argument(self) -> Node:
        """The argument of a command: a group, or one sign (`\\frac12` has two one-digit arguments)."""
        if self.accept("{"):
            return self.brace_group()
        token = self.peek()
        self.descend()
        if token.kind == "num" and len(token.text) > 1 and token.text.isdigit():
            self.row = [*self.row[: self.at], *_digits(token), *self.row[self.at + 1 :]]
        node = self.primary()
        self.depth -= 1
        return node

    def fraction(self) -> Node:
        """`\\frac{a}{b}`."""
        top = self.argument()
        return quotient(top, self.argument())

    def binomial(self) -> Node:
        """`\\binom{n}{k}`."""
        top = self.argument()
        return Fn("binom", (top, self.argument()))

    def root(self) -> Node:
        """`\\sqrt{a}`, `\\sqrt[n]{a}`, and `\\sqrt 20` with the whole number under the root, as writers mean it."""
        exponent: Node = HALF
        if self.accept("["):
            exponent = Pow(self.sum(), MINUS_ONE)
            self.expect("]")
        token = self.peek()
        if token.kind == "num":
            self.at += 1
            return Pow(number(token.text), exponent)
        return Pow(self.primary() if token.text == "(" else self.argument(), exponent)

    def cube_root(self) -> Node:
        """`cbrt(a)`."""
        return Pow(self.argument(), _THIRD)

    def function(self, name: str) -> Node:
        """A function with an exponent or a base before its argument: `\\sin^2 x`, `\\log_2 8`, `\\cos^{-1} x`."""
        exponent: Node | None = None
        base: Node | None = None
        while self.sign() in ("^", "_", "**"):
            if self.take().text == "_":
                base = self.argument()
            else:
                exponent = self.exponent()
        argument = self.function_argument()
        if name in TRIGONOMETRIC and exponent == MINUS_ONE:
            return Fn("a" + name, argument)
        if name == "log" and base is not None:
            argument = (*argument, base)
        node: Node = Fn(name, argument)
        return node if exponent is None else Pow(node, exponent)

    def function_argument(self) -> tuple[Node, ...]:
        """A group, or the factors up to the next sign or function: `\\sin 2x \\cos x`."""
        if self.sign() in ("(", "{", "["):
            node = self.postfix()
            return node.items if isinstance(node, Seq) else (node,)
        factors = [self.power()]
        while True:
            token = self.peek()
            if token.text in FUNCTIONS or token.text in ("(", "|") or not self.juxtaposed(token):
                break
            factors.append(self.power())
        return (factors[0] if len(factors) == 1 else Mul(tuple(factors)),)

    def big_operator(self) -> Node:
        """Sums, products, integrals and limits are kept as they are written; only their bodies are understood."""
        name = self.row[self.at - 1].text
        parts: list[str] = []
        while self.sign() in ("_", "^"):
            parts.append(self.take().text + self.raw_argument())
        return Fn(name + "".join(sorted(parts)), (self.product(),))

    def matrix(self) -> Node:
        """The rows up to the end of the environment."""
        rows: list[list[Node]] = [[]]
        while True:
            rows[-1].append(self.sum())
            if sum(len(row) for row in rows) > MAX_ITEMS:
                raise LimitError("too many entries")
            token = self.take()
            if token.text == "\\\\" and self.peek().kind == "env":
                token = self.take()
            if token.kind == "env" and token.text == "end":
                break
            if token.text == "\\\\":
                rows.append([])
            elif token.text != "&":
                raise ParseError("a matrix entry is broken")
        if len({len(row) for row in rows}) != 1:
            raise ParseError("rows of different length")
        return Matrix(tuple(tuple(row) for row in rows))


_READERS: dict[str, Callable[[Primaries], Node]] = {
    "{": Primaries.brace_group,
    "(": Primaries.round_group,
    "[": Primaries.square_group,
    "\\{": Primaries.set_group,
    "|": Primaries.bars_group,
    "frac": Primaries.fraction,
    "sqrt": Primaries.root,
    "root": Primaries.root,
    "cbrt": Primaries.cube_root,
    "binom": Primaries.binomial,
    "lfloor": Primaries.floor,
    "lceil": Primaries.ceiling,
    "langle": Primaries.angle_brackets,
    "emptyset": Primaries.empty_set,
    "stackrel": Primaries.stacked,
    "overset": Primaries.stacked,
    **dict.fromkeys(("sum", "prod", "int", "lim", "oint", "iint"), Primaries.big_operator),
}


def _digits(token: Token) -> list[Token]:
    """A number as its first digit and the rest, as TeX reads arguments without braces."""
    return [token._replace(text=token.text[0]), token._replace(text=token.text[1:], space=False)]
