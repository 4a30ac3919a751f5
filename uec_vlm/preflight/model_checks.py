"""Checks of the model folder: family, weight files, chat template, special tokens. No weight is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from uec_vlm.policy import FAMILIES, Reader
from uec_vlm.preflight.findings import Finding

_PROBE = "7"


def weight_files(folder: Path) -> Iterator[Finding]:
    """Every file that the index names is there, and every safetensors header can be read."""
    from safetensors import SafetensorError, safe_open

    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    else:
        names = sorted(path.name for path in folder.glob("*.safetensors")) or ["model.safetensors"]
    tensors = 0
    for name in names:
        try:
            with safe_open(folder / name, framework="pt") as file:
                tensors += len(file.keys())
        except (OSError, SafetensorError) as error:
            yield Finding("model", "error", f"{folder / name}: not a whole weight file ({error})", "Download it again.")
            return
    yield Finding("model", "ok", f"{folder}: {tensors} tensors in {len(names)} file(s)")


def chat_template(reader: Reader) -> Iterator[Finding]:
    """The template opens the answer's turn; what it writes behind an answer begins with an end token."""
    ends = reader.end_ids
    speaker = reader.processor if getattr(reader.processor, "chat_template", None) else reader.tokenizer
    if not getattr(speaker, "chat_template", None):
        yield Finding(
            "chat template", "error", "the model has no chat template", "Put a chat_template.jinja into its folder."
        )
        return
    asked: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "text", "text": "x"}]}]
    if not FAMILIES[reader.config.model_type].sees:
        asked = [{"role": "user", "content": "x"}]
    opened = speaker.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    closed = speaker.apply_chat_template([*asked, {"role": "assistant", "content": _PROBE}], tokenize=False)
    if opened == speaker.apply_chat_template(asked, tokenize=False, add_generation_prompt=False):
        yield Finding(
            "chat template", "error", "add_generation_prompt changes nothing, so no answer's turn is opened",
            "Take the chat template of the instruction-tuned model.",
        )  # fmt: skip
        return
    tail = closed[closed.rindex(_PROBE) + 1 :] if _PROBE in closed else ""
    ids = reader.tokenizer(tail, add_special_tokens=False)["input_ids"] if tail else []
    if not ids or ids[0] not in ends:
        shown = repr(reader.tokenizer.decode(ids[:1])) if ids else "nothing"
        known = [reader.tokenizer.decode([end]) for end in ends]
        yield Finding(
            "chat template", "error",
            f"behind an answer it writes {shown}, but completions end at {known}: none would ever stop",
            "Add that token to eos_token_id in generation_config.json.",
        )  # fmt: skip
        return
    yield Finding("chat template", "ok", f"an answer ends with {reader.tokenizer.decode(ids[:1])!r}")


def special_tokens(reader: Reader) -> Iterator[Finding]:
    """The processor's picture token is the configuration's, and no token id lies beyond the embedding."""
    config, tokenizer = reader.config, reader.tokenizer
    faults = []
    if reader.processor is not None:
        for name in ("image_token_id", "video_token_id"):
            wanted, found = getattr(config, name, None), getattr(reader.processor, name, None)
            if wanted != found:
                faults.append(f"{name} is {found} in the processor and {wanted} in config.json")
    rows = config.get_text_config().vocab_size
    highest = max(tokenizer.get_vocab().values())
    if highest >= rows:
        faults.append(f"the tokenizer has ids up to {highest}, but the embedding has {rows} rows")
    for fault in faults:
        yield Finding("special tokens", "error", fault, "Take tokenizer, processor and config.json of one checkpoint.")
    if not faults:
        yield Finding("special tokens", "ok", f"{rows} embeddings, tokenizer ids up to {highest}")
