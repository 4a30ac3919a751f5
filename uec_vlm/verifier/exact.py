"""Exact arithmetic on rationals, roots of rationals, pi, e, i and variables: quotients of sums of monomials.

A monomial is a product of atoms with rational exponents; the atoms are primes (as roots, exponent between 0 and 1),
`pi`, `e`, `i` and variables. Distinct products of fractional prime powers are linearly independent over the rationals
(Besicovitch 1940), so a sum of monomials is zero exactly when it has no terms, and equality is decided, not sampled.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from uec_vlm.verifier.limits import MAX_MONOMIALS, MAX_POWER_BITS, Work
from uec_vlm.verifier.nodes import Add, Fn, Mul, Name, Node, Num, Pow, Sym

Monomial = tuple[tuple[str, Fraction], ...]
Poly = dict[Monomial, Fraction]

_ONE: Monomial = ()
_MAX_RADICAND = 10**8
_MAX_EXPONENT = 64  # of one atom
_MAX_EXPANSION = 16  # exponent of a sum that is multiplied out


class Ratio(NamedTuple):
    """A quotient of two sums of monomials; the denominator is never the empty sum."""

    top: Poly
    bottom: Poly


class Unsupported(Exception):
    """The expression leaves the exact numbers of this module (or its bounds); try numbers with many digits."""


class Undefined(Exception):
    """A division by zero: the expression has no value."""


def exact(node: Node, work: Work | None = None) -> Ratio:
    """The exact form of an expression. Raises Unsupported, Undefined on a division by zero, LimitError."""
    return _exact(node, work or Work())


def same(a: Ratio, b: Ratio, work: Work | None = None) -> bool:
    """Whether two exact forms are equal (as functions of their variables)."""
    if a.bottom == b.bottom:
        return a.top == b.top
    work = work or Work()
    return _times(a.top, b.bottom, work) == _times(b.top, a.bottom, work)


def proportional(a: Ratio, b: Ratio) -> Fraction | None:
    """The number c with top(a) = c top(b), if there is one and neither is zero: the equations a = 0, b = 0 are one."""
    if not a.top or a.top.keys() != b.top.keys():
        return None
    ratios = {a.top[monomial] / b.top[monomial] for monomial in a.top}
    return ratios.pop() if len(ratios) == 1 else None


def difference(a: Ratio, b: Ratio, work: Work) -> Ratio:
    """a - b."""
    return _plus(a, Ratio({monomial: -value for monomial, value in b.top.items()}, b.bottom), work)


def linear(form: Ratio) -> tuple[str, Fraction, Fraction] | None:
    """(x, slope, constant) of a form that is slope * x + constant over the rationals, else None."""
    scale = form.bottom.get(_ONE) if len(form.bottom) == 1 else None
    if scale is None or not form.top:
        return None
    name, slope, constant = "", Fraction(0), Fraction(0)
    for monomial, value in form.top.items():
        if monomial == _ONE:
            constant = value / scale
        elif len(monomial) == 1 and monomial[0][1] == 1 and not name and monomial[0][0] not in ("pi", "e", "i"):
            name, slope = monomial[0][0], value / scale
        else:
            return None
    return (name, slope, constant) if name else None


def rational(form: Ratio) -> Fraction | None:
    """The value of a form that is a rational number, else None."""
    if not form.top:
        return Fraction(0)
    if len(form.top) == 1 and len(form.bottom) == 1:
        (top, a), (bottom, b) = next(iter(form.top.items())), next(iter(form.bottom.items()))
        if top == bottom:
            return a / b
    return None


def _exact(node: Node, work: Work) -> Ratio:
    if isinstance(node, Num):
        return Ratio({_ONE: node.value} if node.value else {}, {_ONE: Fraction(1)})
    if isinstance(node, Sym | Name):
        name = atom(node)
        if name == "oo":
            raise Unsupported
        return Ratio({((name, Fraction(1)),): Fraction(1)}, {_ONE: Fraction(1)})
    if isinstance(node, Add):
        total = _exact(node.terms[0], work)
        for term in node.terms[1:]:
            total = _plus(total, _exact(term, work), work)
        return total
    if isinstance(node, Mul):
        product = _exact(node.factors[0], work)
        for factor in node.factors[1:]:
            other = _exact(factor, work)
            product = Ratio(_times(product.top, other.top, work), _times(product.bottom, other.bottom, work))
        return product
    if isinstance(node, Pow):
        return _power(_exact(node.base, work), _exact(node.exponent, work), work)
    if isinstance(node, Fn):
        return _function(node, work)
    raise Unsupported


def atom(node: Sym | Name) -> str:
    """The name by which a variable or a geometric name is known in exact forms; never starts with a digit."""
    if isinstance(node, Name):
        return f"{node.head}:{node.label}"
    return node.name if not node.name[0].isdigit() else f"#{node.name}"


def _function(node: Fn, work: Work) -> Ratio:
    if node.name == "pct":
        inner = _exact(node.args[0], work)
        return Ratio({m: c / 100 for m, c in inner.top.items()}, inner.bottom)
    if node.name == "deg":
        inner = _exact(node.args[0], work)
        pi: Poly = {(("pi", Fraction(1)),): Fraction(1, 180)}
        return Ratio(_times(inner.top, pi, work), inner.bottom)
    if node.name == "factorial":
        value = rational(_exact(node.args[0], work))
        if value is None or value.denominator != 1 or not 0 <= value <= 200:
            raise Unsupported
        product = 1
        for k in range(2, int(value) + 1):
            product *= k
        return Ratio({_ONE: Fraction(product)}, {_ONE: Fraction(1)})
    if node.name == "binom":
        return _binomial(node, work)
    raise Unsupported


def _binomial(node: Fn, work: Work) -> Ratio:
    n, k = (rational(_exact(arg, work)) for arg in node.args)
    if n is None or k is None or n.denominator != 1 or k.denominator != 1 or not 0 <= k <= n <= 200:
        raise Unsupported
    value = Fraction(1)
    for step in range(int(k)):
        value = value * (n - step) / (step + 1)
    return Ratio({_ONE: value} if value else {}, {_ONE: Fraction(1)})


# -------------------------------------------------------------------------------------------------- sums and products


def _plus(a: Ratio, b: Ratio, work: Work) -> Ratio:
    if a.bottom == b.bottom:
        return Ratio(_sum(a.top, b.top, work), a.bottom)
    top = _sum(_times(a.top, b.bottom, work), _times(b.top, a.bottom, work), work)
    return Ratio(top, _times(a.bottom, b.bottom, work))


def _sum(a: Poly, b: Poly, work: Work) -> Poly:
    work.spend(len(b))
    total = dict(a)
    for monomial, coefficient in b.items():
        value = total.get(monomial, Fraction(0)) + coefficient
        if value:
            total[monomial] = value
        else:
            total.pop(monomial, None)
    if len(total) > MAX_MONOMIALS:
        raise Unsupported
    return total


def _times(a: Poly, b: Poly, work: Work) -> Poly:
    if len(b) == 1 and (unit := b.get(_ONE)) is not None:
        return a if unit == 1 else {m: c * unit for m, c in a.items()}
    work.spend(len(a) * len(b))
    product: Poly = {}
    for left, x in a.items():
        for right, y in b.items():
            monomial, factor = _merge(left, right)
            value = product.get(monomial, Fraction(0)) + x * y * factor
            if value:
                product[monomial] = value
            else:
                product.pop(monomial, None)
    if len(product) > MAX_MONOMIALS:
        raise Unsupported
    for value in product.values():
        if value.numerator.bit_length() + value.denominator.bit_length() > 2 * MAX_POWER_BITS:
            raise Unsupported
    return product


def _merge(a: Monomial, b: Monomial) -> tuple[Monomial, Fraction]:
    """The product of two monomials, with the rational factor that whole powers of primes and of i give."""
    if not a or not b:
        return (a or b), Fraction(1)
    exponents = dict(a)
    for atom, exponent in b:
        exponents[atom] = exponents.get(atom, Fraction(0)) + exponent
    return _settle(exponents)


def _settle(exponents: dict[str, Fraction]) -> tuple[Monomial, Fraction]:
    """Move whole powers of primes (and the sign of i squared) out of a monomial."""
    factor = Fraction(1)
    kept: list[tuple[str, Fraction]] = []
    for atom, exponent in exponents.items():
        if atom[0].isdigit():
            whole = exponent.numerator // exponent.denominator
            if whole:
                if abs(whole) > _MAX_EXPONENT:
                    raise Unsupported
                factor *= Fraction(int(atom)) ** whole
                exponent -= whole
        elif atom == "i" and exponent.denominator == 1:
            turns = exponent.numerator % 4
            if turns >= 2:
                factor = -factor
            exponent = Fraction(turns % 2)
        if exponent:
            kept.append((atom, exponent))
    kept.sort()
    return tuple(kept), factor


# -------------------------------------------------------------------------------------------------- powers and roots


def _power(base: Ratio, exponent: Ratio, work: Work) -> Ratio:
    power = rational(exponent)
    if power is None:
        raise Unsupported
    if power.denominator == 1:
        return _whole_power(base, int(power), work)
    if power.denominator > 12 or abs(power) > _MAX_EXPONENT:
        raise Unsupported
    if not base.top:
        if power < 0:
            raise Undefined
        return base
    if len(base.top) > 1 or len(base.bottom) > 1:
        raise Unsupported
    top = _monomial_root(*next(iter(base.top.items())), power, work)
    bottom = _monomial_root(*next(iter(base.bottom.items())), power, work)
    return Ratio(_times(top.top, bottom.bottom, work), _times(top.bottom, bottom.top, work))


def _whole_power(base: Ratio, power: int, work: Work) -> Ratio:
    if power < 0:
        if not base.top:
            raise Undefined
        base, power = Ratio(base.bottom, base.top), -power
    if power == 1:
        return base
    if power == 0:
        return Ratio({_ONE: Fraction(1)}, {_ONE: Fraction(1)})
    value = rational(base)
    if value is not None:
        bits = max(value.numerator.bit_length(), value.denominator.bit_length())
        if bits * power > MAX_POWER_BITS and abs(value) != 1 and value != 0:
            raise Unsupported
        raised = value**power
        return Ratio({_ONE: raised} if raised else {}, {_ONE: Fraction(1)})
    if power > (_MAX_EXPONENT if len(base.top) == len(base.bottom) == 1 else _MAX_EXPANSION):
        raise Unsupported
    top, bottom = base.top, base.bottom
    for _ in range(power - 1):
        top, bottom = _times(top, base.top, work), _times(bottom, base.bottom, work)
    return Ratio(top, bottom)


def _monomial_root(monomial: Monomial, coefficient: Fraction, power: Fraction, work: Work) -> Ratio:
    """(c * monomial) ** power for a fractional power, where that is one monomial for sure."""
    exponents: dict[str, Fraction] = {}
    for atom, exponent in monomial:
        positive = atom == "pi" or atom == "e" or atom[0].isdigit()
        if atom == "i" or not (positive or (exponent == 1 and coefficient > 0)):
            raise Unsupported  # sqrt(x ** 2) is not x
        exponents[atom] = exponents.get(atom, Fraction(0)) + exponent * power
    if coefficient < 0:
        if power.denominator != 2:
            raise Unsupported  # which branch is meant is a question of taste: leave it to numbers
        exponents["i"] = Fraction(power.numerator)
        coefficient = -coefficient
    for value, sign in ((coefficient.numerator, 1), (coefficient.denominator, -1)):
        for prime, count in _factors(value, work):
            atom = str(prime)
            exponents[atom] = exponents.get(atom, Fraction(0)) + sign * count * power
    kept, factor = _settle(exponents)
    return Ratio({kept: factor}, {_ONE: Fraction(1)})


def _factors(value: int, work: Work) -> list[tuple[int, int]]:
    """The prime factors of a small whole number, by trial division."""
    if value > _MAX_RADICAND:
        raise Unsupported
    factors: list[tuple[int, int]] = []
    prime = 2
    while prime * prime <= value:
        count = 0
        while value % prime == 0:
            value //= prime
            count += 1
        if count:
            factors.append((prime, count))
        prime += 1 if prime == 2 else 2
    work.spend(prime // 64)
    if value > 1:
        factors.append((value, 1))
    return factors
