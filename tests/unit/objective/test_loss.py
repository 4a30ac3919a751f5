"""The loss of a micro-batch: its parts, its measurements, and what it refuses."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from tests.support.objective_worlds import Step, objective, train_batch
from uec_vlm.objective import ControllerState, StepTotals, merge, micro_batch_loss
from uec_vlm.records import TokenScores

STATE = ControllerState()
MASK = torch.tensor([[True, True], [True, False]])
LOGP = torch.tensor([[-1.0, -2.0], [-0.5, 0.0]], dtype=torch.float64)
TOTALS = StepTotals(tokens=3, sequences=2)


def scores(logprobs: torch.Tensor = LOGP) -> TokenScores:
    entropy = torch.tensor([[0.5, 1.0], [1.5, 0.0]], dtype=torch.float64)
    return TokenScores(logprobs, entropy, torch.zeros_like(entropy))


def test_policy_loss_times_weights_plus_kl_plus_entropy_under_one_reduction() -> None:
    chosen = objective(kl={"name": "k2", "coef": 0.1}, entropy_term={"name": "bonus", "coef": 0.01})
    weights = torch.tensor([[2.0, 1.0], [0.5, 1.0]], dtype=torch.float64)
    batch = train_batch([1.0, -1.0], LOGP.clone(), MASK, weights)
    loss, measured = micro_batch_loss(scores(), batch, LOGP - 0.2, objective=chosen, totals=TOTALS, controller=STATE)
    # On-policy losses -A: -2, -1, +0.5; k2 = 0.02 at each; entropies 0.5, 1, 1.5.
    expected = (-2.0 - 1.0 + 0.5) / 3 + 0.1 * 0.02 - 0.01 * 1.0
    assert math.isclose(float(loss), expected, rel_tol=0, abs_tol=1e-12)
    assert math.isclose(measured["policy_loss"].mean, -2.5 / 3, rel_tol=0, abs_tol=1e-6)
    assert math.isclose(measured["kl_loss"].mean, 0.002, rel_tol=0, abs_tol=1e-7)
    assert math.isclose(measured["entropy_loss"].mean, -0.01, rel_tol=0, abs_tol=1e-7)
    assert math.isclose(measured["reference_kl"].mean, 0.02, rel_tol=0, abs_tol=1e-7)
    assert math.isclose(measured["importance_weight"].mean, 3.5 / 3, rel_tol=0, abs_tol=1e-6)
    assert math.isclose(measured["train_entropy"].mean, 1.0, rel_tol=0, abs_tol=1e-6)


@pytest.mark.parametrize("reduction", ["token_mean", "sequence_mean", {"name": "constant", "length": 4}])
@pytest.mark.parametrize("policy_loss", ["clipped_ratio", "cispo", "soft_gate", "sequence_ratio"])
def test_the_entropy_term_has_the_same_weight_for_every_policy_loss(policy_loss: str, reduction: object) -> None:
    batch = train_batch([1.0, -1.0], LOGP.clone(), MASK)
    plain = objective(policy_loss=policy_loss, reduction=reduction)
    with_bonus = objective(policy_loss=policy_loss, reduction=reduction, entropy_term={"name": "bonus", "coef": 0.01})
    values = [
        float(micro_batch_loss(scores(), batch, None, objective=o, totals=TOTALS, controller=STATE)[0])
        for o in (plain, with_bonus)
    ]
    mean = float(plain.reduction(scores().entropy, MASK, TOTALS))
    assert math.isclose(values[1] - values[0], -0.01 * mean, rel_tol=0, abs_tol=1e-12)


def test_a_bonus_of_coefficient_zero_changes_no_gradient_bit() -> None:
    gradients = []
    for term in ("none", {"name": "bonus", "coef": 0.0}):
        leaf = LOGP.clone().requires_grad_(True)
        batch = train_batch([1.0, -1.0], LOGP - 0.1, MASK)
        loss, _ = micro_batch_loss(
            scores(leaf), batch, None, objective=objective(entropy_term=term), totals=TOTALS, controller=STATE
        )
        gradients.append(torch.autograd.grad(loss, leaf)[0])
    assert torch.equal(*gradients)


def test_predicted_dh_is_split_by_source_and_measures_the_policy_loss() -> None:
    batch = train_batch([1.0, -1.0], LOGP.clone(), MASK)
    _, measured = micro_batch_loss(
        scores(), batch, None, objective=objective(), totals=TOTALS, controller=STATE, sources=["extra", "replay"]
    )
    # w = A on-policy; D = pi (log pi + H): e^-1 (-0.5), e^-2 (-1), e^-0.5 (1.0); moments 0.
    extra = -(math.exp(-1.0) * -0.5 + math.exp(-2.0) * -1.0)
    replay = math.exp(-0.5) * 1.0
    assert math.isclose(float(measured["predicted_dh/extra"].total), extra, rel_tol=0, abs_tol=1e-6)
    assert float(measured["predicted_dh/extra"].weight) == 2.0
    assert math.isclose(float(measured["predicted_dh/replay"].total), replay, rel_tol=0, abs_tol=1e-6)
    assert "predicted_dh/regular" not in measured


def test_staleness_is_the_distance_from_what_sampled_by_source() -> None:
    batch = replace(train_batch([1.0, -1.0], LOGP.clone(), MASK), behaviour_logprobs=LOGP + 0.25)
    _, measured = micro_batch_loss(
        scores(), batch, None, objective=objective(), totals=TOTALS, controller=STATE, sources=["extra", "replay"]
    )
    assert math.isclose(float(measured["staleness/extra"].total), 0.5, rel_tol=0, abs_tol=1e-6)  # 2 tokens x 0.25
    assert math.isclose(measured["staleness/replay"].mean, 0.25, rel_tol=0, abs_tol=1e-6)


def test_measurements_of_micro_batches_merge_to_those_of_the_step() -> None:
    step = Step(seed=3, lengths=[3, 1, 4])
    chosen = objective(kl={"name": "k3", "coef": 0.1})

    def measure(parts: list[list[int]]) -> dict[str, float]:
        seen = []
        for rows in parts:
            scored, batch, reference = step.micro_batch(rows, step.logprobs)
            seen.append(
                micro_batch_loss(
                    scored, batch, reference, objective=chosen, totals=step.totals, controller=STATE,
                    sources=["regular"] * len(rows),
                )[1]
            )  # fmt: skip
        return {name: value.mean for name, value in merge(seen).items()}

    whole, cut = measure([[0, 1, 2]]), measure([[2], [0, 1]])
    assert whole.keys() == cut.keys()
    for name, value in whole.items():
        assert math.isclose(value, cut[name], rel_tol=0, abs_tol=1e-5), name


def test_measurements_carry_no_gradient() -> None:
    leaf = LOGP.clone().requires_grad_(True)
    batch = train_batch([1.0, -1.0], LOGP.clone(), MASK)
    chosen = objective(kl={"name": "k3"}, entropy_term="bonus")
    given = scores(leaf)
    given.entropy.requires_grad_(True)
    _, measured = micro_batch_loss(
        given, batch, LOGP, objective=chosen, totals=TOTALS, controller=STATE, sources=["regular"] * 2
    )
    assert not any(value.total.requires_grad or value.weight.requires_grad for value in measured.values())


def test_what_an_objective_needs_and_is_not_given_is_refused() -> None:
    batch = train_batch([1.0, -1.0], LOGP.clone(), MASK)
    with pytest.raises(ValueError, match="reference_logprobs"):
        micro_batch_loss(scores(), batch, None, objective=objective(kl="k3"), totals=TOTALS, controller=STATE)
    with pytest.raises(ValueError, match="context of the optimizer step"):
        micro_batch_loss(
            scores(), batch, None, objective=objective(policy_loss="kl_cov"), totals=TOTALS, controller=STATE
        )


def test_an_entropy_without_a_gradient_is_refused_where_the_term_needs_one() -> None:
    batch = train_batch([1.0, -1.0], LOGP.clone(), MASK)
    leaf = LOGP.clone().requires_grad_(True)
    with pytest.raises(ValueError, match="score the entropy with one"):
        micro_batch_loss(
            scores(leaf), batch, None, objective=objective(entropy_term="bonus"), totals=TOTALS, controller=STATE
        )


def test_an_objective_made_by_hand_needs_no_names() -> None:
    """What an objective needs is read off its functions: without names nothing is switched off silently."""
    named = objective(kl={"name": "k2", "coef": 0.1}, entropy_term="bonus", exploration="all_failed", replay="above")
    bare = replace(named, names={})
    assert (bare.needs_reference, bare.entropy_gradient, bare.explores, bare.replays) == (True, True, True, True)
    batch = train_batch([1.0, -1.0], LOGP.clone(), MASK)
    values = [
        float(micro_batch_loss(scores(), batch, LOGP - 1, objective=o, totals=TOTALS, controller=STATE)[0])
        for o in (named, bare)
    ]
    assert values[0] == values[1]


def test_kl_in_the_reward_is_not_in_the_loss() -> None:
    batch = train_batch([1.0, -1.0], LOGP.clone(), MASK)
    chosen = objective(kl={"name": "k3", "coef": 5.0, "place": "reward"})
    loss, measured = micro_batch_loss(scores(), batch, None, objective=chosen, totals=TOTALS, controller=STATE)
    plain, _ = micro_batch_loss(scores(), batch, None, objective=objective(), totals=TOTALS, controller=STATE)
    assert float(loss) == float(plain)
    assert "kl_loss" not in measured
