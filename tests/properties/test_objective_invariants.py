"""Invariants of the objective: the cut, the order and the padding do not matter, and zero stays zero."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.support.objective_worlds import CONTROLLED, Step, group, objective, trajectory
from uec_vlm.config import preset
from uec_vlm.objective import (
    ADVANTAGES,
    Objective,
    build_objective,
    choose,
    choose_prompts,
    group_trajectories,
    micro_batch_loss,
    take_batches,
)
from uec_vlm.objective.kl import k1, k2, k3
from uec_vlm.objective.replay import ReplayBuffer, ReplaySettings, above, capacity_of, draw, push

# Settings under which every part of an entry has something to do on a few dozen tokens.
LOSSES: dict[str, dict[str, Any]] = {
    "reinforce": {},
    "clipped_ratio": {"dual_clip": 1.2},
    "sequence_ratio": {"clip_low": 0.05, "clip_high": 0.05},
    "cispo": {},
    "soft_gate": {},
    "clip_cov": {"share": 0.3, "cov_low": -0.5},
    "kl_cov": {"share": 0.3},
}
REDUCTIONS: list[Any] = ["token_mean", "sequence_mean", {"name": "constant", "length": 7}]
TERMS: list[dict[str, Any]] = [
    {"entropy_term": "none"},
    {"entropy_term": {"name": "bonus", "coef": 0.1}},
    {"entropy_term": {"name": "forking_tokens", "share": 0.4}},
    {"entropy_term": "entropy_advantage"},
    {"entropy_term": {"name": "asymmetric_weights", "probability_above": 0.3}, "controller": "entropic"},
]


def build(loss: str, reduction: Any, term: dict[str, Any]) -> Objective:
    return objective(
        policy_loss={"name": loss, **LOSSES[loss]}, reduction=reduction, kl={"name": "k3", "coef": 0.1}, **term
    )


def step_gradient(
    step: Step, chosen: Objective, parts: Sequence[Sequence[int]], *, padding: float = 0.0, width: int | None = None
) -> tuple[Tensor, list[Tensor]]:
    """Loss of a whole step and its gradient per sequence, summed over micro-batches of these rows."""
    leaves = [row.clone().requires_grad_(True) for row in step.logprobs]
    total = torch.zeros((), dtype=torch.float64)
    for rows in parts:
        scores, batch, reference = step.micro_batch(rows, leaves, padding=padding, width=width)
        loss, _ = micro_batch_loss(
            scores, batch, reference, objective=chosen, totals=step.totals, controller=CONTROLLED,
            context=step.context.at(rows), sources=["regular"] * len(rows),
        )  # fmt: skip
        loss.backward()
        total = total + loss.detach()
    return total, [leaf.grad if leaf.grad is not None else torch.zeros_like(leaf) for leaf in leaves]


def assert_same(left: tuple[Tensor, list[Tensor]], right: tuple[Tensor, list[Tensor]]) -> None:
    torch.testing.assert_close(left[0], right[0], rtol=0, atol=1e-10)
    for one, other in zip(left[1], right[1], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


@st.composite
def steps(draw_: st.DrawFn) -> tuple[Step, list[list[int]]]:
    """A random step and a random cut of it: an order of the sequences and the ends of the micro-batches."""
    lengths = draw_(st.lists(st.integers(1, 5), min_size=1, max_size=7))
    step = Step(seed=draw_(st.integers(0, 10_000)), lengths=lengths)
    order = draw_(st.permutations(range(len(lengths))))
    parts: list[list[int]] = [[]]
    for row in order:
        parts[-1].append(row)
        if draw_(st.booleans()):
            parts.append([])
    return step, [part for part in parts if part]


@pytest.mark.parametrize("loss", sorted(LOSSES))
@settings(max_examples=12, deadline=None)
@given(data=steps(), reduction=st.sampled_from(REDUCTIONS), term=st.sampled_from(TERMS))
def test_cut_and_order_change_neither_value_nor_gradient(
    loss: str, data: tuple[Step, list[list[int]]], reduction: Any, term: dict[str, Any]
) -> None:
    step, parts = data
    chosen = build(loss, reduction, term)
    whole = step_gradient(step, chosen, [list(range(len(step.lengths)))])
    assert_same(whole, step_gradient(step, chosen, parts))


@pytest.mark.parametrize("loss", sorted(LOSSES))
@settings(max_examples=12, deadline=None)
@given(data=steps(), reduction=st.sampled_from(REDUCTIONS), term=st.sampled_from(TERMS))
def test_padding_is_never_read(
    loss: str, data: tuple[Step, list[list[int]]], reduction: Any, term: dict[str, Any]
) -> None:
    step, parts = data
    chosen = build(loss, reduction, term)
    plain = step_gradient(step, chosen, parts)
    assert_same(plain, step_gradient(step, chosen, parts, width=9))
    assert_same(plain, step_gradient(step, chosen, parts, width=9, padding=123.456))
    assert_same(plain, step_gradient(step, chosen, parts, width=9, padding=-1e30))
    assert_same(plain, step_gradient(step, chosen, parts, width=9, padding=float("nan")))


def test_a_denominator_per_micro_batch_would_be_noticed() -> None:
    """The twin: with totals of the part instead of the step, the cut does matter."""
    step = Step(seed=0, lengths=[1, 5, 2])
    chosen = build("clipped_ratio", "token_mean", TERMS[0])
    whole = step_gradient(step, chosen, [[0, 1, 2]])
    part = Step(seed=0, lengths=[1, 5, 2])
    scores, batch, reference = part.micro_batch([0], part.logprobs)
    alone, _ = micro_batch_loss(
        scores, batch, reference, objective=chosen, totals=type(part.totals)(1, 1), controller=CONTROLLED
    )
    rest, _ = micro_batch_loss(
        *part.micro_batch([1, 2], part.logprobs),
        objective=chosen,
        totals=type(part.totals)(7, 2),
        controller=CONTROLLED,
    )
    assert abs(float((alone + rest) / 2 - whole[0])) > 1e-4


@pytest.mark.parametrize("loss", sorted(set(LOSSES) - {"clip_cov"}))
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), lengths=st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_on_policy_the_gradient_is_that_of_reinforce(loss: str, seed: int, lengths: list[int]) -> None:
    """Not so for clip_cov, whose point is to drop tokens; kl_cov's penalty is inert at ratio 1."""
    step = Step(seed=seed, lengths=lengths, drift=0.0)
    rows = [list(range(len(lengths)))]
    plain = objective(policy_loss="reinforce")
    expected = step_gradient(step, plain, rows)[1]
    weights = step.weights
    found = step_gradient(step, objective(policy_loss={"name": loss, **LOSSES[loss]}), rows)[1]
    for one, other, weight in zip(found, expected, weights, strict=True):
        if loss == "sequence_ratio":
            # The sequence's ratio spreads the importance weights over its tokens: the mean stands for each.
            scale = (other / weight)[0] * weight.mean()
            torch.testing.assert_close(one, scale.expand_as(one), rtol=0, atol=1e-10)
        else:
            torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_off_policy_the_gradients_differ() -> None:
    step = Step(seed=1, lengths=[3, 4], drift=0.5)
    reinforce = step_gradient(step, objective(policy_loss="reinforce"), [[0, 1]])[1]
    for loss in sorted(set(LOSSES) - {"reinforce", "clip_cov"}):
        other = step_gradient(step, objective(policy_loss={"name": loss, **LOSSES[loss]}), [[0, 1]])[1]
        assert max(float((a - b).abs().max()) for a, b in zip(reinforce, other, strict=True)) > 1e-3, loss


