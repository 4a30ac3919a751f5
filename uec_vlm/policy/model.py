"""The policy record: a model with what is needed to write prompts for it, to sample from it and to score with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from uec_vlm.policy.families import FAMILIES, Family
from uec_vlm.policy.forward import apply_head, backbone_of, run_backbone
from uec_vlm.policy.pictures import PictureStore


@dataclass(frozen=True)
class Policy:
    """A loaded model (policy -> rollouts, trainer).

    model: the Hugging Face model, with the adapter around it where there is one.
    processor: the Hugging Face processor, None for a text-only family. tokenizer: always there.
    banned_ids: vision and placeholder tokens; never sampled, and renormalised away in `score`.
    end_ids: tokens that end a completion. pad_id: fills up rows, is never read.
    family: the key in `FAMILIES`. pictures: keeps what a frozen tower made of them; None asks the tower every time.
    """

    model: nn.Module = field(repr=False)
    processor: Any = field(repr=False)
    tokenizer: Any = field(repr=False)
    banned_ids: tuple[int, ...]
    end_ids: tuple[int, ...]
    pad_id: int
    family: str
    pictures: PictureStore | None = field(default=None, repr=False, compare=False)

    @property
    def traits(self) -> Family:
        """The family's record."""
        return FAMILIES[self.family]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    @property
    def has_adapter(self) -> bool:
        """Whether a LoRA adapter is attached."""
        return hasattr(self.model, "disable_adapter")

    @contextmanager
    def without_adapter(self) -> Iterator[None]:
        """Switch the LoRA adapter off: the model is the one that training began with. No effect without an adapter."""
        switch: AbstractContextManager[Any] = nullcontext()
        if self.has_adapter:
            switch = cast(Any, self.model).disable_adapter()
        with switch:
            yield

    def extend(
        self,
        token_ids: Int[Tensor, "B S"],
        *,
        mask: Bool[Tensor, "B K"],
        positions: Int[Tensor, "B S"],
        cache: Any,
    ) -> Float[Tensor, "B S H"]:
        """Run S more text tokens after what the cache holds, and put them into it.

        mask: over the cached and the new tokens. positions: the place of each new token, counted as the model counts.
        """
        return run_backbone(
            self.model, token_ids=token_ids, mask=mask, positions=text_positions(self.traits, positions), cache=cache
        )

    def logits(self, hidden: Float[Tensor, "M H"]) -> Float[Tensor, "M V"]:
        """Apply the language-model head."""
        return apply_head(self.model, hidden)


def sharing_tower(policy: Policy, other: Policy) -> Policy:
    """The policy with the vision tower of another one, which has the same weights, and what is kept of its pictures."""
    if not policy.traits.sees:
        return policy
    backbone_of(policy.model).visual = backbone_of(other.model).visual
    return replace(policy, pictures=other.pictures)


def text_positions(family: Family, positions: Int[Tensor, "B S"]) -> Tensor:
    """Give positions of text the rows that the family wants: text has the same position on every row."""
    if family.position_rows == 0:
        return positions
    return positions.unsqueeze(0).expand(family.position_rows, -1, -1)
