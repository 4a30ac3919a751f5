"""A place in a row of tokens: looking ahead, taking, and reading the parts that are kept as text."""

from __future__ import annotations

from uec_vlm.verifier.lexer import Token
from uec_vlm.verifier.limits import MAX_DEPTH, LimitError, ParseError
from uec_vlm.verifier.vocabulary import is_label

_END = Token("end", "", False, False)


class Cursor:
    """The row, the place in it, and how deep the grammar is nested there."""

    def __init__(self, row: list[Token]) -> None:
        """Start before the first token."""
        self.row = row
        self.at = 0
        self.depth = 0
        self.bars = 0  # open absolute values

    def peek(self, ahead: int = 0) -> Token:
        """The token `ahead` places further; one of kind "end" behind the last."""
        place = self.at + ahead
        return self.row[place] if place < len(self.row) else _END

    def sign(self) -> str:
        """The text of the next token if it is a sign or a command, "" for words and numbers."""
        token = self.peek()
        return token.text if token.kind in ("op", "cmd") else ""

    def take(self) -> Token:
        """The next token; the place moves on."""
        token = self.peek()
        self.at += 1
        return token

    def accept(self, *signs: str) -> bool:
        """Take the next token if it is one of these signs."""
        found = self.sign() in signs
        self.at += found
        return found

    def expect(self, sign: str) -> None:
        """Take the next token, which must be this sign."""
        if not self.accept(sign):
            raise ParseError(f"expected {sign!r}, found {self.peek().text!r}")

    def descend(self) -> None:
        """Enter a nested part; LimitError if that is too deep."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise LimitError("nested too deeply")

    def raw_argument(self) -> str:
        """Take `{...}` or one token and return it as text."""
        if not self.accept("{"):
            return self.take().text
        parts: list[str] = []
        while self.sign() != "}":
            token = self.take()
            if token is _END:
                raise ParseError("an argument is not closed")
            parts.append(token.text)
        self.expect("}")
        return "".join(parts)

    def subscript(self) -> str:
        """Take `_x` or `_{12}` as part of a name."""
        self.expect("_")
        return "_" + self.raw_argument()

    def label(self) -> str:
        """Take the capital letters that follow, with their primes; "" if there are none."""
        parts: list[str] = []
        while True:
            if is_label(self.peek()):
                parts.append(self.peek().text)
            elif parts and self.sign() in ("'", "prime"):
                parts.append("'")
            else:
                return "".join(parts)
            self.at += 1
