"""Prompts and completions in one row without padding, through decoder layers that are run here (on the CPU).

The same numbers as the model's own forward up to rounding. Each prompt is read once, its completions attend to its keys
where they are (`attention.py`), and in the last layer only those tokens are run whose state is asked for: of a prompt
its keys and values, and its last token. Anything that is not as known (another layer, an adapter on a norm, a sharded
weight, a hook, autocast, another attention) is left to the model's own forward.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from uec_vlm.policy.attention import Layout, Rotation, Shape, attend, lay_out
from uec_vlm.policy.forward import backbone_of
from uec_vlm.policy.model import Policy
from uec_vlm.policy.prefix import PaddedRows, pad_rows
from uec_vlm.records import CompletionBatch

_ATTENTIONS = {
    "Qwen2VLAttention", "Qwen2_5_VLAttention", "Qwen3VLTextAttention", "Qwen2Attention", "Qwen3Attention",
    "LlamaAttention", "MistralAttention",
}  # fmt: skip
_MLPS = {"Qwen2MLP", "Qwen2_5_VLMLP", "Qwen3MLP", "Qwen3VLTextMLP", "LlamaMLP", "MistralMLP"}
# Rotary positions whose frequencies do not depend on how long the sequence is.
_ROTARIES = {"default", "linear", "yarn", "llama3"}


def lean_text(policy: Policy) -> Any:
    """The text part of the model where its layers can be run here, else None."""
    backbone = backbone_of(policy.model)
    text = getattr(backbone, "language_model", backbone)
    layers = getattr(text, "layers", None)
    if policy.device.type != "cpu" or torch.is_autocast_enabled("cpu") or not layers:
        return None
    rotary = getattr(getattr(text, "rotary_emb", None), "rope_type", None)
    known = rotary in _ROTARIES and text.config._attn_implementation == "sdpa"
    whole = all(_is_whole(module) for module in (text.embed_tokens, text.norm, *layers)) if known else False
    return text if whole and all(_is_known(layer) for layer in layers) else None


def _is_whole(module: nn.Module) -> bool:
    """Whether weights lie here, in a precision that is computed with, and no hook wants the module to be called."""
    hooked = any(m._forward_hooks or m._forward_pre_hooks or hasattr(m, "_hf_hook") for m in module.modules())
    wide = (torch.float32, torch.float64)
    return not hooked and all(
        type(weight.data) is Tensor and weight.numel() > 0 and weight.dtype in wide for weight in module.parameters()
    )


def _is_known(layer: Any) -> bool:
    attention: Any = getattr(layer, "self_attn", None)
    if type(attention).__name__ not in _ATTENTIONS or type(getattr(layer, "mlp", None)).__name__ not in _MLPS:
        return False
    if any(getattr(owner, "sliding_window", None) is not None for owner in (attention, attention.config)):
        return False
    return not (layer.training and attention.attention_dropout)


def lean_states(policy: Policy, text: Any, batch: CompletionBatch) -> Float[Tensor, "M H"]:
    """The state that predicts each completion token, in the order of `completion_mask`'s True entries."""
    tokens, states, features = _read(policy, text, batch)
    cos, sin = text.rotary_emb(states, tokens.positions)
    rotation = _signed(cos, sin)
    shape = _shape(text.layers[0].self_attn)
    whole = lay_out(tokens.prompts, tokens.owners, tokens.tails, last_only=False)
    for number, layer in enumerate(text.layers):
        # Features that are added behind the last layer, where a tower has so many, want all of its tokens.
        last = number + 1 == len(text.layers) and number >= len(features)
        layout = lay_out(tokens.prompts, tokens.owners, tokens.tails, last_only=True) if last else whole
        states = _run_layer(layer, states, layout, rotation, shape, tokens.asked if last else None)
        if number < len(features):
            states = states.index_add(0, tokens.pictured, features[number].to(states.dtype))
    if len(features) >= len(text.layers):
        states = _take(states, tokens.asked)
    return _take(_normed(text.norm, states), tokens.predicting)


