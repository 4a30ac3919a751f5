"""Tiny random models of every supported family with a byte-level tokenizer and a real processor; no download."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw
from tokenizers.pre_tokenizers import ByteLevel

VISION_FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
TEXT_FAMILIES = ("qwen2", "qwen3", "llama")

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)

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
    model = _build_model(family, tokenizer)
    ends = [tokenizer.convert_tokens_to_ids(name) for name in ("<|im_end|>", "<|endoftext|>")]
    model.generation_config.eos_token_id = ends
    model.generation_config.pad_token_id = ends[1]
    model.save_pretrained(folder)
    if family in VISION_FAMILIES:
        _processor(family, tokenizer).save_pretrained(folder)
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


def _build_model(family: str, tokenizer: Any) -> Any:
    import transformers as hf

    vocabulary = len(tokenizer)
    if family in TEXT_FAMILIES:
        config_class, model_class = {
            "qwen2": (hf.Qwen2Config, hf.Qwen2ForCausalLM),
            "qwen3": (hf.Qwen3Config, hf.Qwen3ForCausalLM),
            "llama": (hf.LlamaConfig, hf.LlamaForCausalLM),
        }[family]
        extra = {"head_dim": 12} if family == "qwen3" else {}
        return model_class(config_class(vocab_size=vocabulary, tie_word_embeddings=True, **_TEXT_SHAPE, **extra))
    config_class, model_class = {
        "qwen2_vl": (hf.Qwen2VLConfig, hf.Qwen2VLForConditionalGeneration),
        "qwen2_5_vl": (hf.Qwen2_5_VLConfig, hf.Qwen2_5_VLForConditionalGeneration),
        "qwen3_vl": (hf.Qwen3VLConfig, hf.Qwen3VLForConditionalGeneration),
    }[family]
    extra = {"head_dim": 12} if family == "qwen3_vl" else {}
    mrope = {**_MROPE, "mrope_interleaved": True} if family == "qwen3_vl" else dict(_MROPE)
    token = tokenizer.convert_tokens_to_ids
    config = config_class(
        text_config={"vocab_size": vocabulary, "rope_parameters": mrope, **_TEXT_SHAPE, **extra},
        vision_config=_vision_shape(family),
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    return model_class(config)


def _vision_shape(family: str) -> dict[str, Any]:
    shared = {"depth": 2, "num_heads": 2, "initializer_range": 0.1}
    width = _TEXT_SHAPE["hidden_size"]
    if family == "qwen2_vl":
        return {**shared, "embed_dim": 32, "hidden_size": width, "mlp_ratio": 2}
    if family == "qwen2_5_vl":
        return {
            **shared,
            "hidden_size": 32,
            "intermediate_size": 48,
            "out_hidden_size": width,
            "fullatt_block_indexes": [1],
        }
    return {
        **shared,
        "hidden_size": 32,
        "intermediate_size": 48,
        "out_hidden_size": width,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0, 1],
    }


def _processor(family: str, tokenizer: Any) -> Any:
    import transformers as hf

    patch = 16 if family == "qwen3_vl" else 14
    smallest, largest = (2 * patch) ** 2, 16 * (2 * patch) ** 2
    size = {"shortest_edge": smallest, "longest_edge": largest}
    images = hf.Qwen2VLImageProcessor(patch_size=patch, size=size)
    if family == "qwen3_vl":
        videos, processor = hf.Qwen3VLVideoProcessor(), hf.Qwen3VLProcessor
    else:
        videos = hf.Qwen2VLVideoProcessor()
        processor = hf.Qwen2_5_VLProcessor if family == "qwen2_5_vl" else hf.Qwen2VLProcessor
    return processor(image_processor=images, tokenizer=tokenizer, video_processor=videos, chat_template=CHAT_TEMPLATE)
