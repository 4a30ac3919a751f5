"""Kernels of a fixed order are asked for on a GPU only, and the settings of before come back."""

from __future__ import annotations

import pytest
import torch

from uec_vlm.trainer.fixed_order import fixed_order


@pytest.mark.parametrize(
    ("device", "wanted", "inside"), [("cuda", True, True), ("cuda", False, False), ("cpu", True, False)]
)
def test_where_it_holds(device: str, wanted: bool, inside: bool) -> None:
    with pytest.raises(KeyError), fixed_order(torch.device(device), wanted=wanted):
        assert torch.are_deterministic_algorithms_enabled() == inside
        raise KeyError
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory
