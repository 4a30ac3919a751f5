"""A completion as HTML, each token on a ground as dark as its value: for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_GROUND = "11, 107, 93"


def coloured_tokens(pieces: Sequence[str], values: Sequence[float], *, unit: str, most: float | None = None) -> str:
    """The pieces of a text, escaped, coloured by one number each (entropy in nats, say), which shows on hovering.

    pieces: the decoded tokens. values: as many, >= 0. most: the value of the darkest ground (default: the largest).
    ValueError if there are not as many values as pieces.
    """
    if len(pieces) != len(values):
        raise ValueError(f"{len(pieces)} pieces and {len(values)} values: need one each")
    top = max(values, default=0.0) if most is None else most
    spans = [
        f'<span title="{value:.3f} {escape(unit)}" style="background: rgba({_GROUND}, '
        f'{min(value / top, 1.0) * 0.55 if top > 0 else 0.0:.2f})">{escape(piece)}</span>'
        for piece, value in zip(pieces, values, strict=True)
    ]
    return f'<div style="font-family: monospace; white-space: pre-wrap; line-height: 1.7">{"".join(spans)}</div>'
