"""One vision pass and one language-model pass per distinct prompt, kept for all its completions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from uec_vlm.policy.forward import backbone_of, drops_cache, run_backbone
from uec_vlm.policy.model import Policy
from uec_vlm.policy.pictures import Features
from uec_vlm.records import Prompt


@dataclass(frozen=True)
class Prefix:
    """Prompts that the model has read (policy -> rollouts, score). Carries a gradient when grad was enabled.

    cache: keys and values of every layer, P rows, padded on the right to L positions.
    mask: True on the prompt's tokens. hidden: the last hidden state of each prompt, which predicts its first
    completion token. next_position: the position of the first completion token, as the model counts (pictures take
    fewer than their tokens).
    """

    cache: Any
    mask: Bool[Tensor, "P L"]
    hidden: Float[Tensor, "P H"]
    next_position: Int[Tensor, " P"]


@dataclass(frozen=True)
class PaddedRows:
    """Rows of tokens with their pictures, as the model takes them. Padding is on the right.

    features: of the pictures, where the tower need not be asked again.
    """

    token_ids: Int[Tensor, "P L"]
    mask: Bool[Tensor, "P L"]
    positions: Tensor
    next_position: Int[Tensor, " P"]
    pixel_values: Float[Tensor, "N D"] | None
    grid: Int[Tensor, "I 3"] | None
    features: Features | None


def pad_rows(policy: Policy, prompts: Sequence[Prompt], tails: Sequence[Tensor] | None = None) -> PaddedRows:
    """Pad prompts on the right, each followed by its tail of text tokens where tails are given.

    Positions are made on the CPU, token by token, and moved: on a GPU each of their many small steps would be a launch.
    """
    device = policy.device
    ends = tails if tails is not None else [prompt.token_ids.new_empty(0) for prompt in prompts]
    rows = [torch.cat([prompt.token_ids, end.to(prompt.token_ids)]) for prompt, end in zip(prompts, ends, strict=True)]
    lengths = torch.tensor([len(row) for row in rows])
    token_ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=policy.pad_id)
    mask = torch.arange(token_ids.shape[1]) < lengths.unsqueeze(1)
    pictured = [prompt for prompt in prompts if len(prompt.image_grid_thw)]
    pixel_values = grid = None
    image_mask = torch.zeros_like(mask)
    if pictured:
        # Patches are packed over pictures, not over rows: they are joined in the order of the rows and never sliced.
        pixel_values = torch.cat([prompt.pixel_values for prompt in pictured]).to(device)
        grid = torch.cat([prompt.image_grid_thw for prompt in pictured])
        image_mask = token_ids == cast(Any, backbone_of(policy.model)).config.image_token_id
    positions, next_position = policy.traits.positions(backbone_of(policy.model), token_ids, mask, image_mask, grid)
    features = policy.pictures(policy.model, prompts) if policy.pictures is not None else None
    return PaddedRows(
        token_ids.to(device),
        mask.to(device),
        positions.to(device),
        next_position.to(device),
        pixel_values,
        grid.to(device) if grid is not None else None,
        features,
    )


def prefill(policy: Policy, prompts: Sequence[Prompt]) -> Prefix:
    """Read each prompt once: the vision tower over all their pictures together, the language model over padded rows."""
    from transformers import DynamicCache

    if not prompts:
        raise ValueError("prefill needs at least one prompt")
    if drops_cache(policy.model):
        raise ValueError(
            "prefill keeps a cache, which gradient checkpointing drops in training mode: call model.eval()"
        )
    rows = pad_rows(policy, prompts)
    cache = DynamicCache()
    hidden = run_backbone(
        policy.model,
        token_ids=rows.token_ids,
        # Padding is on the right, where nothing looks back at it: causal attention needs no mask, and is faster so.
        mask=torch.ones_like(rows.mask),
        positions=rows.positions,
        cache=cache,
        pixel_values=rows.pixel_values,
        grid=rows.grid,
        features=rows.features,
    )
    last = rows.mask.sum(-1) - 1
    return Prefix(cache, rows.mask, hidden[torch.arange(len(prompts), device=hidden.device), last], rows.next_position)


def expand(prefix: Prefix, index: Int[Tensor, " B"]) -> Prefix:
    """Repeat or reorder the rows of a prefix: row b of the result is row index[b]. The given prefix stays as it is."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    index = index.to(prefix.mask.device)
    cache = DynamicCache()
    for old in prefix.cache.layers:
        layer = DynamicLayer()
        layer.keys, layer.values = old.keys.index_select(0, index), old.values.index_select(0, index)
        layer.dtype, layer.device, layer.is_initialized = layer.keys.dtype, layer.keys.device, True
        cache.layers.append(layer)
    return Prefix(cache, prefix.mask[index], prefix.hidden[index], prefix.next_position[index])
