"""A checkpoint folder as a server wants it that must load new weights in place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from uec_vlm.durable import share_weights
from uec_vlm.policy.load import save_policy
from uec_vlm.policy.model import Policy

_HEAD, _HEAD_FILE, _WHOLE = "lm_head.weight", "lm_head.safetensors", "model.safetensors"
_EMBEDDINGS = ("embed_tokens.weight",)


def save_untied(policy: Policy, folder: str | Path) -> Path:
    """Write the policy as `save_policy` does, but with a head of its own where it shares the embeddings.

    The same function, and larger by one matrix. vLLM on the CPU packs a shared head once, when it starts, and goes on
    using the packed copy after new weights were loaded (seen in 0.32); a head of its own is loaded each time.
    """
    target = save_policy(policy, folder)
    config = json.loads((target / "config.json").read_text(encoding="utf-8"))
    if not _tied(config):
        return target
    whole, index = target / _WHOLE, target / f"{_WHOLE}.index.json"
    if whole.is_file():
        weights = load_file(whole)
        save_file({**weights, _HEAD: _embeddings(weights).clone()}, whole, metadata={"format": "pt"})
    else:
        listed = json.loads(index.read_text(encoding="utf-8"))
        holder = next(file for name, file in listed["weight_map"].items() if _is_embedding(name))
        save_file({_HEAD: _embeddings(load_file(target / holder))}, target / _HEAD_FILE, metadata={"format": "pt"})
        listed["weight_map"][_HEAD] = _HEAD_FILE
        index.write_text(json.dumps(listed, indent=2), encoding="utf-8")
    (target / "config.json").write_text(json.dumps(_untied(config), indent=2), encoding="utf-8")
    share_weights(target)
    return target


def _embeddings(weights: dict[str, Tensor]) -> Tensor:
    return next(value for name, value in weights.items() if _is_embedding(name))


def _is_embedding(name: str) -> bool:
    return name.endswith(_EMBEDDINGS) and "visual" not in name


def _tied(config: dict[str, Any]) -> bool:
    text = config.get("text_config", {})
    return bool(text.get("tie_word_embeddings", config.get("tie_word_embeddings", False)))


def _untied(config: dict[str, Any]) -> dict[str, Any]:
    text = {"text_config": {**config["text_config"], "tie_word_embeddings": False}} if "text_config" in config else {}
    return {**config, **text, "tie_word_embeddings": False}
