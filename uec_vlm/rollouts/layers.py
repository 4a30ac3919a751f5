"""The decoder layers of the families that the lean loop knows, read out of a Hugging Face model.

All of them are one layer: norm, attention with rotary positions over grouped keys, norm, gated MLP, with a bias or a
norm of query and key here and there. Matrices that read the same input are joined into one, as a copy that is made at
every call of the engine, so weights changed in place are seen. Adapted layers (LoRA) keep their own modules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

_ATTENTIONS = {
    "Qwen2VLAttention",
    "Qwen2_5_VLAttention",
    "Qwen3VLTextAttention",
    "Qwen2Attention",
    "Qwen3Attention",
    "LlamaAttention",
    "MistralAttention",
}
_MLPS = {"Qwen2MLP", "Qwen2_5_VLMLP", "Qwen3MLP", "Qwen3VLTextMLP", "LlamaMLP", "MistralMLP"}
# Rotary positions whose frequencies do not depend on how long the sequence is.
_ROTARIES = {"default", "linear", "yarn", "llama3"}
# Joined copies of larger models would cost more memory than the few calls they save are worth.
_JOINED_BYTES = 512 * 2**20

Project = Callable[[Tensor], Tensor]
AddProjected = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Layer:
    """One layer: norms, and the maps between them.

    qkv: "R H" to queries, keys and values side by side. add_out, add_down: (residual, input) to the new residual.
    query_norm, key_norm: over the width of a head, or None. activate: of the gate.
    """

    norm: Project
    qkv: Project
    query_norm: Project | None
    key_norm: Project | None
    add_out: AddProjected
    mlp_norm: Project
    gate_up: Project
    activate: Project
    add_down: AddProjected


@dataclass(frozen=True)
class TextModel:
    """The text part of a model as the lean loop runs it. scale: of the attention scores."""

    embed: nn.Module
    layers: tuple[Layer, ...]
    last_norm: nn.Module
    rotary: nn.Module
    heads: int
    kv_heads: int
    head_width: int
    scale: float


def read_text_model(model: nn.Module) -> TextModel | None:
    """Read the layers, or return None where anything is not as known: then the model's own forward must decode."""
    backbone = _backbone(model)
    text = getattr(backbone, "language_model", backbone)
    layers = getattr(text, "layers", None)
    if not layers or not all(_is_known(layer) for layer in layers):
        return None
    rotary: Any = getattr(text, "rotary_emb", None)
    if getattr(rotary, "rope_type", None) not in _ROTARIES:
        return None
    attention = layers[0].self_attn
    width = int(attention.head_dim)
    join = _joined_bytes(layers) <= _JOINED_BYTES
    return TextModel(
        embed=text.embed_tokens,
        layers=tuple(_read(layer, join=join) for layer in layers),
        last_norm=text.norm,
        rotary=rotary,
        heads=attention.q_proj.out_features // width,
        kv_heads=attention.k_proj.out_features // width,
        head_width=width,
        scale=float(attention.scaling),
    )


def vision_tower(model: nn.Module) -> nn.Module | None:
    """The part that reads pictures, or None."""
    tower: nn.Module | None = getattr(_backbone(model), "visual", None)
    return tower


def _backbone(model: nn.Module) -> Any:
    inner: Any = model
    if hasattr(inner, "get_base_model"):
        inner = inner.get_base_model()
    return getattr(inner, "model", None)


def _is_known(layer: Any) -> bool:
    attention: Any = getattr(layer, "self_attn", None)
    mlp: Any = getattr(layer, "mlp", None)
    if type(attention).__name__ not in _ATTENTIONS or type(mlp).__name__ not in _MLPS:
        return False
    if any(getattr(owner, "sliding_window", None) is not None for owner in (attention, attention.config)):
        return False
    # A hook, or a shard instead of a weight, belongs to a wrapper that wants the module itself to be called.
    hooked = any(m._forward_hooks or m._forward_pre_hooks or hasattr(m, "_hf_hook") for m in layer.modules())
    whole = all(type(weight.data) is Tensor and weight.numel() > 0 for weight in layer.parameters())
    return whole and not hooked


def _joined_bytes(layers: Any) -> int:
    joined = (part for layer in layers for group in _joinable(layer) for part in group if type(part) is nn.Linear)
    return sum(part.weight.numel() * part.weight.element_size() for part in joined)


def _joinable(layer: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    attention, mlp = layer.self_attn, layer.mlp
    return (attention.q_proj, attention.k_proj, attention.v_proj), (mlp.gate_proj, mlp.up_proj)


def _read(layer: Any, *, join: bool) -> Layer:
    attention, mlp = layer.self_attn, layer.mlp
    qkv, gate_up = (_side_by_side(parts, join=join) for parts in _joinable(layer))
    return Layer(
        norm=_norm(layer.input_layernorm),
        qkv=qkv,
        query_norm=_norm(attention.q_norm) if hasattr(attention, "q_norm") else None,
        key_norm=_norm(attention.k_norm) if hasattr(attention, "k_norm") else None,
        add_out=_adding(attention.o_proj),
        mlp_norm=_norm(layer.post_attention_layernorm),
        gate_up=gate_up,
        activate=mlp.act_fn,
        add_down=_adding(mlp.down_proj),
    )


def _norm(module: Any) -> Project:
    weight = module.weight
    return partial(F.rms_norm, normalized_shape=tuple(weight.shape), weight=weight, eps=module.variance_epsilon)


def _side_by_side(parts: tuple[Any, ...], *, join: bool) -> Project:
    """The outputs of linear maps of one input side by side: one matrix product where they may be joined."""
    if not join or any(type(part) is not nn.Linear for part in parts):
        return lambda inputs: torch.cat([part(inputs) for part in parts], dim=-1)
    weight = torch.cat([part.weight for part in parts])
    has_bias = parts[0].bias is not None
    return partial(F.linear, weight=weight, bias=torch.cat([part.bias for part in parts]) if has_bias else None)


def _adding(module: Any) -> AddProjected:
    """The residual plus the map of an input, in one product where the map is a plain matrix."""
    if type(module) is nn.Linear and module.bias is None:
        transposed = module.weight.t()
        return lambda residual, inputs: torch.addmm(residual, inputs, transposed)

    def add(residual: Float[Tensor, "R H"], inputs: Float[Tensor, "R K"]) -> Float[Tensor, "R H"]:
        projected: Tensor = module(inputs)
        return residual + projected

    return add
