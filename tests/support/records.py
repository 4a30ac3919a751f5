"""Short ways to records with made-up content, for tests that need their shapes only."""

from __future__ import annotations

import torch

from uec_vlm.records import Judged, Prompt, Rollout, Sample, Trajectory, Verdict


def bare_prompt(name: str, length: int) -> Prompt:
    """A text prompt of this many tokens."""
    sample = Sample(id=name, source="test", problem=name, answer="1")
    return Prompt(sample, name, torch.arange(length), torch.zeros(0, 0), torch.zeros(0, 3, dtype=torch.long))


def bare_rollout(prompt: Prompt, length: int, *, token: int = 7) -> Rollout:
    """A completion of one token repeated, drawn with certainty."""
    ids = torch.full((length,), token)
    return Rollout(prompt, "text", ids, torch.zeros(length), "stop", "regular", 1.0, 0)


def bare_trajectory(prompt: Prompt, length: int, *, advantage: float = 1.0, token: int = 7) -> Trajectory:
    """A trajectory with old log-probabilities -1, -2, ... and weights 0.5."""
    judged = Judged(bare_rollout(prompt, length, token=token), Verdict(True, "correct", "1"), 1.0, 1.0, 1.0)
    return Trajectory(judged, advantage, -torch.arange(1.0, length + 1), torch.full((length,), 0.5), born=0)
