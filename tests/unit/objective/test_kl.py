"""KL estimators against numbers by hand, their gradients, and the penalty in the reward."""

from __future__ import annotations

import math

import pytest
import torch

from uec_vlm.objective.kl import k1, k2, k3, none, penalised_rewards

LOGP = torch.tensor([[-1.0, -0.5]], dtype=torch.float64)
REF = torch.tensor([[-1.2, 0.0]], dtype=torch.float64)


def test_the_three_estimators_by_hand() -> None:
    # d = log pi_ref - log pi = -0.2, 0.5
    torch.testing.assert_close(k1(LOGP, REF), torch.tensor([[0.2, -0.5]], dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(k2(LOGP, REF), torch.tensor([[0.02, 0.125]], dtype=torch.float64), rtol=0, atol=1e-12)
    # e^-0.2 + 0.2 - 1 = 0.0187308; e^0.5 - 0.5 - 1 = 0.1487213
    expected = torch.tensor([[0.0187307531, 0.1487212707]], dtype=torch.float64)
    torch.testing.assert_close(k3(LOGP, REF), expected, rtol=0, atol=1e-9)


def test_near_equality_all_agree_to_second_order() -> None:
    # In expectation over pi, E[k1] = KL = E[d^2] / 2 + O(d^3): taken on a full vocabulary, no sampling.
    logits = torch.linspace(-1, 1, 7, dtype=torch.float64)
    pi = torch.log_softmax(logits, 0)
    ref = torch.log_softmax(logits + 1e-3 * torch.sin(5 * logits), 0)
    means = [float((pi.exp() * estimator(pi[None], ref[None])[0]).sum()) for estimator in (k1, k2, k3)]
    kl = float((pi.exp() * (pi - ref)).sum())
    assert kl > 1e-8
    for value in means:
        assert abs(value - kl) < 1e-3 * kl


@pytest.mark.parametrize("estimator", [k1, k2, k3])
def test_gradient_matches_finite_differences(estimator: object) -> None:
    assert torch.autograd.gradcheck(lambda x: estimator(x, REF), (LOGP.clone().requires_grad_(True),))  # type: ignore[operator]


@pytest.mark.parametrize("distance", [30.0, 2000.0, -30.0, -2000.0])
def test_the_clamp_bounds_the_value_and_keeps_the_gradient_finite(distance: float) -> None:
    logprobs = torch.zeros(1, 1, requires_grad=True)
    for estimator in (k1, k2, k3):
        value = estimator(logprobs, torch.full((1, 1), distance))
        (gradient,) = torch.autograd.grad(value.sum(), logprobs)
        assert abs(value.item()) == 10.0
        assert float(gradient) == 0.0


def test_the_inner_clamp_of_k3_changes_no_value_below_the_outer_one() -> None:
    difference = torch.linspace(-10.9, 2.6, 200, dtype=torch.float64)[None]
    plain = (difference.exp() - difference - 1.0).clamp(max=10.0)
    torch.testing.assert_close(k3(torch.zeros_like(difference), difference), plain, rtol=0, atol=1e-12)


def test_none_is_exactly_zero() -> None:
    assert torch.equal(none(LOGP, REF), torch.zeros_like(LOGP))


def test_penalty_in_the_reward_sums_over_tokens_and_has_no_gradient() -> None:
    rewards = torch.tensor([1.0, 0.0], dtype=torch.float64)
    mine = [
        torch.tensor([-1.0, -0.5], dtype=torch.float64, requires_grad=True),
        torch.tensor([-2.0], dtype=torch.float64),
    ]
    other = [torch.tensor([-1.2, 0.0], dtype=torch.float64), torch.tensor([-3.0], dtype=torch.float64)]
    # k1 sums: 0.2 - 0.5 = -0.3 and 1.0; coefficient 0.1.
    shaped = penalised_rewards(rewards, mine, other, estimator=k1, coef=0.1)
    torch.testing.assert_close(shaped, torch.tensor([1.03, -0.1], dtype=torch.float64), rtol=0, atol=1e-12)
    assert not shaped.requires_grad
    assert math.isclose(float(penalised_rewards(rewards, mine, other, estimator=k1, coef=0.0)[0]), 1.0)
    assert penalised_rewards(torch.zeros(0), [], [], estimator=k1, coef=0.1).shape == (0,)