@dataclass(frozen=True)
class _Tokens:
    """The row: the tokens of every prompt, then those of the completions in the order of their prompts, of each all
    but the last, which predicts nothing.

    prompts: lengths. owners, tails: prompt and tokens of every completion. positions: as the rotary module takes them.
    pictured: the tokens of pictures. asked: the last token of every prompt, then the completions' tokens. predicting:
    place among those, for every completion token.
    """

    prompts: list[int]
    owners: list[int]
    tails: list[int]
    positions: Tensor
    pictured: Int[Tensor, " N"]
    asked: Int[Tensor, " Q"]
    predicting: Int[Tensor, " M"]


def _read(policy: Policy, text: Any, batch: CompletionBatch) -> tuple[_Tokens, Tensor, list[Tensor]]:
    """The tokens, their embeddings with the pictures in place, and the features that deeper layers add to these."""
    rows = pad_rows(policy, batch.prompts)
    order = batch.prompt_index.argsort(stable=True)
    tails = batch.completion_mask.sum(1) - 1
    prompt_ids = rows.token_ids[rows.mask]
    inside = torch.arange(batch.completion_ids.shape[1]) < tails.unsqueeze(1)
    ids = torch.cat([prompt_ids, batch.completion_ids[order][inside[order]].to(prompt_ids)])
    tokens = _Tokens(
        prompts=rows.mask.sum(1).tolist(),
        owners=batch.prompt_index[order].tolist(),
        tails=tails[order].tolist(),
        positions=_positions(policy, rows, batch, order, inside),
        pictured=_pictured(policy, rows, prompt_ids),
        asked=torch.cat([rows.mask.sum(1).cumsum(0) - 1, torch.arange(len(prompt_ids), len(ids))]),
        predicting=_predicting(batch, order, tails),
    )
    states = text.embed_tokens(ids)
    if rows.pixel_values is None:
        return tokens, states, []
    seen: Any = rows.features
    if seen is None:
        seen = backbone_of(policy.model).get_image_features(rows.pixel_values, rows.grid, return_dict=True)
    features = torch.cat(tuple(seen.pooler_output)).to(states.dtype)
    deep = [torch.cat(tuple(level)) for level in getattr(seen, "deepstack_features", None) or []]
    return tokens, states.index_copy(0, tokens.pictured, features), deep


def _positions(
    policy: Policy, rows: PaddedRows, batch: CompletionBatch, order: Int[Tensor, " B"], inside: Tensor
) -> Tensor:
    """A completion counts on from its prompt, on every row that the family counts on."""
    step = torch.arange(inside.shape[1])
    following = (rows.next_position[batch.prompt_index[order]].unsqueeze(1) + step)[inside[order]]
    known = rows.positions[..., rows.mask]
    count = policy.traits.position_rows
    if count == 0:
        return torch.cat([known, following]).unsqueeze(0)
    return torch.cat([known, following.expand(count, -1)], dim=-1).unsqueeze(1)


def _pictured(policy: Policy, rows: PaddedRows, prompt_ids: Int[Tensor, " N"]) -> Int[Tensor, " I"]:
    if rows.pixel_values is None:
        return torch.zeros(0, dtype=torch.long)
    image_token = int(backbone_of(policy.model).config.image_token_id)
    return (prompt_ids == image_token).nonzero().squeeze(1)


def _predicting(batch: CompletionBatch, order: Int[Tensor, " B"], tails: Int[Tensor, " B"]) -> Int[Tensor, " M"]:
    starts = torch.zeros_like(tails)
    starts[order] = tails[order].cumsum(0) - tails[order]
    step = torch.arange(batch.completion_ids.shape[1])
    later = len(batch.prompts) + starts.unsqueeze(1) + step - 1
    return torch.where(step == 0, batch.prompt_index.unsqueeze(1), later)[batch.completion_mask]


