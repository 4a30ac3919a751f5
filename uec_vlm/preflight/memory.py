"""Memory of a training process, predicted from a model's configuration alone.

Weights are counted on a model without storage (`meta`). What a layer keeps for its backward pass is measured, not
guessed (`uec_vlm.preflight.saved`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from uec_vlm.config import ModelSection, RunConfig
from uec_vlm.policy import ADAPTED_LAYERS, FAMILIES
from uec_vlm.preflight.saved import head_width, patch_numbers, saved_by_layer, saved_by_tower

# Rows of logits that exist at a time in `score`, and copies of them during softmax, entropy and backward.
_HEAD_CHUNK, _HEAD_COPIES = 256, 5
# A growing cache has a third more room than it holds.
_CACHE_ROOM = 4 / 3
# Bytes of a four-bit weight: half a byte, a byte of scale for 64, and float32 scales of 256 of those.
_NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)
_MIB = 2**20


@dataclass(frozen=True)
class Shape:
    """Sizes of a model. weights: all parameters; vision: those of the tower; adapted: in + out of each adapted layer;
    packable: the weights of those layers.

    cache_width: numbers that one token adds to the cache, over all layers. config: of transformers.
    """

    weights: int
    vision: int
    adapted: tuple[int, ...]
    packable: int
    cache_width: int
    layers: int
    hidden: int
    vocabulary: int
    config: Any


@dataclass(frozen=True)
class Layout:
    """How processes share the state of training. Each flag: whether it is cut among the processes.

    host: whether gradients and moments lie in the host's memory. master: bytes that are kept beside each trained
    16-bit weight, moments included (None: two moments in the weight's own precision). float32: whether trained weights
    lie in the shards in float32, with gradients and moments, and are used in model.dtype. step: bytes that an optimizer
    step takes, beside gradients, for each trained weight of at most `group` that it moves at once: gradients in float32
    and one more copy (of the gradients while they are flattened, of the moments while AdamW takes their root).
    """

    weights: bool
    gradients: bool
    moments: bool
    host: bool = False
    master: int | None = None
    float32: bool = False
    step: int = 0
    group: int | None = None

    @property
    def keeps_float32(self) -> bool:
        """Whether 16-bit weights have float32 ones behind them."""
        return self.master is not None or self.float32


LAYOUTS: dict[str, Layout] = {
    "ddp": Layout(False, False, False),
    "zero2": Layout(False, True, True, master=12, step=6),
    "zero3": Layout(True, True, True, master=12, step=8, group=10**9),  # DeepSpeed's sub_group_size
    "fsdp2": Layout(True, True, True, float32=True),
    "offload": Layout(True, True, True, host=True, master=12),
}


@dataclass(frozen=True)
class Load:
    """The largest micro-batch and the largest wave of rollouts.

    prompts, prompt_tokens, completions, completion_tokens: padded rectangles of a micro-batch.
    cached_tokens: of the rollouts that are decoded together. prefix_tokens: of the prompts that may be kept read for
    extra rollouts. image_numbers: pixel values of one prompt. kept_prompts: how many are in the host's memory.
    """

    prompts: int
    prompt_tokens: int
    completions: int
    completion_tokens: int
    cached_tokens: int
    prefix_tokens: int
    image_numbers: int
    kept_prompts: int


@dataclass(frozen=True)
class Memory:
    """Bytes of one process, above what importing the libraries takes.

    replica: the whole weights to sample with, beside shards. pictures: what a frozen vision tower made of the pictures
    used last. cache: keys and values of rollouts, with those
    of prompts kept for the extra ones. host: the pictures of the prompts in use, and what is offloaded. On a CPU it
    adds to the peak. brought: an offloaded reference during its pass, when there are gradients and no activations yet.
    step: what an optimizer step takes beside the gradients, when there are no activations any more.
    """

    weights: int
    replica: int
    reference: int
    gradients: int
    optimizer: int
    pictures: int
    activations: int
    head: int
    cache: int
    host: int
    brought: int = 0
    step: int = 0

    @property
    def peak(self) -> int:
        """Updates hold gradients and activations, rollouts the cache; the larger counts."""
        always = self.weights + self.replica + self.reference + self.optimizer + self.pictures
        work = max(self.activations + self.head, self.brought, self.step)
        return always + max(self.gradients + work, self.cache)


def shape_of(config: Any) -> Shape:
    """Build the model of a transformers configuration without storage, and count."""
    import transformers

    sees = FAMILIES[config.model_type].sees
    loader = transformers.AutoModelForImageTextToText if sees else transformers.AutoModelForCausalLM
    with torch.device("meta"):
        model = loader.from_config(config)
    text = config.get_text_config()
    adapted = [m for name, m in model.named_modules() if isinstance(m, nn.Linear) and re.match(ADAPTED_LAYERS, name)]
    return Shape(
        weights=sum(p.numel() for p in model.parameters()),
        vision=sum(p.numel() for p in model.model.visual.parameters()) if sees else 0,
        adapted=tuple(module.in_features + module.out_features for module in adapted),
        packable=sum(module.in_features * module.out_features for module in adapted),
        cache_width=2 * text.num_hidden_layers * text.num_key_value_heads * head_width(text),
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        vocabulary=text.vocab_size,
        config=config,
    )


def trainable_weights(shape: Shape, model: ModelSection) -> int:
    """How many numbers the optimizer moves."""
    if model.lora is not None:
        return model.lora.rank * sum(shape.adapted)
    return shape.weights - (shape.vision if model.freeze_vision else 0)


def width_of(model: ModelSection) -> int:
    """Bytes of one weight."""
    return 4 if model.dtype == "float32" else 2


def state_bytes(trained: int, model: ModelSection) -> int:
    """What a checkpoint holds beside its weights: two moments of each trained weight, and an adapter's own weights.

    Whole bfloat16 weights are trained behind float32 ones, which are kept too, as their moments are.
    """
    if model.lora is None and width_of(model) == 2:
        return trained * 12
    return trained * width_of(model) * (3 if model.lora is not None else 2)


def predict_memory(
    shape: Shape, config: RunConfig, load: Load, *, layout: Layout, processes: int, reference: bool
) -> Memory:
    """Memory of each of `processes` processes. reference: whether a frozen copy of the model is kept (KL)."""
    width, trained = width_of(config.model), trainable_weights(shape, config.model)

    def share(cut: bool) -> int:
        return processes if cut else 1

    kept = 4 if layout.float32 else width
    moments = trained * (layout.master if layout.master is not None and width == 2 else 2 * kept)
    gradients, moments = trained * kept // share(layout.gradients), moments // share(layout.moments)
    copy = shape.weights * width if reference and config.model.lora is None else 0
    offloaded = copy if config.model.reference == "offloaded" else 0
    packed = int(shape.packable * (width - _NF4)) if config.model.quantization is not None else 0
    whole = shape.weights * width - packed
    shards = layout.weights and processes > 1
    # A layer that is cut among the processes is gathered whole while it is used.
    gathered = whole // shape.layers if shards else 0
    samples = not config.rollout.outside
    return Memory(
        weights=(whole + trained * (kept - width)) // share(layout.weights) + gathered,
        replica=whole if shards and samples else 0,
        reference=copy - offloaded,
        gradients=0 if layout.host else gradients,
        optimizer=0 if layout.host else moments,
        # Weights in shards cannot be asked out of turn, so no features are kept.
        pictures=0 if shards else features(shape, config.model, load),
        activations=activations(shape, config.model, load) + load.prompts * load.image_numbers * width,
        head=_HEAD_CHUNK * shape.vocabulary * 4 * _HEAD_COPIES,
        cache=_rollout_cache(shape, config, load) if samples else 0,
        host=load.kept_prompts * load.image_numbers * 4 + offloaded + (gradients + moments if layout.host else 0),
        brought=offloaded,
        step=_step(layout, trained // share(layout.moments)) if width == 2 else 0,
    )


def _step(layout: Layout, moved: int) -> int:
    return layout.step * min(moved, layout.group or moved)


def _rollout_cache(shape: Shape, config: RunConfig, load: Load) -> int:
    each = shape.cache_width * width_of(config.model)
    prefixes = min(load.prefix_tokens * each, config.rollout.prefix_mib * _MIB)
    return int(load.cached_tokens * each * _CACHE_ROOM) + prefixes


def features(shape: Shape, model: ModelSection, load: Load) -> int:
    """What a frozen tower made of the pictures in use, in bytes, at most `model.picture_mib`."""
    if not FAMILIES[shape.config.model_type].sees or _trains_tower(model):
        return 0
    vision = shape.config.vision_config
    tokens = load.image_numbers / patch_numbers(vision) / vision.spatial_merge_size**2
    levels = 1 + len(getattr(vision, "deepstack_visual_indexes", None) or ())
    return min(int(load.kept_prompts * tokens * levels * shape.hidden * width_of(model)), model.picture_mib * _MIB)


def activations(shape: Shape, model: ModelSection, load: Load) -> int:
    """What a forward pass of the micro-batch keeps for its backward pass, in bytes."""
    return _of_tower(shape, model, load) + _of_layers(shape, model, load)


def _of_tower(shape: Shape, model: ModelSection, load: Load) -> int:
    if not load.image_numbers or not _trains_tower(model):
        return 0
    each = saved_by_tower(shape.config, width=width_of(model), checkpointed=model.gradient_checkpointing)
    return load.prompts * load.image_numbers // patch_numbers(shape.config.vision_config) * each if each else 0


def _trains_tower(model: ModelSection) -> bool:
    return model.lora is None and not model.freeze_vision


def _of_layers(shape: Shape, model: ModelSection, load: Load) -> int:
    width = width_of(model)
    rows = load.completions
    if model.gradient_checkpointing:  # the input of each layer, and one layer in full, over packed rows
        packed = load.prompt_tokens + -(-rows // load.prompts) * load.completion_tokens
        inputs = load.prompts * packed * shape.hidden * width * shape.layers
        return inputs + saved_by_layer(shape.config, load.prompts, packed, past=0, width=width)
    prompts = saved_by_layer(shape.config, load.prompts, load.prompt_tokens, past=0, width=width)
    answers = saved_by_layer(shape.config, rows, load.completion_tokens, past=load.prompt_tokens, width=width)
    return (prompts + answers) * shape.layers + rows * load.completion_tokens * shape.hidden * width
