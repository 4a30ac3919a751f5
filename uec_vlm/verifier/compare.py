"""First comparison: values of single numbers. To be deepened."""

from __future__ import annotations

from uec_vlm.verifier import exact as ex
from uec_vlm.verifier import numeric
from uec_vlm.verifier.nodes import Node, Num


def same_value(a: Node, b: Node) -> bool:
    """Whether two expressions have the same value."""
    if isinstance(a, Num) and isinstance(b, Num):
        return a.value == b.value
    try:
        return ex.same(ex.exact(a), ex.exact(b))
    except ex.Undefined:
        return False
    except ex.Unsupported:
        pass
    try:
        x, y = numeric.evaluate(a, {}), numeric.evaluate(b, {})
        if not numeric.close(x, y):
            return False
        digits = numeric.many_digits()
        return numeric.agree(numeric.evaluate(a, {}, digits), numeric.evaluate(b, {}, digits))
    except numeric.NoValue:
        return False
