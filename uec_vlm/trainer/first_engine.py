"""An engine outside the processes that train: the first of them talks to it, for all.

So its weights have one source, and its proof that no answer comes from old ones holds as in one process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from uec_vlm.records import Prompt, Rollout, Sample, Source
from uec_vlm.rollouts import RolloutEngine, SamplingSettings
from uec_vlm.trainer.exchange import Packed, pack_prompt, pack_rollout, unpack_prompt, unpack_rollout
from uec_vlm.trainer.ranks import Ranks

Pictures = Callable[[Prompt], list[bytes]]


def engine_of_first(ranks: Ranks, pictures: Pictures, make: Callable[[Pictures], RolloutEngine]) -> RolloutEngine:
    """The engine that `make` gives, on rank 0 alone; where there are several, each rank asks it through `FirstEngine`.

    pictures: encodes the pictures of a prompt as the engine is sent them. make: takes such a function.
    """
    if ranks.world == 1:
        return make(pictures)
    made: list[RolloutEngine] = []  # an engine cannot travel
    ranks.from_first(lambda: made.append(make(_as_sent)))
    return FirstEngine(ranks, pictures, made[0] if made else None)


class FirstEngine:
    """The engine of rank 0, asked by all ranks together: what is called here is called on every one, with any share.

    Each rank encodes the pictures of its own prompts and gets the rollouts of its own prompts.
    """

    def __init__(self, ranks: Ranks, pictures: Pictures, engine: RolloutEngine | None) -> None:
        """Take the ranks, the encoder of pictures, and on rank 0 the engine."""
        self._ranks, self._pictures, self._engine = ranks, pictures, engine
        self._version = 0

    @property
    def policy_version(self) -> int:
        """Number of optimizer steps that the sampling weights have seen."""
        return self._version

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        completions: int,
        sampling: SamplingSettings,
        seeds: Sequence[int],
        source: Source = "regular",
    ) -> list[list[Rollout]]:
        """See `RolloutEngine.generate`. prompts, seeds: this rank's, perhaps none; the rest is the same on all."""

        def pack() -> list[Packed]:
            return [self._pack(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True)]

        def ask(shares: list[list[Packed]]) -> list[list[list[Packed]]]:
            assert self._engine is not None  # called on rank 0 only
            asked = [entry for share in shares for entry in share]
            groups = self._engine.generate(
                [_unpack(entry) for entry in asked],
                completions=completions,
                sampling=sampling,
                seeds=[entry["seed"] for entry in asked],
                source=source,
            )
            answers = iter([[pack_rollout(rollout) for rollout in group] for group in groups])
            return [[next(answers) for _ in share] for share in shares]

        answers = self._ranks.first_does(pack, ask)
        return [
            [unpack_rollout(entry, prompt) for entry in group] for prompt, group in zip(prompts, answers, strict=True)
        ]

    def load_weights(self, policy: Any, *, version: int | None = None) -> None:
        """See `RolloutEngine.load_weights`. Only the policy of rank 0 is read."""

        def load() -> int:
            assert self._engine is not None
            self._engine.load_weights(policy, version=version)
            return self._engine.policy_version

        self._version = self._ranks.from_first(load)

    def _pack(self, prompt: Prompt, seed: int) -> Packed:
        return {"id": prompt.sample.id, "pictures": self._pictures(prompt), "seed": seed, **pack_prompt(prompt)}


def _unpack(packed: Packed) -> Prompt:
    """The prompt of another rank, with its pictures as they are sent in the place of the originals."""
    return unpack_prompt(packed, Sample(packed["id"], "", "", "", images=tuple(packed["pictures"])))


def _as_sent(prompt: Prompt) -> list[bytes]:
    return list(prompt.sample.images)
