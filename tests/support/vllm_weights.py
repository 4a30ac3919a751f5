"""The server double for whole runs: it reads the weights that it is given, and samples the same whatever they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from tests.support.vllm_double import VLLMDouble


class ReadingDouble(VLLMDouble):
    """pushed: the weights of every push, by name. gone_after: so many answers, and then it is gone for ever."""

    def __init__(self, reads: dict[str, list[int]], *, end_id: int, gone_after: int | None = None) -> None:
        self.pushed: list[dict[str, Tensor]] = []
        self.gone_after = gone_after
        super().__init__(reads, end_id=end_id)

    def load(self, folder: str) -> None:
        self.pushed.append(load_file(Path(folder) / "model.safetensors"))
        self.mark = 5  # its log-probabilities are then near those of a random model

    def completion(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.gone_after is not None and self.answered.total() >= self.gone_after:
            self.stop()
        return super().completion(body)