def _signed(cos: Float[Tensor, "1 M d"], sin: Float[Tensor, "1 M d"]) -> Rotation:
    half = sin.shape[-1] // 2
    signed = torch.cat([-sin[0, :, :half], sin[0, :, half:]], dim=-1)
    return Rotation(cos[0].unsqueeze(1), signed.unsqueeze(1))


def _shape(attention: Any) -> Shape:
    width = int(attention.head_dim)
    kv_heads = attention.k_proj.out_features // width
    return Shape(kv_heads, attention.q_proj.out_features // width // kv_heads, width, float(attention.scaling))


def _run_layer(
    layer: Any,
    states: Float[Tensor, "M H"],
    layout: Layout,
    rotation: Rotation,
    shape: Shape,
    asked: Int[Tensor, " Q"] | None,
) -> Float[Tensor, "Q H"]:
    """One layer; asked: the only tokens whose states are wanted (None: all)."""
    attention, mlp = layer.self_attn, layer.mlp
    normed = _normed(layer.input_layernorm, states)
    asking, turns = normed, rotation
    if asked is not None:
        asking, states, turns = _take(normed, asked), _take(states, asked), rotation.of(asked)
    query, key = attention.q_proj(asking), attention.k_proj(normed)
    if hasattr(attention, "q_norm"):
        query, key = _normed_heads(attention.q_norm, query), _normed_heads(attention.k_norm, key)
    mixed = attend(query, key, attention.v_proj(normed), layout, (turns, rotation), shape)
    states = _added(states, attention.o_proj, mixed)
    normed = _normed(layer.post_attention_layernorm, states)
    return _added(states, mlp.down_proj, mlp.act_fn(mlp.gate_proj(normed)) * mlp.up_proj(normed))


def _added(residual: Float[Tensor, "Q H"], module: Any, inputs: Float[Tensor, "Q K"]) -> Float[Tensor, "Q H"]:
    """The residual plus the map of an input, in one product where the map is a plain matrix."""
    if type(module) is nn.Linear and module.bias is None:
        return torch.addmm(residual, inputs, module.weight.t())
    mapped: Tensor = module(inputs)
    return residual + mapped


def _normed_heads(module: Any, states: Float[Tensor, "M h*d"]) -> Float[Tensor, "M h*d"]:
    return _normed(module, states.view(-1, module.weight.shape[0])).view(states.shape)


def _normed(module: Any, states: Float[Tensor, "M H"]) -> Float[Tensor, "M H"]:
    """The norm in fewer passes; in float64 the module itself, which knows where it rounds to float32."""
    if states.dtype == torch.float32 and type(module).__name__.endswith("RMSNorm"):
        return rms_norm(states, module.weight, module.variance_epsilon)
    normed: Tensor = module(states)
    return normed


def _take(states: Float[Tensor, "M H"], places: Int[Tensor, " N"]) -> Float[Tensor, "N H"]:
    """Some rows. As an embedding, whose backward pass adds the rows up in parallel."""
    return nn.functional.embedding(places, states)


def rms_norm(states: Float[Tensor, "M H"], weight: Float[Tensor, " H"], eps: float) -> Float[Tensor, "M H"]:
    """Weight x states / root mean square, in three passes forwards and five backwards."""
    normed: Tensor = _RMSNorm.apply(states, weight, eps)
    return normed


class _RMSNorm(torch.autograd.Function):
    """The autograd node of `rms_norm`."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, eps: float) -> Tensor:
        norms = torch.linalg.vector_norm(states, dim=-1, keepdim=True)
        scale = norms.square_().div_(states.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(states, scale, weight)
        normed: Tensor = (states * scale).mul_(weight)
        return normed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        states, scale, weight = ctx.saved_tensors
        product = grads[0] * states
        of_weight = (scale.t() @ product).squeeze(0) if ctx.needs_input_grad[1] else None
        along = (product @ weight).unsqueeze(1).mul_(scale.square()).div_(-states.shape[-1])
        of_states = torch.mul(grads[0], weight, out=product).addcmul_(states, along).mul_(scale)
        return of_states, of_weight, None
