"""Shaping of the reward of one completion before its advantage: by verdict and by length."""

from __future__ import annotations

from uec_vlm.objective.ranges import Finite, FractionOrZero


def soft_overlong_penalty(length: int, *, limit: int, buffer: int) -> float:
    """0 up to limit - buffer tokens, then linearly down to -1 at the limit (DAPO, arXiv 2503.14476).

    length, limit, buffer: tokens; buffer is L_c, and 0 punishes only what is longer than the limit.
    """
    over = length - (limit - buffer)
    if over <= 0:
        return 0.0
    return -1.0 if buffer == 0 else max(-over / buffer, -1.0)


def shaped_reward(
    reward: float,
    accuracy: float,
    length: int,
    limit: int,
    *,
    wrong: Finite = 0.0,
    overlong_share: FractionOrZero = 0.0,
) -> float:
    """The reward, plus `wrong` where the answer is wrong, plus the soft overlong penalty.

    reward: as judged, by the weights of the configuration. accuracy: 1.0 or 0.0. length, limit: tokens of the
    completion, and the most it could have had. wrong: -1 makes rewards of +-1 of 1 and 0. overlong_share: the
    penalty's buffer L_c as a share of the limit; 0 is no penalty.
    """
    base = reward + wrong * (1.0 - accuracy)
    if overlong_share == 0.0:
        return base
    return base + soft_overlong_penalty(length, limit=limit, buffer=int(overlong_share * limit))
