"""Entropy terms by hand, and the closed form of dH against an actual update of a softmax policy."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tests.support.objective_worlds import CONTROLLED
from uec_vlm.objective.context import step_context
from uec_vlm.objective.control import ControllerState
from uec_vlm.objective.entropy import (
    asymmetric_weights,
    bonus,
    controlled_bonus,
    entropy_advantage,
    forking_tokens,
    none,
    predicted_dh,
    pull_on_logprobs,
)
from uec_vlm.objective.policy_losses import PolicyLoss, clipped_ratio
from uec_vlm.records import TokenScores

MASK = torch.ones(2, 2, dtype=torch.bool)
ADVANTAGES = torch.tensor([[2.0, 2.0], [-1.0, -1.0]], dtype=torch.float64)


def scores(entropy: list[list[float]], logprobs: list[list[float]] | None = None) -> TokenScores:
    h = torch.tensor(entropy, dtype=torch.float64)
    lp = torch.full_like(h, -1.0) if logprobs is None else torch.tensor(logprobs, dtype=torch.float64)
    return TokenScores(lp, h, torch.zeros_like(h))


def rows(*values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def close(actual: Tensor, expected: Tensor, atol: float = 1e-12) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


def test_none_changes_nothing() -> None:
    term = none(scores([[1.0, 1.0], [1.0, 1.0]]), ADVANTAGES, MASK)
    assert term.losses is None
    assert term.advantages is ADVANTAGES


def test_bonus_is_minus_coef_times_entropy_and_nothing_at_zero() -> None:
    given = scores([[0.5, 1.0], [2.0, 0.0]])
    term = bonus(given, ADVANTAGES, MASK, coef=0.1)
    assert term.losses is not None
    close(term.losses, rows([-0.05, -0.1], [-0.2, 0.0]))
    assert bonus(given, ADVANTAGES, MASK, coef=0.0).losses is None


def test_controlled_bonus_takes_the_coefficient_of_the_controller() -> None:
    given = scores([[0.5, 1.0], [2.0, 0.0]])
    term = controlled_bonus(given, ADVANTAGES, MASK, ControllerState(entropy_coef=0.1))
    assert term.losses is not None
    close(term.losses, rows([-0.05, -0.1], [-0.2, 0.0]))


def test_asymmetric_weights_act_on_likely_tokens_by_sign() -> None:
    likely, unlikely = math.log(0.95), math.log(0.85)
    given = scores([[0.1, 0.1], [0.1, 0.1]], [[likely, unlikely], [likely, unlikely]])
    term = asymmetric_weights(given, ADVANTAGES, MASK, CONTROLLED, probability_above=0.9)
    # a = 0.3: 2 x 1.3 and -1 x 0.7 at the likely tokens.
    close(term.advantages, rows([2.6, 2.0], [-0.7, -1.0]))


def test_entropy_advantage_by_hand() -> None:
    # alpha 0.4, kappa 2: bonuses min(0.4 H, |A| / 2): H = 1 -> 0.4; H = 5 -> 1.0 and 0.5.
    term = entropy_advantage(scores([[1.0, 5.0], [1.0, 5.0]]), ADVANTAGES, MASK)
    close(term.advantages, rows([2.4, 3.0], [-0.6, -0.5]))


def test_entropy_advantage_never_flips_a_sign_nor_revives_a_zero() -> None:
    advantages = rows([1e-9, -1e-9], [0.0, -3.0])
    term = entropy_advantage(scores([[9.0, 9.0], [9.0, 9.0]]), advantages, MASK)
    assert torch.equal(term.advantages.sign(), advantages.sign())
    assert float(term.advantages[1, 0]) == 0.0


def test_forking_tokens_keeps_the_top_share_of_the_whole_step() -> None:
    given = scores([[0.1, 0.9], [0.8, 0.2]])
    context = step_context(
        list(given.logprobs), list(given.logprobs), [2.0, -1.0], list(given.entropy), generator=torch.Generator()
    )
    whole = forking_tokens(given, ADVANTAGES, MASK, context, share=0.5)
    close(whole.advantages, rows([0.0, 2.0], [-1.0, 0.0]))
    # A quarter is one token of the step, and it is in the first sequence: the second micro-batch keeps nothing.
    second = forking_tokens(scores([[0.8, 0.2]]), ADVANTAGES[1:], MASK[1:], context.at([1]), share=0.25)
    close(second.advantages, rows([0.0, 0.0]))


def test_the_terms_do_not_read_behind_the_mask() -> None:
    mask = torch.tensor([[True, False], [True, True]])
    given = scores([[1.0, float("nan")], [1.0, 1.0]], [[-0.01, float("nan")], [-0.01, -0.01]])
    advantages = ADVANTAGES.masked_fill(~mask, 0.0)
    for term in (
        bonus(given, advantages, mask),
        asymmetric_weights(given, advantages, mask, CONTROLLED),
        entropy_advantage(given, advantages, mask),
    ):
        assert torch.isfinite(term.advantages).all()
        assert term.losses is None or torch.isfinite(term.losses).all()


def softmax_facts(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log pi, H, and the moment sum_a pi_a D_a."""
    logprobs = torch.log_softmax(logits, -1)
    probs = logprobs.exp()
    entropy = -(probs * logprobs).sum()
    return logprobs, entropy, (probs.square() * (logprobs + entropy)).sum()


