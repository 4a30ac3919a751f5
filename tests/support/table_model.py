"""A language model that is a table: the logits after token i are row i, whatever stood before."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from uec_vlm.policy import Policy


class _OneHotBackbone(nn.Module):
    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        self.vocabulary = vocabulary

    def forward(self, input_ids: Tensor, **_: Any) -> Any:
        hidden = torch.nn.functional.one_hot(input_ids, self.vocabulary).to(torch.float64)
        return SimpleNamespace(last_hidden_state=hidden)


class TableModel(nn.Module):
    """Has the parts of a Hugging Face causal model that the policy uses."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.model = _OneHotBackbone(len(table))
        self.head = nn.Linear(len(table), len(table), bias=False, dtype=torch.float64)
        self.head.weight = nn.Parameter(table.double().t().contiguous())

    def get_output_embeddings(self) -> nn.Module:
        return self.head


def table_policy(table: Tensor, *, banned_ids: tuple[int, ...] = (), end_ids: tuple[int, ...] = ()) -> Policy:
    """A policy whose logits after token i are table[i]."""
    return Policy(TableModel(table), None, None, banned_ids, end_ids, pad_id=0, family="qwen2")
