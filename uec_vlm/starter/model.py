"""The starter policy before it has learnt anything: configuration, tokenizer, processor and bulk picture path.

A Qwen2.5-VL of about a million parameters. Everything is made from configuration classes; nothing is downloaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float, UInt8
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

VOCABULARY = 512
PATCH = 14
MERGE = 2
SIDE = 112
CELL = PATCH * MERGE
CELLS = (SIDE // CELL) ** 2
# Paper is 0 and ink is about -3: with the usual normalisation the white of the paper drowns the few pixels of ink.
WHITE, SPREAD = 1.0, 0.3

# Qwen's own special tokens that a text or picture prompt uses, at the end of the vocabulary as in the large models.
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

# Qwen's form, without the default system prompt: every token counts for a model of this size.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' or 'image' in part or 'image_url' in part %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'video' or 'video' in part %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

# The split that Qwen2Tokenizer makes before the merges; it is written here because the merges are learnt on it.
_QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def train_tokenizer(texts: Iterable[str]) -> Qwen2Tokenizer:
    """A byte-level BPE of `VOCABULARY` entries: 256 bytes, merges learnt on `texts`, Qwen's special tokens.

    Names of points and variables are left out of the learning, so that every capital stays a token of its own: a label
    read letter by letter needs no merge like "AB". Digits stay single by the split. Equal texts give equal merges.
    """
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.NFC()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_QWEN_SPLIT), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    spoken = "user\nassistant\n think boxed \\boxed{ </ "
    plain = (re.sub(r"\b[A-Z]+\b|[=<>~}]", " ", text) for text in texts)
    bpe.train_from_iterator((f"{spoken}{text}" for text in plain), trainer)
    vocabulary = bpe.get_vocab()
    merges = _merges_of(bpe)
    # A small corpus may yield fewer merges than asked for; unused ids keep the size fixed.
    for index in range(len(vocabulary), VOCABULARY - len(SPECIAL_TOKENS)):
        vocabulary[f"<|unused_{index}|>"] = index
    for index, token in enumerate(SPECIAL_TOKENS):
        vocabulary[token] = VOCABULARY - len(SPECIAL_TOKENS) + index
    tokenizer = Qwen2Tokenizer(
        vocab=vocabulary,
        merges=merges,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL_TOKENS[1:]),
        model_max_length=4096,
        padding_side="left",
    )
    tokenizer.add_tokens([AddedToken(token, special=True) for token in SPECIAL_TOKENS], special_tokens=True)
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _merges_of(bpe: Tokenizer) -> list[Any]:
    import json

    merges = json.loads(bpe.to_str())["model"]["merges"]
    return [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in merges]


def build_processor(tokenizer: Qwen2Tokenizer) -> Qwen2_5_VLProcessor:
    """Qwen2.5-VL's processor around the small tokenizer; pictures of `SIDE` pixels keep their size."""
    size = {"shortest_edge": CELL * CELL * 4, "longest_edge": SIDE * SIDE}
    settings: dict[str, Any] = {"size": size, "patch_size": PATCH, "merge_size": MERGE, "temporal_patch_size": 2}
    settings |= {"image_mean": [WHITE] * 3, "image_std": [SPREAD] * 3}
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(**settings),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(**settings),
        chat_template=CHAT_TEMPLATE,
    )


def build_model(
    tokenizer: Qwen2Tokenizer,
    *,
    seed: int,
    hidden: int = 128,
    layers: int = 3,
    intermediate: int = 320,
    vision_hidden: int = 96,
    vision_depth: int = 4,
    vision_intermediate: int = 192,
) -> Qwen2_5_VLForConditionalGeneration:
    """Random weights, deterministic by `seed`; all vision blocks attend to the whole picture."""
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS}
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": VOCABULARY,
            "hidden_size": hidden,
            "intermediate_size": intermediate,
            "num_hidden_layers": layers,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [8, 4, 4]},
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
            "initializer_range": 0.05,
        },
        vision_config={
            "depth": vision_depth,
            "hidden_size": vision_hidden,
            "intermediate_size": vision_intermediate,
            "num_heads": 4,
            "patch_size": PATCH,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": 2,
            "window_size": SIDE,
            "fullatt_block_indexes": list(range(vision_depth)),
            "out_hidden_size": hidden,
            "initializer_range": 0.05,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
        initializer_range=0.05,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Qwen2_5_VLForConditionalGeneration(config).float()
    generation = model.generation_config
    generation.eos_token_id = [ids["<|im_end|>"], ids["<|endoftext|>"]]
    generation.pad_token_id = ids["<|endoftext|>"]
    generation.bos_token_id = ids["<|endoftext|>"]
    return model


def pictures_to_patches(pictures: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B N D"]:
    """What the image processor makes of pictures that need no resizing, for many at once, without the second frame.

    Patches come in the order of the processor: merged cells row by row, in each its 2 x 2 patches; a patch is
    channel, row, column. The processor shows a picture as two equal frames, see `both_frames`.
    """
    count, height, width, _ = pictures.shape
    pixels = (pictures.permute(0, 3, 1, 2).to(torch.float32) / 255.0 - WHITE) / SPREAD
    rows, columns = height // CELL, width // CELL
    cut = pixels.view(count, 3, rows, MERGE, PATCH, columns, MERGE, PATCH).permute(0, 2, 5, 3, 6, 1, 4, 7)
    return cut.reshape(count, rows * columns * MERGE * MERGE, 3 * PATCH * PATCH)


def both_frames(patches: Float[Tensor, "B N D"]) -> Float[Tensor, "B N E"]:
    """The processor's own form of the patches: channel, two equal frames, row, column."""
    count, length, _ = patches.shape
    frames = patches.view(count, length, 3, 1, PATCH * PATCH).expand(-1, -1, -1, 2, -1)
    return frames.reshape(count, length, -1)


def vision_states(
    model: Qwen2_5_VLForConditionalGeneration, patches: Float[Tensor, "B N D"]
) -> tuple[Float[Tensor, "B N H"], Float[Tensor, "B C K"]]:
    """The tower on pictures of `SIDE` pixels as one dense batch: states of the patches, and of the merged cells.

    Several times faster than image by image. Exact where all blocks attend to the whole picture, as in the starter; a
    test compares it with the tower's own forward.
    """
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import get_vision_position_ids, rotate_half

    tower = model.model.visual
    count, length, _ = patches.shape
    grid = torch.tensor([[1, SIDE // PATCH, SIDE // PATCH]])
    cos, sin = tower.rotary_pos_emb(patches[0], get_vision_position_ids(grid, MERGE, kwargs={}))
    cos, sin = cos.unsqueeze(-2), sin.unsqueeze(-2)
    # Both frames are equal, so their weights may be added first.
    hidden = patches @ tower.patch_embed.proj.weight.sum(2).flatten(1).T
    for block in tower.blocks:
        attention = block.attn
        qkv = attention.qkv(block.norm1(hidden)).view(count, length, 3, attention.num_heads, -1)
        query, key, value = qkv.unbind(2)
        query = query * cos + rotate_half(query) * sin
        key = key * cos + rotate_half(key) * sin
        mixed = torch.nn.functional.scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
        )
        hidden = hidden + attention.proj(mixed.transpose(1, 2).reshape(count, length, -1))
        hidden = hidden + block.mlp(block.norm2(hidden))
    merged = tower.merger(hidden.reshape(count * length, -1))
    return hidden, merged.view(count, CELLS, -1)