LOGITS = torch.log(torch.tensor([0.9, 0.08, 0.02], dtype=torch.float64))


@pytest.mark.parametrize(("token", "weight", "sign"), [(0, 1.0, -1), (2, 1.0, 1), (0, -1.0, 1), (2, -1.0, -1)])
def test_the_sign_table_of_dh_is_confirmed_by_an_update(token: int, weight: float, sign: int) -> None:
    """Rare up raises, likely up lowers, and a negative weight flips both; the update is plain SGD on the logits."""
    logprobs, entropy, moment = softmax_facts(LOGITS)
    one = torch.ones(1, 1, dtype=torch.bool)
    predicted = predicted_dh(
        logprobs[token].reshape(1, 1), entropy.reshape(1, 1), moment.reshape(1, 1),
        torch.full((1, 1), weight, dtype=torch.float64), one,
    )  # fmt: skip
    logits = LOGITS.clone().requires_grad_(True)
    (-weight * torch.log_softmax(logits, -1)[token]).backward()
    eta = 1e-6
    assert logits.grad is not None
    realised = softmax_facts(LOGITS - eta * logits.grad)[1] - entropy
    assert math.copysign(1, float(realised)) == sign
    assert math.isclose(float(predicted) * eta, float(realised), rel_tol=0, abs_tol=1e-11)


def test_predicted_dh_by_hand() -> None:
    # pi = (0.5, 0.5): log pi + H = 0, so every D is 0 and no single token moves the entropy at first order.
    half = torch.full((1, 1), math.log(0.5), dtype=torch.float64)
    entropy = torch.full((1, 1), math.log(2.0), dtype=torch.float64)
    one = torch.ones(1, 1, dtype=torch.bool)
    close(predicted_dh(half, entropy, torch.zeros_like(half), torch.ones_like(half), one), torch.zeros_like(half))
    # pi = (0.9, 0.1): H = 0.3250830; D = 0.9 (ln 0.9 + H), 0.1 (ln 0.1 + H) = 0.1977503, -0.1977502;
    # sum pi D = 0.8 x 0.19775 = 0.1582002; token 0 with w = 2: -2 (0.1977503 - 0.1582002) = -0.0791001.
    logprobs, h, moment = softmax_facts(torch.log(torch.tensor([0.9, 0.1], dtype=torch.float64)))
    found = predicted_dh(logprobs[:1, None], h.reshape(1, 1), moment.reshape(1, 1), 2.0 * one.double(), one)
    assert math.isclose(float(found), -0.0791001, rel_tol=0, abs_tol=1e-6)


def test_the_pull_is_advantage_times_ratio_where_nothing_clips_and_zero_where_it_does() -> None:
    old = torch.tensor([[-1.0, -1.0]], dtype=torch.float64)
    logprobs = old + torch.tensor([[0.1, 1.0]], dtype=torch.float64)
    mask = torch.ones(1, 2, dtype=torch.bool)
    advantages = torch.tensor([2.0], dtype=torch.float64)

    def loss(x: Tensor) -> PolicyLoss:
        return clipped_ratio(x, old, advantages, mask)

    close(pull_on_logprobs(loss, logprobs), torch.tensor([[2.0 * math.exp(0.1), 0.0]], dtype=torch.float64))
    with torch.no_grad():
        assert pull_on_logprobs(loss, logprobs).shape == (1, 2)
