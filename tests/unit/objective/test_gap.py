"""The gap between sampler and trainer: hand-made numbers."""

import torch

from uec_vlm.objective import gap_of


def test_the_gap_is_over_all_tokens_of_all_completions() -> None:
    # |differences|, sorted: .0 .1 .2 .4; half of four tokens are at most .1, 99 of 100 are at most .4
    gap = gap_of(
        [torch.tensor([-1.0, -2.0, -0.5]), torch.tensor([-3.0])],
        [torch.tensor([-1.1, -1.6, -0.5]), torch.tensor([-3.2])],
    )
    assert gap.tokens == 4
    found = torch.tensor([gap.total, gap.median, gap.p99, gap.largest])
    torch.testing.assert_close(found, torch.tensor([0.7, 0.1, 0.4, 0.4]), rtol=0, atol=1e-6)


def test_the_percentile_leaves_one_in_a_hundred_out() -> None:
    gap = gap_of([torch.arange(200.0)], [torch.zeros(200)])
    assert (gap.median, gap.p99, gap.largest) == (99.0, 197.0, 199.0)


def test_nothing_has_no_gap() -> None:
    assert gap_of([], []).largest == 0.0 == gap_of([torch.zeros(0)], [torch.zeros(0)]).median
