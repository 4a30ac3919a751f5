"""Optimizer moments travel under the names of their parameters, whatever their order."""

from __future__ import annotations

import pytest
import torch

from uec_vlm.errors import CheckpointError
from uec_vlm.trainer.moments import named_moments, restore_moments


class Two(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.first = torch.nn.Parameter(torch.randn(2, 3, generator=generator))
        self.second = torch.nn.Parameter(torch.randn(3, generator=generator))
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        (self.first @ self.second).square().sum().backward()
        optimizer.step()


def test_moments_come_back_in_an_optimizer_of_another_order() -> None:
    one, other = Two(), Two()
    first = torch.optim.AdamW(one.parameters(), lr=0.1)
    one.step(first)
    moments = named_moments(first, one.named_parameters())
    assert set(moments) == {f"{n}.{key}" for n in ("first", "second") for key in ("exp_avg", "exp_avg_sq", "step")}
    other.load_state_dict(one.state_dict())
    second = torch.optim.AdamW([other.second, other.unused, other.first], lr=0.1)
    restore_moments(second, other.named_parameters(), moments)
    for model, optimizer in ((one, first), (other, second)):
        for _ in range(3):
            model.step(optimizer)
    assert torch.equal(one.first, other.first)
    assert torch.equal(one.second, other.second)
    fresh = Two()
    fresh.load_state_dict(one.state_dict())
    fresh.step(torch.optim.AdamW(fresh.parameters(), lr=0.1))
    one.step(first)
    assert not torch.equal(fresh.first, one.first), "without moments the step must differ"


def test_moments_of_another_model_are_refused_by_name() -> None:
    one = Two()
    optimizer = torch.optim.AdamW([one.first], lr=0.1)
    with pytest.raises(CheckpointError, match="'second', which is not trained here"):
        restore_moments(optimizer, one.named_parameters(), {"second.exp_avg": torch.zeros(3)})
    with pytest.raises(CheckpointError, match=r"'first' have the shape \(3,\)"):
        restore_moments(optimizer, one.named_parameters(), {"first.exp_avg": torch.zeros(3)})
