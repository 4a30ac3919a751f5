"""Rollouts packed for the page: a small index that is read at once, and blocks that are unpacked when looked at.

Everything is gzipped JSON in base64, so no letter of what a model wrote stands in the page's markup.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from uec_vlm.dumps import sample_rows
from uec_vlm.pictures import as_shown

_BLOCK = 200
_PLAIN_COLUMNS = ("step", "group", "place", "born", "uses", "correct", "kept")
_CODED_COLUMNS = ("id", "source", "reason", "finish", "why", "gold", "problem")
_ROUNDED_COLUMNS = ("advantage", "mean_entropy", "prompt_accuracy", "temperature")
# Thousandths of a nat in 16 bits: up to 65.5 nats, finer than any use of them.
_NATS = 1000.0
_SIDE = 640


@dataclass(frozen=True)
class Packed:
    """The data of the page's browser, each a base64 text. left_out: rollouts that did not fit into the budget."""

    index: str
    blocks: list[str]
    images: list[str]
    shown: int
    left_out: int

    @property
    def size(self) -> int:
        """Bytes that it takes in the page."""
        return len(self.index) + sum(map(len, self.blocks)) + sum(map(len, self.images))


def pack(rows: Sequence[dict[str, Any]], folder: Path, *, budget: int) -> Packed:
    """Packs rows of the dumps in `folder`. budget: bytes of base64; where it is short, an even sample is kept."""
    chosen = list(rows)
    while True:
        packed = _pack(chosen, folder, left_out=len(rows) - len(chosen), image_budget=budget // 2)
        if packed.size <= budget or len(chosen) <= 1:
            return packed
        share = min(0.9, 0.95 * budget / packed.size)
        chosen = list(sample_rows(chosen, max(1, int(len(chosen) * share))))  # type: ignore[arg-type]


def squeeze(value: Any) -> str:
    """A value as gzipped JSON in base64."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode("utf-8", "surrogatepass"), 6, mtime=0)).decode()


def _pack(rows: Sequence[dict[str, Any]], folder: Path, *, left_out: int, image_budget: int) -> Packed:
    images, places = _images(rows, folder, image_budget)
    index: dict[str, Any] = {"count": len(rows), "block": _BLOCK}
    for name in _PLAIN_COLUMNS:
        index[name] = [row.get(name) for row in rows]
    for name in _ROUNDED_COLUMNS:
        index[name] = [_rounded(row.get(name)) for row in rows]
    for name in _CODED_COLUMNS:
        index[name] = _coded([row.get(name) for row in rows])
    index["tokens"] = [len(row.get("token_ids") or ()) for row in rows]
    index["images"] = [[places.get(name) for name in row.get("images") or ()] for row in rows]
    index["solved"] = _solved(rows)
    blocks = [squeeze([_detail(row) for row in rows[start : start + _BLOCK]]) for start in range(0, len(rows), _BLOCK)]
    return Packed(squeeze(index), blocks, images, len(rows), left_out)


def _detail(row: dict[str, Any]) -> dict[str, Any]:
    pieces = row.get("pieces")
    logprobs = row.get("logprobs") or row.get("behaviour_logprobs") or []
    detail = {
        "entropy": _nats(row.get("entropies") or []),
        "logprob": _nats([-value for value in logprobs]),
        "extracted": row.get("extracted"),
        "rewards": [_rounded(row.get(name)) for name in ("accuracy", "format", "reward", "shaped_reward")],
    }
    # Without the text of each token there is only the whole to show.
    return {**detail, "pieces": pieces} if pieces else {**detail, "text": row.get("text") or ""}


def _nats(values: Sequence[float]) -> str:
    scaled = np.clip(np.nan_to_num(np.asarray(values, dtype=float)) * _NATS, 0, 65535)
    return base64.b64encode(scaled.round().astype("<u2").tobytes()).decode()


def _coded(values: Sequence[Any]) -> dict[str, Any]:
    """Repeated values once each, and the place of each row's."""
    known: dict[Any, int] = {}
    codes = [known.setdefault(value, len(known)) for value in values]
    return {"values": list(known), "codes": codes}


def _rounded(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")


def _solved(rows: Sequence[dict[str, Any]]) -> list[bool]:
    """Rows of a prompt that its regular rollouts failed and an extra one solved, in that step."""
    won = {(r["step"], r.get("group")) for r in rows if r.get("source") == "extra" and r.get("correct")}
    return [r.get("source") != "replay" and (r["step"], r.get("group")) in won for r in rows]


def _images(rows: Sequence[dict[str, Any]], folder: Path, budget: int) -> tuple[list[str], dict[str, int]]:
    """Pictures as `mime;base64,...` texts, and the place of each name; large ones are made smaller, or left out."""
    texts: list[str] = []
    places: dict[str, int] = {}
    used = 0
    for name in dict.fromkeys(name for row in rows for name in row.get("images") or ()):
        text = _image(folder / name)
        if text is not None and used + len(text) <= budget:
            places[name] = len(texts)
            texts.append(text)
            used += len(text)
    return texts, places


def _image(file: Path) -> str | None:
    """One picture, at most `_SIDE` pixels wide and high; None if it cannot be read."""
    try:
        data = file.read_bytes()
        with Image.open(io.BytesIO(data)) as picture:
            kind = picture.format
            if max(picture.size) > _SIDE or kind not in ("PNG", "JPEG", "WEBP"):
                small = as_shown(picture).convert("RGB")
                small.thumbnail((_SIDE, _SIDE))
                buffer = io.BytesIO()
                small.save(buffer, "WEBP", quality=80)
                data, kind = buffer.getvalue(), "WEBP"
    except (OSError, UnidentifiedImageError):
        return None
    return f"image/{kind.lower()};base64,{base64.b64encode(data).decode()}"
