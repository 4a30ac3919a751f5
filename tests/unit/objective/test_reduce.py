"""Reductions against numbers by hand."""

from __future__ import annotations

import pytest
import torch

from uec_vlm.objective.reduce import StepTotals, constant, masked_sum, sequence_mean, token_mean

VALUES = torch.tensor([[1.0, 2.0, 3.0], [10.0, 99.0, 99.0]])
MASK = torch.tensor([[True, True, True], [True, False, False]])
TOTALS = StepTotals(tokens=4, sequences=2)


def test_token_mean_weighs_tokens_alike() -> None:
    assert float(token_mean(VALUES, MASK, TOTALS)) == 4.0  # (1 + 2 + 3 + 10) / 4


def test_sequence_mean_weighs_sequences_alike() -> None:
    assert float(sequence_mean(VALUES, MASK, TOTALS)) == 6.0  # (2 + 10) / 2


def test_constant_weighs_by_the_limit() -> None:
    assert float(constant(VALUES, MASK, TOTALS, length=8)) == 1.0  # 16 / (2 x 8)


def test_constant_without_a_length_takes_the_limit_of_the_step() -> None:
    assert float(constant(VALUES, MASK, StepTotals(tokens=4, sequences=2, limit=4))) == 2.0  # 16 / (2 x 4)
    with pytest.raises(ValueError, match=r"give reduction\.length, or StepTotals its limit"):
        constant(VALUES, MASK, TOTALS)


def test_the_denominator_is_the_whole_step() -> None:
    # Half of a step of 8 tokens and 4 sequences: half of the above.
    twice = StepTotals(tokens=8, sequences=4)
    assert float(token_mean(VALUES, MASK, twice)) == 2.0
    assert float(sequence_mean(VALUES, MASK, twice)) == 3.0
    assert float(constant(VALUES, MASK, twice, length=8)) == 0.5


def test_nan_behind_the_mask_reaches_neither_value_nor_gradient() -> None:
    values = VALUES.masked_fill(~MASK, float("nan")).requires_grad_(True)
    for reduce in (token_mean, sequence_mean):
        loss = reduce(values, MASK, TOTALS)
        (gradient,) = torch.autograd.grad(loss, values)
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()
        assert (gradient[~MASK] == 0).all()


def test_an_empty_micro_batch_and_an_empty_row_are_zero() -> None:
    empty = torch.zeros(0, 3)
    nothing = torch.zeros(2, 3, dtype=torch.bool)
    assert float(masked_sum(empty, empty.bool())) == 0.0
    for reduce in (token_mean, sequence_mean):
        assert float(reduce(empty, empty.bool(), TOTALS)) == 0.0
        assert float(reduce(VALUES, nothing, StepTotals(0, 0))) == 0.0
