"""The only calls of the model's forward: backbone and head. A wrapper (LoRA, a sharding engine) is dealt with here."""

from __future__ import annotations

import inspect
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

_FEATURES = "mm_encoder_outputs"


def backbone_of(model: nn.Module) -> Any:
    """Return the model without its head: the part that makes hidden states, pictures included."""
    inner = cast(Any, model)
    if hasattr(inner, "get_base_model"):
        inner = inner.get_base_model()
    return inner.model


def takes_features(model: nn.Module) -> bool:
    """Whether the model can be given what its tower made of the pictures, instead of the pixels.

    Older transformers take the argument among others and drop it: the model would be blind, and nothing would say so.
    """
    return _FEATURES in inspect.signature(backbone_of(model).forward).parameters


def run_backbone(
    model: nn.Module,
    *,
    token_ids: Int[Tensor, "B S"],
    mask: Tensor,
    positions: Tensor,
    cache: Any = None,
    pixel_values: Float[Tensor, "N D"] | None = None,
    grid: Int[Tensor, "I 3"] | None = None,
    features: Any = None,
) -> Float[Tensor, "B S H"]:
    """Hidden states after the last norm.

    mask: True on real tokens, over the cached and the new ones ("B K"); or who attends to whom, as the attention takes
    it ("B 1 S S"). positions: always explicit, with the rows of the
    family; the model's own state (`rope_deltas`) is neither read nor written. cache: is extended in place; None keeps
    nothing. features: what the tower made of the pictures, where it need not be asked again.
    """
    arguments: dict[str, Any] = {} if pixel_values is None else {"pixel_values": pixel_values, "image_grid_thw": grid}
    if features is not None:
        arguments = {_FEATURES: {"image": features}}
    output = backbone_of(model)(
        input_ids=token_ids,
        attention_mask=mask.long() if mask.ndim == 2 else mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=cache is not None,
        **arguments,
    )
    return cast(Tensor, output.last_hidden_state)


def apply_head(model: nn.Module, hidden: Float[Tensor, "M H"]) -> Float[Tensor, "M V"]:
    """Logits in the model's own precision."""
    return cast(Tensor, cast(Any, model).get_output_embeddings()(hidden))


def whole_head(model: nn.Module) -> nn.Linear | None:
    """The head where its weight may be read past its call; None where only the call itself is right.

    That is a plain linear layer whose weight lies whole in this process: no adapter, no shard (ZeRO-3, FSDP), no hook
    and no replaced forward that would see the call, no autocast that would change its precision.
    """
    head = cast(Any, model).get_output_embeddings()
    weight = cast(Any, getattr(head, "weight", None))
    if type(head) is not nn.Linear or type(weight) not in (Tensor, nn.Parameter) or "forward" in vars(head):
        return None
    whole = weight.shape == (head.out_features, head.in_features) and weight.is_floating_point()
    hooked = any((head._forward_hooks, head._forward_pre_hooks, head._backward_hooks, head._backward_pre_hooks))
    return head if whole and not hooked and not torch.is_autocast_enabled(weight.device.type) else None


def drops_cache(model: nn.Module) -> bool:
    """Whether a forward now would fill no cache: gradient checkpointing of the language model in training mode.

    That holds with gradients switched off as well: the mode alone decides.

    Checkpointing the vision tower alone does no harm to the cache.
    """
    backbone = backbone_of(model)
    text = getattr(backbone, "language_model", backbone)
    return any(layer.training and getattr(layer, "gradient_checkpointing", False) for layer in text.layers)
