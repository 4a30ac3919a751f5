"""What a prepared folder holds, split by split: pictures, answers, lengths, sizes, tokens. One pass, numbers only."""

from __future__ import annotations

import json
import re
from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

PERCENTILES = (0, 5, 50, 95, 100)
_INTEGER = re.compile(r"[-+]?[0-9][0-9,]*")
_DECIMAL = re.compile(r"[-+]?[0-9]*\.[0-9]+")

CountTokens = Callable[[str], int]


@dataclass
class SplitStatistics:
    """Counts and lists of numbers of one split; nothing of the rows themselves is kept.

    measures: name -> one number per row or picture: `problem characters`, `problem words`, `text tokens` (if a
    tokenizer is given), `image width`, `image height`, `image tokens`, `prompt tokens` (text and pictures).
    """

    rows: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    pictures: Counter[int] = field(default_factory=Counter)
    choices: Counter[int] = field(default_factory=Counter)
    measures: dict[str, array[float]] = field(default_factory=dict)

    def add(
        self, row: Mapping[str, Any], *, image_tokens: Callable[[int, int], int], tokens: CountTokens | None
    ) -> None:
        """Enter a prepared row; the sizes of its pictures are those that the preparation wrote into `metadata`."""
        self.rows += 1
        self.answers[answer_kind(row["answer"], row["answer_value"], row["choices"])] += 1
        self.pictures[len(row["images"])] += 1
        self.choices[len(row["choices"])] += 1
        self._measure("problem characters", len(row["problem"]))
        self._measure("problem words", len(row["problem"].split()))
        visual = 0
        for width, height in json.loads(row["metadata"] or "{}").get("image_sizes", ()):
            self._measure("image width", width)
            self._measure("image height", height)
            self._measure("image tokens", count := image_tokens(width, height))
            visual += count
        if tokens is not None:
            self._measure("text tokens", text := tokens(row["problem"].replace("<image>", "")))
            self._measure("prompt tokens", text + visual)

    def _measure(self, name: str, value: float) -> None:
        self.measures.setdefault(name, array("d")).append(value)

    def summary(self) -> dict[str, Any]:
        """The counts, and of each measure its mean and `PERCENTILES`, as JSON holds them."""
        import numpy as np

        measures = {
            name: {
                "count": len(values),
                "mean": float(np.mean(values)),
                **{f"p{at}": float(np.percentile(values, at)) for at in PERCENTILES},
            }
            for name, values in self.measures.items()
        }
        counts = {
            name: {str(key): value for key, value in sorted(counter.items(), key=lambda item: str(item[0]))}
            for name, counter in (("answers", self.answers), ("pictures", self.pictures), ("choices", self.choices))
        }
        return {"rows": self.rows, **counts, "measures": measures}


def answer_kind(answer: str, value: float | None, choices: list[str]) -> str:
    """`choice`, `integer`, `decimal`, `number in another form` (a fraction, a root, a unit), or `text`."""
    if choices:
        return "choice"
    if _INTEGER.fullmatch(answer):
        return "integer"
    if _DECIMAL.fullmatch(answer):
        return "decimal"
    return "number in another form" if value is not None else "text"


def image_token_counter(*, min_pixels: int, max_pixels: int, side: int = 28) -> Callable[[int, int], int]:
    """Tokens of a picture by its width and height: one for each `side` x `side` pixels after Qwen's own scaling.

    side: 28 for Qwen2-VL and Qwen2.5-VL, 32 for Qwen3-VL.
    """
    from qwen_vl_utils.vision_process import smart_resize

    def count(width: int, height: int) -> int:
        tall, wide = smart_resize(height, width, factor=side, min_pixels=min_pixels, max_pixels=max_pixels)
        return int(tall // side) * int(wide // side)

    return count


def token_counter(model: str) -> CountTokens:
    """Tokens of a text by the tokenizer of a model folder or Hub id."""
    from transformers import AutoTokenizer

    from uec_vlm.errors import DataError

    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise DataError(f"--tokenizer {model}: cannot be loaded ({str(error)[:200]}); give a model folder") from error
    return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"])
