"""What a forward pass keeps for its backward pass: measured on a model's own layers, without its weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from uec_vlm.policy import FAMILIES

# Patches on a side of the picture that a tower is measured with; what it saves grows with their number.
_SIDE = 8


def saved_by_layer(config: Any, rows: int, tokens: int, *, past: int, width: int) -> int:
    """Bytes that autograd saves in one decoder layer for `rows` x `tokens` after `past` cached tokens."""
    from torch._subclasses.fake_tensor import FakeTensorMode
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, DynamicCache

    sees = FAMILIES[config.model_type].sees
    single = copy.deepcopy(config)
    text = single.get_text_config()
    text.num_hidden_layers = 1
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:1]
    loader = AutoModelForImageTextToText if sees else AutoModelForCausalLM
    # The grouped product of experts has no rule for float32 without storage: it is measured in 16 bits and scaled.
    exact = width == 4 and not hasattr(text, "num_experts_per_tok")
    dtype, scale = (torch.float32, 1) if exact else (torch.bfloat16, width // 2)
    with FakeTensorMode(allow_non_fake_inputs=True):
        backbone = loader.from_config(single, dtype=dtype).model
        layer = getattr(backbone, "language_model", backbone).layers[0]
        states = torch.empty(rows, tokens, text.hidden_size, dtype=dtype, requires_grad=True)
        rotary = (torch.empty(rows, tokens, head_width(text), dtype=dtype),) * 2
        cache = DynamicCache()
        if past:
            held = torch.empty(rows, text.num_key_value_heads, past, head_width(text), dtype=dtype)
            cache.update(held, held.clone(), 0)
        mask = torch.empty(rows, 1, tokens, tokens + past, dtype=torch.bool)

        def forward() -> Any:
            return layer(
                states,
                attention_mask=mask,
                position_embeddings=rotary,
                position_ids=torch.empty(rows, tokens, dtype=torch.long),
                past_key_values=cache,
            )

        return _others(_saved(forward), (*layer.parameters(), *rotary, mask)) * scale


def saved_by_tower(config: Any, *, width: int, checkpointed: bool = False) -> int:
    """Bytes that autograd saves in a vision tower that is trained, for each patch; 0 where there is no tower.

    Towers of one and two blocks are run on a small picture: their difference is what every further block saves.
    checkpointed: of a further block its input alone is kept.
    """
    if not FAMILIES[config.model_type].sees:
        return 0
    vision, patches = config.vision_config, _SIDE**2
    one = _saved_by_blocks(config, 1)
    further = patches * tower_width(vision) * 4 if checkpointed else _saved_by_blocks(config, 2) - one
    levels = len(getattr(vision, "deepstack_visual_indexes", None) or ())
    merger = _saved_by_blocks(config, 1, levels=1) - one if levels else 0
    return int((one + (vision.depth - 1) * further + levels * merger) * width / 4 / patches)


def _saved_by_blocks(config: Any, depth: int, *, levels: int = 0) -> int:
    """Bytes that a float32 tower of so many blocks, and mergers of deeper layers, saves for the small picture."""
    import transformers

    single = copy.deepcopy(config)
    vision = single.vision_config
    vision.depth = depth
    if getattr(vision, "deepstack_visual_indexes", None):
        vision.deepstack_visual_indexes = list(range(levels))
    with torch.device("meta"):
        made = transformers.AutoModelForImageTextToText.from_config(single)
    tower = type(made.model.visual)(vision).float().eval()
    pixels, grid = torch.zeros(_SIDE**2, patch_numbers(vision)), torch.tensor([[1, _SIDE, _SIDE]])
    saved = _saved(lambda: tower(pixels, grid))
    return _others(saved, tower.parameters())


def patch_numbers(vision: Any) -> int:
    """Pixel values of one patch."""
    return int(vision.in_channels * vision.temporal_patch_size * vision.patch_size**2)


def tower_width(vision: Any) -> int:
    """Width of a block of the tower; Qwen2-VL calls the width behind its merger `hidden_size`."""
    return int(getattr(vision, "embed_dim", None) or vision.hidden_size)


def _others(saved: dict[int, int], shared: Iterable[Tensor]) -> int:
    """The sum of the sizes, but for those of these tensors."""
    known = {_storage(tensor) for tensor in shared}
    return sum(size for key, size in saved.items() if key not in known)


def _saved(forward: Callable[[], Any]) -> dict[int, int]:
    """Sizes of the storages that a forward pass saves, each once."""
    sizes: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        sizes[_storage(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = forward()
    del output
    return sizes


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def head_width(text: Any) -> int:
    """Of an attention head."""
    return int(getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads)
