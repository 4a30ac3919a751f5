"""Policy losses against numbers by hand, and their gradients against finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from uec_vlm.objective.context import StepContext, covariance_terms, share_count, step_context, top_share
from uec_vlm.objective.policy_losses import (
    POLICY_LOSSES,
    cispo,
    clip_cov,
    clipped_ratio,
    kl_cov,
    reinforce,
    sequence_ratio,
    soft_gate,
)

# One sequence with A = 2 and one with A = -1; ratios r = 0.5, 1.1, 1.5, 4 in each.
RATIOS = torch.tensor([0.5, 1.1, 1.5, 4.0], dtype=torch.float64)
OLD = torch.full((2, 4), -3.0, dtype=torch.float64)
LOGP = OLD + RATIOS.log()
ADVANTAGES = torch.tensor([2.0, -1.0], dtype=torch.float64)
MASK = torch.ones(2, 4, dtype=torch.bool)


def rows(*values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-9)


def gradient(loss: Callable[[Tensor], Tensor], logprobs: Tensor) -> Tensor:
    leaf = logprobs.clone().requires_grad_(True)
    (out,) = torch.autograd.grad(loss(leaf).sum(), leaf)
    return out


def context_of(logprobs: Tensor, old: Tensor, advantages: Tensor, *, seed: int = 0) -> StepContext:
    entropy = torch.zeros_like(logprobs)
    return step_context(
        list(logprobs), list(old), advantages.tolist(), list(entropy), generator=torch.Generator().manual_seed(seed)
    )


def test_clipped_ratio_by_hand() -> None:
    # A = 2: -min(2 r, 2 clip(r)): r = 0.5 is not cut (the minimum), 1.5 and 4 are cut at 1.2.
    # A = -1: -min(-r, -clip(r)) = max(r, clip(r)): 0.5 is cut at 0.8, 4 is not cut.
    expected = rows([-1.0, -2.2, -2.4, -2.4], [0.8, 1.1, 1.5, 4.0])
    found = clipped_ratio(LOGP, OLD, ADVANTAGES, MASK)
    close(found.losses, expected)
    assert found.measurements["clip_high_fraction"].mean == 2 / 8
    assert found.measurements["clip_low_fraction"].mean == 1 / 8
    assert math.isclose(found.measurements["ratio"].mean, (0.5 + 1.1 + 1.5 + 4.0) / 4, abs_tol=1e-6)


def test_the_bounds_are_the_configured_ones() -> None:
    # Clip-higher: with high = 0.28 the positive tokens are cut at 1.28.
    found = clipped_ratio(LOGP, OLD, ADVANTAGES, MASK, clip_low=0.1, clip_high=0.28)
    close(found.losses, rows([-1.0, -2.2, -2.56, -2.56], [0.9, 1.1, 1.5, 4.0]))


def test_dual_clip_bounds_the_loss_of_negative_advantages_only() -> None:
    found = clipped_ratio(LOGP, OLD, ADVANTAGES, MASK, dual_clip=3.0)
    close(found.losses, rows([-1.0, -2.2, -2.4, -2.4], [0.8, 1.1, 1.5, 3.0]))
    assert found.measurements["dual_clip_fraction"].mean == 1 / 8
    slope = gradient(lambda x: clipped_ratio(x, OLD, ADVANTAGES, MASK, dual_clip=3.0).losses, LOGP)
    assert float(slope[1, 3]) == 0.0


def test_what_is_clipped_has_no_gradient_and_the_rest_minus_r_a() -> None:
    slope = gradient(lambda x: clipped_ratio(x, OLD, ADVANTAGES, MASK).losses, LOGP)
    close(slope, rows([-1.0, -2.2, 0.0, 0.0], [0.0, 1.1, 1.5, 4.0]))


def test_reinforce_ignores_the_old_policy() -> None:
    found = reinforce(LOGP, OLD, ADVANTAGES, MASK)
    close(found.losses, -ADVANTAGES[:, None] * LOGP)
    close(reinforce(LOGP, OLD + 1.0, ADVANTAGES, MASK).losses, found.losses)


def test_sequence_ratio_is_the_geometric_mean() -> None:
    # s = (0.5 x 1.1 x 1.5 x 4)^(1/4) = 3.3^(1/4) = 1.3478106; A = 2 is cut at 1.2; A = -1 is not.
    found = sequence_ratio(LOGP, OLD, ADVANTAGES, MASK, clip_low=0.2, clip_high=0.2)
    ratio = 3.3**0.25
    close(found.losses, rows([-2.4] * 4, [ratio] * 4))
    slope = gradient(lambda x: sequence_ratio(x, OLD, ADVANTAGES, MASK, clip_low=0.2, clip_high=0.2).losses, LOGP)
    # d(4 s)/d(log pi_t) = 4 s / 4 = s.
    close(slope, rows([0.0] * 4, [ratio] * 4))


def test_sequence_ratio_counts_only_sampled_tokens() -> None:
    mask = torch.tensor([[True, True, False, False], [True] * 4])
    found = sequence_ratio(LOGP, OLD, ADVANTAGES, mask, clip_low=1.0, clip_high=10.0)
    close(found.losses[0, :2], rows([-2.0 * math.sqrt(0.55)] * 2)[0])


def test_cispo_clips_the_weight_and_keeps_the_gradient() -> None:
    found = cispo(LOGP, OLD, ADVANTAGES, MASK, clip_high=0.2)
    weights = rows([0.5, 1.1, 1.2, 1.2], [0.5, 1.1, 1.2, 1.2])
    close(found.losses, -weights * ADVANTAGES[:, None] * LOGP)
    # No stop: the weight is a constant of the gradient, so finite differences of the loss itself would not agree.
    slope = gradient(lambda x: cispo(x, OLD, ADVANTAGES, MASK, clip_high=0.2).losses, LOGP)
    close(slope, -weights * ADVANTAGES[:, None])


def test_soft_gate_by_hand() -> None:
    # A = 2, tau 1: -8 sigmoid(r - 1); A = -1, tau 1.05: +(4 / 1.05) sigmoid(1.05 (r - 1)).
    sigmoid = lambda x: 1.0 / (1.0 + math.exp(-x))  # noqa: E731
    expected = rows(
        [-8.0 * sigmoid(r - 1.0) for r in RATIOS.tolist()],
        [4.0 / 1.05 * sigmoid(1.05 * (r - 1.0)) for r in RATIOS.tolist()],
    )
    close(soft_gate(LOGP, OLD, ADVANTAGES, MASK).losses, expected)


@pytest.mark.parametrize("name", ["reinforce", "clipped_ratio", "sequence_ratio", "soft_gate"])
def test_gradients_match_finite_differences(name: str) -> None:
    function = POLICY_LOSSES[name]
    wide = {"clip_low": 0.2, "clip_high": 0.2} if name == "sequence_ratio" else {}
    assert torch.autograd.gradcheck(
        lambda x: function(x, OLD, ADVANTAGES, MASK, **wide).losses, (LOGP.clone().requires_grad_(True),)
    )


@pytest.mark.parametrize("name", ["clip_cov", "kl_cov"])
def test_gradients_with_a_context_match_finite_differences(name: str) -> None:
    # The selection is made on the context and fixed; the loss is differentiated at fixed selection.
    context = context_of(LOGP, OLD, ADVANTAGES)
    settings = {"clip_cov": {"share": 0.25, "cov_low": -5.0}, "kl_cov": {"share": 0.25}}[name]
    assert torch.autograd.gradcheck(
        lambda x: POLICY_LOSSES[name](x, OLD, ADVANTAGES, MASK, context, **settings).losses,
        (LOGP.clone().requires_grad_(True),),
    )


def test_covariance_terms_by_hand() -> None:
    # A = 2 twice and -1 twice (mean 0.5); log pi = -1, -2, -3, -2 (mean -2).
    logprobs = rows([-1.0, -2.0], [-3.0, -2.0])
    context = context_of(logprobs, logprobs, ADVANTAGES)
    torch.testing.assert_close(covariance_terms(context), torch.tensor([1.5, 0.0, 1.5, 0.0]), rtol=0, atol=1e-6)


def test_covariance_is_taken_over_the_whole_step_not_the_micro_batch() -> None:
    # Within a sequence A does not vary, so a per-sequence micro-batch would find covariance 0 everywhere.
    logprobs = rows([-1.0, -2.0], [-3.0, -2.0])
    context = context_of(logprobs, logprobs, ADVANTAGES)
    whole = kl_cov(logprobs, logprobs - 0.1, ADVANTAGES, MASK[:, :2], context, share=0.5)
    parts = [
        kl_cov(
            logprobs[i : i + 1],
            logprobs[i : i + 1] - 0.1,
            ADVANTAGES[i : i + 1],
            MASK[:1, :2],
            context.at([i]),
            share=0.5,
        ).losses
        for i in range(2)
    ]
    close(torch.cat(parts), whole.losses)
    # The penalty |0.1| stands at the two tokens of covariance 1.5: the first of each sequence.
    penalty = whole.losses + math.exp(0.1) * ADVANTAGES[:, None]
    close(penalty, rows([0.1, 0.0], [0.1, 0.0]))


def test_the_share_is_a_fraction_of_all_tokens() -> None:
    assert [share_count(2e-3, 1000), share_count(2e-4, 1000), share_count(0.5, 5)] == [2, 0, 3]
    values = torch.arange(10.0)
    assert top_share(values, torch.zeros(10), 0.2).nonzero().flatten().tolist() == [8, 9]


def test_ties_are_broken_by_the_noise() -> None:
    noise = torch.tensor([0.9, 0.1, 0.5, 0.7])
    assert top_share(torch.zeros(4), noise, 0.5).tolist() == [False, True, True, False]


def test_clip_cov_drops_only_tokens_in_its_window_that_the_clip_left_alone() -> None:
    # Old = new, so nothing is clipped; cov = 1.5 at tokens 0 and 2. All candidates go with a large share.
    logprobs = rows([-1.0, -2.0], [-3.0, -2.0])
    context = context_of(logprobs, logprobs, ADVANTAGES)
    run = lambda **s: clip_cov(logprobs, logprobs, ADVANTAGES, MASK[:, :2], context, **s).losses  # noqa: E731
    close(run(share=1.0), rows([0.0, -2.0], [0.0, 1.0]))
    close(run(share=1.0, cov_low=1.6), rows([-2.0, -2.0], [1.0, 1.0]))
    close(run(share=1.0, cov_high=1.4), rows([-2.0, -2.0], [1.0, 1.0]))
    # One of the two candidates at a quarter of four tokens.
    assert int((run(share=0.25) == 0).sum()) == 1
    clipped = context_of(logprobs, logprobs - torch.tensor([[1.0, 0.0], [0.0, 0.0]]), ADVANTAGES)
    kept = clip_cov(logprobs, logprobs, ADVANTAGES, MASK[:, :2], clipped, share=1.0, clip_low=0.2, clip_high=0.2).losses
    close(kept, rows([-2.0, -2.0], [0.0, 1.0]))


def test_kl_cov_is_inert_while_the_policy_is_the_old_one() -> None:
    context = context_of(LOGP, LOGP, ADVANTAGES)
    with_penalty = gradient(lambda x: kl_cov(x, LOGP, ADVANTAGES, MASK, context, share=0.5).losses, LOGP)
    without = gradient(lambda x: kl_cov(x, LOGP, ADVANTAGES, MASK, context, share=0.5, penalty=0.0).losses, LOGP)
    close(with_penalty, without)
    close(without, -ADVANTAGES[:, None].expand(2, 4))
    moved = context_of(LOGP, OLD, ADVANTAGES)
    drifted = gradient(lambda x: kl_cov(x, OLD, ADVANTAGES, MASK, moved, share=0.5).losses, LOGP)
    assert not torch.allclose(
        drifted, gradient(lambda x: kl_cov(x, OLD, ADVANTAGES, MASK, moved, share=0.5, penalty=0.0).losses, LOGP)
    )


def test_a_context_of_other_rows_is_refused() -> None:
    context = context_of(LOGP, OLD, ADVANTAGES)
    with pytest.raises(ValueError, match=r"take context.at\(rows\)"):
        kl_cov(LOGP[:1], OLD[:1], ADVANTAGES[:1], MASK[:1], context)


def test_an_exploding_ratio_keeps_the_gradient_finite() -> None:
    logprobs, old = torch.zeros(2, 1), torch.full((2, 1), -2000.0)
    for name, function in POLICY_LOSSES.items():
        arguments = (context_of(logprobs, old, ADVANTAGES),) if "cov" in name else ()
        slope = gradient(lambda x: function(x, old, ADVANTAGES.float(), MASK[:, :1], *arguments).losses, logprobs)  # noqa: B023
        assert torch.isfinite(slope).all(), name
