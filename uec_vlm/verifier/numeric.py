"""Numerical values: in floating point to tell answers apart, with 50 digits to call them equal.

Sums of at most a few dozen operations that agree to 40 digits are taken as equal; where the exact forms of `exact`
reach, those decide instead.
"""

from __future__ import annotations

import cmath
import math
import threading
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import mpmath  # type: ignore[import-untyped]

from uec_vlm.verifier.exact import atom
from uec_vlm.verifier.limits import LimitError, Work
from uec_vlm.verifier.nodes import Add, Fn, Mul, Name, Node, Num, Pow, Sym

DIGITS = 50
_AGREE = Fraction(1, 10**40)
_MAX_LOG = 20000.0  # of an intermediate value's natural logarithm
_GROWING = frozenset({"exp", "sinh", "cosh"})
_PERIODIC = frozenset({"sin", "cos", "tan", "cot", "sec", "csc"})

Value = Any  # complex, or mpmath's mpf and mpc


class NoValue(Exception):
    """The expression has no finite value within the bounds."""


class Arithmetic:
    """The functions of one number system; two instances exist per thread: floats and 50-digit numbers."""

    def __init__(self, library: Any, number: Callable[[Fraction], Value], pi: Value, e: Value, one_i: Value) -> None:
        """Bind the functions of `library`; `number` makes a value from a fraction."""
        self.number = number
        self.constants = {"pi": pi, "e": e, "i": one_i}
        self.sqrt = library.sqrt
        self.functions: dict[str, Callable[..., Value]] = {
            name: getattr(library, name)
            for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "exp", "asin", "acos", "atan")
        }
        log = library.log
        self.log = log
        one = number(Fraction(1))
        gamma: Callable[[Value], Value] = getattr(library, "gamma", _gamma)
        self.functions |= {
            "ln": log,
            "log": lambda x, base=None: log(x) / log(number(Fraction(10)) if base is None else base),
            "lg": lambda x: log(x) / log(number(Fraction(10))),
            "lb": lambda x: log(x) / log(number(Fraction(2))),
            "cot": lambda x: one / self.functions["tan"](x),
            "sec": lambda x: one / self.functions["cos"](x),
            "csc": lambda x: one / self.functions["sin"](x),
            "acot": lambda x: self.functions["atan"](one / x),
            "asec": lambda x: self.functions["acos"](one / x),
            "acsc": lambda x: self.functions["asin"](one / x),
            "abs": abs,
            "dots": lambda x: x,
            "deg": lambda x: x * pi / 180,
            "pct": lambda x: x / 100,
            "floor": lambda x: number(Fraction(math.floor(_real(x)))),
            "ceil": lambda x: number(Fraction(math.ceil(_real(x)))),
            "factorial": lambda x: gamma(x + 1),
            "binom": lambda n, k: gamma(n + 1) / (gamma(k + 1) * gamma(n - k + 1)),
            "max": lambda *xs: max(xs, key=_real),
            "min": lambda *xs: min(xs, key=_real),
            "gcd": lambda *xs: number(Fraction(math.gcd(*(_whole(x) for x in xs)))),
            "lcm": lambda *xs: number(Fraction(math.lcm(*(_whole(x) for x in xs)))),
        }


def _real(value: Value) -> float:
    if abs(value.imag) > 1e-12 * (1 + abs(value.real)):
        raise NoValue
    return float(value.real)


def _whole(value: Value) -> int:
    number = _real(value)
    if not 0 <= number <= 1000 or number != int(number):
        raise NoValue
    return int(number)


def _gamma(value: Value) -> complex:
    return complex(math.gamma(_real(value)))


_FLOATS = Arithmetic(cmath, lambda q: complex(float(q)), complex(math.pi), complex(math.e), 1j)
_local = threading.local()


def many_digits() -> Arithmetic:
    """The 50-digit arithmetic of this thread (mpmath contexts are not safe to share)."""
    known: Arithmetic | None = getattr(_local, "arithmetic", None)
    if known is None:
        context = mpmath.MPContext()
        context.dps = DIGITS
        known = Arithmetic(
            context,
            lambda q: context.mpc(context.mpf(q.numerator) / q.denominator),
            context.mpc(context.pi),
            context.mpc(context.e),
            context.mpc(0, 1),
        )
        _local.arithmetic = known
    return known


def evaluate(
    node: Node, values: Mapping[str, Fraction], arithmetic: Arithmetic = _FLOATS, work: Work | None = None
) -> Value:
    """The complex value of an expression at a point. Raises NoValue where there is none within the bounds."""
    work = work or Work()
    try:
        value = _evaluate(node, values, arithmetic, work)
    except LimitError:
        raise
    except (ArithmeticError, ValueError, TypeError, KeyError, RecursionError) as problem:
        raise NoValue from problem
    if not abs(value) < math.inf:  # nan or infinite
        raise NoValue
    return value


def _evaluate(node: Node, values: Mapping[str, Fraction], system: Arithmetic, work: Work) -> Value:
    work.spend(1)
    if isinstance(node, Num):
        return system.number(node.value)
    if isinstance(node, Sym | Name):
        name = atom(node)
        constant = system.constants.get(name)
        return constant if constant is not None else system.number(values[name])
    if isinstance(node, Add):
        total = _evaluate(node.terms[0], values, system, work)
        for term in node.terms[1:]:
            total = total + _evaluate(term, values, system, work)
        return total
    if isinstance(node, Mul):
        product = _evaluate(node.factors[0], values, system, work)
        for factor in node.factors[1:]:
            product = product * _evaluate(factor, values, system, work)
        return product
    if isinstance(node, Pow):
        return _raise(node, values, system, work)
    if isinstance(node, Fn) and node.name in system.functions:
        return _call(node, values, system, work)
    raise NoValue


def _call(node: Fn, values: Mapping[str, Fraction], system: Arithmetic, work: Work) -> Value:
    arguments = [_evaluate(arg, values, system, work) for arg in node.args]
    if node.name in _GROWING and abs(arguments[0]) > _MAX_LOG:
        raise NoValue
    if node.name in ("factorial", "binom") and abs(arguments[0]) > 150:
        raise NoValue
    if node.name in _PERIODIC and abs(arguments[0]) > 1e12:
        raise NoValue
    return system.functions[node.name](*arguments)


def _raise(node: Pow, values: Mapping[str, Fraction], system: Arithmetic, work: Work) -> Value:
    base = _evaluate(node.base, values, system, work)
    if isinstance(node.exponent, Num):
        power = node.exponent.value
        if power == Fraction(1, 2):
            return system.sqrt(base)
        if power.denominator == 1 and abs(power) <= 8:
            return base ** int(power)
    exponent = _evaluate(node.exponent, values, system, work)
    if base == 0:
        if exponent.real > 0:
            return base
        raise NoValue
    if abs(exponent) > 1e9 or abs(exponent * system.log(base)) > _MAX_LOG:
        raise NoValue
    return base**exponent


def close(a: Value, b: Value) -> bool:
    """Whether two floating point values may be the same number."""
    return bool(abs(a - b) <= 1e-9 * max(abs(a), abs(b)) + 1e-12)


def agree(a: Value, b: Value) -> bool:
    """Whether two 50-digit values are the same number to 40 digits."""
    scale = max(abs(a), abs(b))
    return bool(abs(a - b) <= scale * many_digits().number(_AGREE).real or scale < 1e-40)


def real_value(node: Node) -> float | None:
    """The real value of an expression without variables, or None."""
    try:
        return _real(evaluate(node, {}))
    except (NoValue, LimitError):
        return None
