"""Tiny random models of every supported family with a byte-level tokenizer and a real processor; no download."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw
from tokenizers.pre_tokenizers import ByteLevel

from uec_vlm.starter.model import SPECIAL_TOKENS

# What Qwen's own template does with system, user and assistant turns and interleaved pictures, and nothing else.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

_TEXT_SHAPE: dict[str, Any] = {
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "initializer_range": 0.15,
    "bos_token_id": None,
    "eos_token_id": 258,
    "pad_token_id": 256,
}
_MROPE = {"rope_type": "default", "mrope_section": [2, 2, 2], "rope_theta": 10000.0}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "decoder_sparse_step": 1}
_TOWER: dict[str, Any] = {"depth": 2, "num_heads": 2, "initializer_range": 0.1}
_TOWER_OF_3 = {
    **_TOWER,
    "hidden_size": 32,
    "intermediate_size": 48,
    "out_hidden_size": 48,
    "num_position_embeddings": 64,
    "deepstack_visual_indexes": [0, 1],
}


@dataclass(frozen=True)
class TinyFamily:
    """What a tiny model of a family is made of.

    name: of its classes in transformers, `<name>Config` and so on. text: settings of its language model beside
    `_TEXT_SHAPE`. vision: settings of its tower, None for a text-only family. patch: side of an image patch.
    """

    name: str
    text: Mapping[str, Any] = field(default_factory=dict)
    vision: Mapping[str, Any] | None = None
    patch: int = 14
    processor: str = ""


_TOWER_OF_2 = {**_TOWER, "embed_dim": 32, "hidden_size": 48, "mlp_ratio": 2}
_TOWER_OF_2_5 = {
    **_TOWER,
    "hidden_size": 32,
    "intermediate_size": 48,
    "out_hidden_size": 48,
    "fullatt_block_indexes": [1],
}
_TEXT_OF_3 = {"head_dim": 12, "rope_parameters": {**_MROPE, "mrope_interleaved": True}}

TINY_FAMILIES: dict[str, TinyFamily] = {
    "qwen2_vl": TinyFamily("Qwen2VL", {"rope_parameters": _MROPE}, _TOWER_OF_2, processor="Qwen2VL"),
    "qwen2_5_vl": TinyFamily("Qwen2_5_VL", {"rope_parameters": _MROPE}, _TOWER_OF_2_5, processor="Qwen2_5_VL"),
    "qwen3_vl": TinyFamily("Qwen3VL", _TEXT_OF_3, _TOWER_OF_3, patch=16, processor="Qwen3VL"),
    "qwen3_vl_moe": TinyFamily("Qwen3VLMoe", {**_TEXT_OF_3, **_EXPERTS}, _TOWER_OF_3, patch=16, processor="Qwen3VL"),
    "qwen2": TinyFamily("Qwen2"),
    "qwen2_moe": TinyFamily("Qwen2Moe", {**_EXPERTS, "shared_expert_intermediate_size": 32}),
    "qwen3": TinyFamily("Qwen3", {"head_dim": 12}),
    "qwen3_moe": TinyFamily("Qwen3Moe", {"head_dim": 12, **_EXPERTS}),
    "llama": TinyFamily("Llama"),
    "mistral": TinyFamily("Mistral", {"sliding_window": None}),
}
VISION_FAMILIES = tuple(name for name, made in TINY_FAMILIES.items() if made.vision is not None)
TEXT_FAMILIES = tuple(name for name, made in TINY_FAMILIES.items() if made.vision is None)


def byte_tokenizer(*, special_tokens: Sequence[str] = SPECIAL_TOKENS) -> Any:
    """A tokenizer of the 256 bytes and the special tokens: it reads and writes every text."""
    from transformers import Qwen2Tokenizer

    vocabulary = {symbol: place for place, symbol in enumerate(sorted(ByteLevel.alphabet()))}
    vocabulary |= {token: len(vocabulary) + place for place, token in enumerate(special_tokens)}
    return Qwen2Tokenizer(
        vocab=vocabulary,
        merges=[],
        unk_token=None,
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        additional_special_tokens=list(special_tokens),
        chat_template=CHAT_TEMPLATE,
    )


def build_model_folder(folder: Path, family: str, *, seed: int = 0) -> Path:
    """Write a tiny random model of `family` with tokenizer, processor, template and generation configuration."""
    tokenizer = byte_tokenizer()
    torch.manual_seed(seed)
    model = _build_model(TINY_FAMILIES[family], tokenizer)
    ends = [tokenizer.convert_tokens_to_ids(name) for name in ("<|im_end|>", "<|endoftext|>")]
    model.generation_config.eos_token_id = ends
    model.generation_config.pad_token_id = ends[1]
    model.save_pretrained(folder)
    if family in VISION_FAMILIES:
        _processor(TINY_FAMILIES[family], tokenizer).save_pretrained(folder)
    else:
        tokenizer.save_pretrained(folder)
    return folder


def picture(width: int = 56, height: int = 56, *, seed: int = 0) -> bytes:
    """A PNG with a few lines, as bytes; different for each seed."""
    generator = torch.Generator().manual_seed(seed)
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    for _ in range(3):
        x0, x1 = torch.randint(0, width, (2,), generator=generator).tolist()
        y0, y1 = torch.randint(0, height, (2,), generator=generator).tolist()
        draw.line([(x0, y0), (x1, y1)], fill=(200, 30 * (seed % 8), 20), width=3)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def tiny_config(family: TinyFamily, tokenizer: Any) -> Any:
    """The configuration of a tiny model, as transformers has it."""
    import transformers as hf

    vocabulary = len(tokenizer)
    config_class = getattr(hf, f"{family.name}Config")
    if family.vision is None:
        return config_class(vocab_size=vocabulary, tie_word_embeddings=True, **_TEXT_SHAPE, **family.text)
    token = tokenizer.convert_tokens_to_ids
    return config_class(
        text_config={"vocab_size": vocabulary, **_TEXT_SHAPE, **family.text},
        vision_config=dict(family.vision),
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
    )


def _build_model(family: TinyFamily, tokenizer: Any) -> Any:
    import transformers as hf

    kind = "ForCausalLM" if family.vision is None else "ForConditionalGeneration"
    return getattr(hf, f"{family.name}{kind}")(tiny_config(family, tokenizer))


def _processor(family: TinyFamily, tokenizer: Any) -> Any:
    import transformers as hf

    smallest, largest = (2 * family.patch) ** 2, 16 * (2 * family.patch) ** 2
    size = {"shortest_edge": smallest, "longest_edge": largest}
    images = hf.Qwen2VLImageProcessor(patch_size=family.patch, size=size)
    videos = hf.Qwen3VLVideoProcessor() if family.patch == 16 else hf.Qwen2VLVideoProcessor()
    processor = getattr(hf, f"{family.processor}Processor")
    return processor(image_processor=images, tokenizer=tokenizer, video_processor=videos, chat_template=CHAT_TEMPLATE)