rewards_of_a_group = st.lists(st.sampled_from([0.0, 0.1, 0.3, 1.0, -1.0]), min_size=1, max_size=20)


@pytest.mark.parametrize("name", sorted(ADVANTAGES))
@settings(max_examples=40, deadline=None)
@given(value=st.floats(-5, 5), count=st.integers(1, 40), double=st.booleans())
def test_equal_rewards_have_exactly_zero_advantage(name: str, value: float, count: int, double: bool) -> None:
    rewards = torch.full((count,), value, dtype=torch.float64 if double else torch.float32)
    assert torch.equal(ADVANTAGES[name](rewards), torch.zeros_like(rewards))


@pytest.mark.parametrize("name", sorted(ADVANTAGES))
@settings(max_examples=60, deadline=None)
@given(rewards=rewards_of_a_group, shift=st.sampled_from([-2.0, 0.5, 8.0]), seed=st.integers(0, 99))
def test_a_constant_added_to_the_rewards_and_their_order_do_not_matter(
    name: str, rewards: list[float], shift: float, seed: int
) -> None:
    given_ = torch.tensor(rewards, dtype=torch.float64)
    advantages = ADVANTAGES[name](given_)
    torch.testing.assert_close(ADVANTAGES[name](given_ + shift), advantages, rtol=0, atol=1e-8)
    order = torch.randperm(len(rewards), generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(ADVANTAGES[name](given_[order]), advantages[order], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["group_normalised", "group_centred", "leave_one_out"])
@settings(max_examples=40, deadline=None)
@given(rewards=rewards_of_a_group)
def test_mean_baselines_sum_to_zero_in_each_group(name: str, rewards: list[float]) -> None:
    assert abs(float(ADVANTAGES[name](torch.tensor(rewards, dtype=torch.float64)).sum())) < 1e-9


@settings(max_examples=60, deadline=None)
@given(right=st.integers(0, 20), of=st.integers(1, 20))
def test_quantile_baseline_keeps_exactly_the_rarer_side(right: int, of: int) -> None:
    right = min(right, of)
    rewards = torch.tensor([1.0] * right + [0.0] * (of - right))
    advantages = ADVANTAGES["quantile_baseline"](rewards)
    if 0 < right < of:
        # p <= 1 - K with K = 2/5, in whole numbers.
        kept = slice(0, right) if 5 * right <= 3 * of else slice(right, of)
        assert (advantages[kept] != 0).all()
        assert int((advantages != 0).sum()) == len(rewards[kept])


@settings(max_examples=60, deadline=None)
@given(log_a=st.floats(-4, 0), log_b=st.floats(-4, 0))
def test_k2_and_k3_are_never_negative_and_agree_with_half_the_square(log_a: float, log_b: float) -> None:
    a, b = (torch.tensor([[value]], dtype=torch.float64) for value in (log_a, log_b))
    assert float(k2(a, b)) >= 0.0
    assert float(k3(a, b)) >= 0.0
    near = a + 1e-3 * (b - a)
    half_square = float((near - a).square() / 2)
    # The next term of the series is d^3 / 6, at most 0.004^3 / 6 = 1.1e-8.
    assert abs(float(k3(a, near)) - half_square) < 1.2e-8
    assert abs(float(k1(a, near)) + float(near - a)) < 1e-12


@pytest.mark.parametrize("name", ["uec", "uec_reference", "grpo", "dapo", "qae", "aepo"])
@settings(max_examples=25, deadline=None)
@given(right=st.integers(0, 20), of=st.integers(0, 20), source=st.sampled_from(["regular", "extra"]), cut=st.booleans())
def test_selection_is_total_and_counts_every_completion(name: str, right: int, of: int, source: Any, cut: bool) -> None:
    """0 to 20 of 0 to 20 right, all truncated or none: never an error, nothing lost, no zero advantage in UEC."""
    items = group(min(right, of), of, source=source, finish="length" if cut else "stop")
    chosen = build_objective(preset(name)["objective"])
    old = [torch.full((3,), -1.0)] * of
    found = group_trajectories(items, source=source, objective=chosen, step=0, old_logprobs=old, limit=100)
    assert len(found.kept) + sum(found.dropped.values()) == of
    assert [item.judged for item in found.kept] == [
        items[i] for i in choose(items, source=source, objective=chosen, limit=100).indices
    ]
    if name.startswith("uec"):
        assert all(item.advantage != 0.0 for item in found.kept)
        assert not cut or all(item.advantage < 0.0 for item in found.kept)


@settings(max_examples=60, deadline=None)
@given(
    groups=st.lists(st.lists(st.sampled_from([0.0, 1.0]), max_size=5), max_size=40),
    scale=st.floats(0, 1),
    cap=st.one_of(st.none(), st.just(0), st.integers(20, 500)),
)
def test_exploration_names_difficult_prompts_only_within_the_cap(
    groups: list[list[float]], scale: float, cap: int | None
) -> None:
    chosen = objective(exploration={"name": "all_failed", "completions": 20, "max_rollouts": cap})
    found = choose_prompts(groups, rule=chosen.exploration, settings=chosen.exploration_settings, step=0, scale=scale)
    assert len(set(found)) == len(found)
    assert all(groups[index] and not any(groups[index]) for index in found)
    assert cap is None or 20 * len(found) <= cap


@settings(max_examples=40, deadline=None)
@given(
    pushes=st.lists(st.integers(0, 12), min_size=1, max_size=12),
    seed=st.integers(0, 99),
    reuse=st.one_of(st.none(), st.integers(1, 3)),
    age=st.one_of(st.none(), st.integers(0, 3)),
)
def test_the_buffer_never_exceeds_its_bounds(pushes: list[int], seed: int, reuse: int | None, age: int | None) -> None:
    rules = ReplaySettings(size=2.0, every=2, max_reuse=reuse, max_age=age)
    generator = torch.Generator().manual_seed(seed)
    buffer = ReplayBuffer()
    for step, count in enumerate(pushes):
        items = [trajectory(2.0, born=step, name=f"{step}/{index}") for index in range(count)]
        buffer = push(buffer, items, step=step, unit=5, admit=partial(above, threshold=1.0), settings=rules)
        drawn, buffer = draw(buffer, unit=5, step=step, generator=generator, settings=rules)
        assert len(buffer) <= capacity_of(unit=5, settings=rules)
        assert len(drawn) % 5 == 0
        assert age is None or all(step - item.born <= age for item in (*drawn, *buffer.trajectories))
        assert reuse is None or all(item.uses <= reuse for item in drawn)
        born = [item.born for item in buffer.trajectories]
        assert born == sorted(born)


@settings(max_examples=60, deadline=None)
@given(length=st.integers(0, 10_000), unit=st.integers(1, 500))
def test_accumulation_takes_whole_batches_and_loses_nothing(length: int, unit: int) -> None:
    taken = take_batches(length, unit)
    assert taken % unit == 0
    assert 0 <= length - taken < unit
