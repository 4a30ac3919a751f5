"""What differs between the supported families: whether they see, and how they count positions.

A new family is one record in `FAMILIES`; a family with other positions adds one function of the shape of
`PromptPositions`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Bool, Int
from torch import Tensor

# (backbone, token_ids "P L", mask "P L", image token mask "P L", picture grids "I 3" or None)
#   -> (position ids as the model takes them, position of the first completion token "P")
PromptPositions = Callable[[Any, Tensor, Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Family:
    """A model family.

    sees: whether it has a vision tower (and a processor beside its tokenizer).
    position_rows: rows of the position ids (time, height, width of multimodal rotary positions); 0 for plain
    positions "B T". positions: see `PromptPositions`.
    """

    sees: bool
    position_rows: int
    positions: PromptPositions


def plain_positions(
    backbone: Any,
    token_ids: Int[Tensor, "P L"],
    mask: Bool[Tensor, "P L"],
    image_mask: Bool[Tensor, "P L"],
    grid: Int[Tensor, "I 3"] | None,
) -> tuple[Int[Tensor, "P L"], Int[Tensor, " P"]]:
    """Count the tokens from 0; padding repeats the last position."""
    return (mask.long().cumsum(-1) - 1).clamp(min=0), mask.sum(-1)


def multimodal_positions(
    backbone: Any,
    token_ids: Int[Tensor, "P L"],
    mask: Bool[Tensor, "P L"],
    image_mask: Bool[Tensor, "P L"],
    grid: Int[Tensor, "I 3"] | None,
) -> tuple[Int[Tensor, "3 P L"], Int[Tensor, " P"]]:
    """Positions of the Qwen-VL families, by the model's own `get_rope_index`; padding has position 0."""
    positions, deltas = backbone.get_rope_index(
        token_ids, image_mask.int(), image_grid_thw=grid, attention_mask=mask.long()
    )
    return positions, mask.sum(-1) + deltas.squeeze(-1)


_QWEN_VL = Family(sees=True, position_rows=3, positions=multimodal_positions)
_TEXT = Family(sees=False, position_rows=0, positions=plain_positions)

FAMILIES: dict[str, Family] = {
    "qwen2_vl": _QWEN_VL,
    "qwen2_5_vl": _QWEN_VL,
    "qwen3_vl": _QWEN_VL,
    "qwen3_vl_moe": _QWEN_VL,
    "qwen2": _TEXT,
    "qwen2_moe": _TEXT,
    "qwen3": _TEXT,
    "qwen3_moe": _TEXT,
    "llama": _TEXT,
    "mistral": _TEXT,
}

_RECURRENT = "its linear-attention layers keep a recurrent state, which cannot be shared by the completions of a prompt"
# Families that users will try, and why they are refused.
REFUSED: dict[str, str] = {
    "qwen3_5": _RECURRENT,
    "qwen3_5_moe": _RECURRENT,
    "qwen3_5_text": _RECURRENT,
    "qwen3_5_moe_text": _RECURRENT,
    "qwen3_next": _RECURRENT,
    "qwen2_5_omni": "it hears and speaks, and no rollout here has sound",
    "qwen3_omni_moe": "it hears and speaks, and no rollout here has sound",
}
