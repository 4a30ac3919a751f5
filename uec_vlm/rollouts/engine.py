"""What a rollout engine is, and how sampling is set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from uec_vlm.records import Prompt, Rollout, Source


@dataclass(frozen=True)
class SamplingSettings:
    """How tokens are drawn.

    temperature: 0 takes the likeliest token, whose behaviour log-probability is then 0.
    top_p: in (0, 1]; below 1 only the smallest set of likeliest tokens with this much probability is drawn from.
    max_new_tokens: a completion that has not ended by then finishes with "length".
    """

    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 512

    def __post_init__(self) -> None:
        """Refuse what cannot be sampled with."""
        if not (self.temperature >= 0 and 0 < self.top_p <= 1 and self.max_new_tokens >= 1):
            raise ValueError(f"{self}: need temperature >= 0, 0 < top_p <= 1 and max_new_tokens >= 1")


class RolloutEngine(Protocol):
    """Samples completions of prompts."""

    @property
    def policy_version(self) -> int:
        """Number of optimizer steps that the sampling weights have seen."""
        ...

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        completions: int,
        sampling: SamplingSettings,
        seeds: Sequence[int],
        source: Source = "regular",
    ) -> list[list[Rollout]]:
        """Sample `completions` rollouts of every prompt, prompt by prompt.

        seeds: one per prompt. What a prompt gets depends on its seed and the weights, not on the other prompts.
        """
        ...

    def load_weights(self, policy: Any, *, version: int | None = None) -> None:
        """Sample with this policy's weights from now on; `version` is the new `policy_version` (default: one more)."""
        ...


@runtime_checkable
class TimesPhases(Protocol):
    """An engine that tells where its time goes; an engine need not."""

    @property
    def seconds(self) -> Mapping[str, float]:
        """Wall seconds since it was made, by phase: vision, prefill, decode."""
        ...
