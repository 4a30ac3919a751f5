"""The length part of a reward: a number of its own, never mixed into accuracy or format."""

from __future__ import annotations


def overlong_penalty(length: int, *, max_length: int, buffer: int) -> float:
    """Soft punishment of long completions, in [-1, 0] (DAPO, Yu et al. 2025, equation 13).

    0 up to max_length - buffer tokens, falling linearly to -1 at max_length, and -1 beyond. buffer >= 1.
    """
    if buffer < 1 or max_length < buffer:
        raise ValueError(f"buffer = {buffer} must lie between 1 and max_length = {max_length}")
    over = length - (max_length - buffer)
    return -min(max(over, 0), buffer) / buffer
