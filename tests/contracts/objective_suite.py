"""What every entry of a registry of the objective keeps. A new entry is checked by being in its registry.

Each check takes a registry and a name, so that a test can run the suite on an entry that the package does not have.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from tests.support.objective_worlds import CONTROLLED, PLAIN, Step
from uec_vlm.objective import ControllerState, Objective, StepTotals, build_objective, micro_batch_loss
from uec_vlm.objective.policy_losses import PolicyLoss
from uec_vlm.objective.registry import bind, settings_of, takes

Registry = Mapping[str, Callable[..., Any]]
Check = Callable[[Registry, str], None]

# Settings that have no default, or whose default leaves nothing to do in a step of a few dozen tokens.
SETTINGS: dict[str, dict[str, Any]] = {
    "constant": {"length": 6},
    "forking_tokens": {"share": 0.4},
    "kl_cov": {"share": 0.3},
    "sequence_ratio": {"clip_low": 0.1, "clip_high": 0.1},
}
# Entries that give up the on-policy policy gradient on purpose.
NOT_REINFORCE_ON_POLICY: frozenset[str] = frozenset()


def bound(registry: Registry, name: str) -> Callable[..., Any]:
    """The entry with its test settings."""
    return bind(registry, name, SETTINGS.get(name, {}), place="suite")


def check_settings_are_documented_and_ranged(registry: Registry, name: str) -> None:
    """Every keyword-only setting has a checked type, is named in the docstring, and its default is acceptable."""
    function = registry[name]
    text = inspect.getdoc(function)
    assert text, f"{name} has no docstring"
    hints = get_type_hints(inspect.unwrap(function), include_extras=True)
    for key, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            assert re.search(rf"\b{key}\b", text), f"{name}: the docstring does not name the setting {key}"
            assert _is_checked(hints[key]), f"{name}: the setting {key} has no range"
            if parameter.default is not inspect.Parameter.empty:
                bind(registry, name, SETTINGS.get(name, {}) | {key: parameter.default}, place="suite")


def _is_checked(hint: Any) -> bool:
    if hint is bool or hint is types.NoneType or get_origin(hint) in (Annotated, Literal):
        return True
    return get_origin(hint) in (types.UnionType, Union) and all(_is_checked(part) for part in get_args(hint))


def _evaluate(
    function: Callable[..., PolicyLoss], step: Step, rows: list[int], padding: float = 0.0, width: int | None = None
) -> tuple[PolicyLoss, Tensor, list[Tensor]]:
    leaves = [row.clone().requires_grad_(True) for row in step.logprobs]
    scores, batch, _ = step.micro_batch(rows, leaves, padding=padding, width=width)
    scores.logprobs.retain_grad()
    mask = batch.completions.completion_mask
    context = (step.context.at(rows),) if takes(function, "context") else ()
    found = function(scores.logprobs, batch.old_logprobs, batch.advantages, mask, *context)
    kept = found.losses.masked_fill(~mask, 0.0)
    kept.sum().backward()
    assert scores.logprobs.grad is not None
    assert (scores.logprobs.grad[~mask] == 0).all(), "a gradient reaches behind the mask"
    return found, kept.detach(), [torch.zeros_like(x) if x.grad is None else x.grad for x in leaves]


def check_shape_and_finiteness(registry: Registry, name: str) -> None:
    """An unreduced loss per token, finite with a finite gradient; measurements are sums with weights, detached."""
    step = Step(seed=1, lengths=[4, 1, 6])
    found, _, gradients = _evaluate(bound(registry, name), step, [0, 1, 2])
    assert found.losses.shape == (3, 6)
    assert torch.isfinite(found.losses).all()
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    for value in found.measurements.values():
        assert value.total.shape == value.weight.shape == ()
        assert not value.total.requires_grad


def check_padding_is_never_read(registry: Registry, name: str) -> None:
    """Zeros, garbage or nan behind the mask: the same losses and the same gradient."""
    step = Step(seed=2, lengths=[4, 1, 6])
    function = bound(registry, name)
    _, plain, gradients = _evaluate(function, step, [0, 1, 2], width=8)
    for padding in (77.7, -1e30, float("nan")):
        _, losses, other = _evaluate(function, step, [0, 1, 2], padding=padding, width=8)
        torch.testing.assert_close(losses, plain, rtol=0, atol=1e-12)
        for one, two in zip(gradients, other, strict=True):
            torch.testing.assert_close(one, two, rtol=0, atol=1e-12)


def check_cut_and_order_do_not_matter(registry: Registry, name: str) -> None:
    """A sequence has the same losses alone, in any order, and in any company."""
    step = Step(seed=3, lengths=[4, 1, 6])
    function = bound(registry, name)
    _, whole, _ = _evaluate(function, step, [0, 1, 2], width=6)
    for rows in ([2, 0, 1], [1], [2, 1]):
        _, part, _ = _evaluate(function, step, rows, width=6)
        torch.testing.assert_close(part, whole[rows], rtol=0, atol=1e-12)


def check_zero_advantage_has_no_gradient_on_policy(registry: Registry, name: str) -> None:
    """A = 0 and pi = pi_old: nothing to learn."""
    step = Step(seed=4, lengths=[4, 1, 6], drift=0.0)
    step.advantages = [0.0, 0.0, 0.0]
    _, _, gradients = _evaluate(bound(registry, name), step, [0, 1, 2])
    assert all((gradient == 0).all() for gradient in gradients)


def check_on_policy_gradient_is_reinforce(registry: Registry, name: str) -> None:
    """At pi = pi_old the gradient is -A at every token, unless the entry is declared to give that up."""
    step = Step(seed=5, lengths=[4, 1, 6], drift=0.0)
    _, _, gradients = _evaluate(bound(registry, name), step, [0, 1, 2])
    same = all(
        torch.allclose(gradient, torch.full_like(gradient, -advantage), rtol=0, atol=1e-10)
        for gradient, advantage in zip(gradients, step.advantages, strict=True)
    )
    assert same != (name in NOT_REINFORCE_ON_POLICY)


def check_it_trains_in_a_whole_objective(registry: Registry, name: str) -> None:
    """In `micro_batch_loss`, with the gradient of a step independent of the cut."""
    plain = build_objective(PLAIN)
    chosen = Objective(**{**vars(plain), "policy_loss": bound(registry, name)})
    step = Step(seed=6, lengths=[4, 1, 6])

    def gradient(parts: list[list[int]]) -> Tensor:
        leaves = [row.clone().requires_grad_(True) for row in step.logprobs]
        for rows in parts:
            scores, batch, _ = step.micro_batch(rows, leaves)
            loss, _ = micro_batch_loss(
                scores, batch, None, objective=chosen, totals=step.totals, controller=CONTROLLED,
                context=step.context.at(rows), sources=["extra"] * len(rows),
            )  # fmt: skip
            loss.backward()
        return torch.cat([leaf.grad for leaf in leaves if leaf.grad is not None])

    whole = gradient([[0, 1, 2]])
    assert float(whole.abs().max()) > 0
    torch.testing.assert_close(gradient([[2], [1, 0]]), whole, rtol=0, atol=1e-10)


POLICY_LOSS_SUITE: dict[str, Check] = {
    "settings": check_settings_are_documented_and_ranged,
    "shape": check_shape_and_finiteness,
    "padding": check_padding_is_never_read,
    "cut": check_cut_and_order_do_not_matter,
    "zero": check_zero_advantage_has_no_gradient_on_policy,
    "on_policy": check_on_policy_gradient_is_reinforce,
    "whole": check_it_trains_in_a_whole_objective,
}


def check_advantage(registry: Registry, name: str) -> None:
    """One number per completion, exact zeros for equal rewards, indifferent to order and to an added constant."""
    function = bound(registry, name)
    rewards = torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    advantages = function(rewards)
    assert advantages.shape == rewards.shape
    assert advantages.dtype == rewards.dtype
    assert torch.isfinite(advantages).all()
    assert float(advantages[0]) >= float(advantages[1])
    assert float(advantages.abs().max()) > 0
    for size in (0, 1, 2, 20):
        for value in (0.0, 0.1, -3.0):
            assert torch.equal(function(torch.full((size,), value)), torch.zeros(size))
    order = torch.tensor([4, 2, 0, 1, 3])
    torch.testing.assert_close(function(rewards[order]), advantages[order], rtol=0, atol=1e-12)
    torch.testing.assert_close(function(rewards + 3.0), advantages, rtol=0, atol=1e-9)


def check_reduction(registry: Registry, name: str) -> None:
    """Parts of a step add up to the whole, values behind the mask are never read, and it is linear."""
    function = bound(registry, name)
    values = torch.arange(12.0, dtype=torch.float64).reshape(3, 4)
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]], dtype=torch.bool)
    totals = StepTotals(tokens=7, sequences=3)
    whole = function(values, mask, totals)
    parts = function(values[:1], mask[:1], totals) + function(values[1:], mask[1:], totals)
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(function(values.masked_fill(~mask, torch.nan), mask, totals), whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(function(2.0 * values, mask, totals), 2.0 * whole, rtol=0, atol=1e-12)


def check_kl(registry: Registry, name: str) -> None:
    """0 for equal policies, a finite value and gradient for any distance."""
    function = bound(registry, name)
    near = torch.full((2, 3), -1.0, dtype=torch.float64)
    assert torch.equal(function(near, near), torch.zeros_like(near))
    for distance in (1e-3, 5.0, 1e3, 1e30):
        leaf = near.clone().requires_grad_(True)
        value = function(leaf, near - distance)
        assert torch.isfinite(value).all()
        if value.requires_grad:
            value.sum().backward()
            assert leaf.grad is not None
            assert torch.isfinite(leaf.grad).all()


def check_entropy_term(registry: Registry, name: str) -> None:
    """Token advantages keep their zeros and signs, losses keep the shape, and nothing behind the mask is read."""
    function = bound(registry, name)
    step = Step(seed=7, lengths=[4, 1, 6])
    rows = [0, 1, 2]
    seen = []
    for padding in (0.0, float("nan")):
        scores, batch, _ = step.micro_batch(rows, step.logprobs, padding=padding)
        mask = batch.completions.completion_mask
        advantages = batch.advantages[:, None].expand(mask.shape).masked_fill(~mask, 0.0)
        given = {"controller": CONTROLLED, "context": step.context.at(rows)}
        term = function(scores, advantages, mask, **{key: v for key, v in given.items() if takes(function, key)})
        assert term.advantages.shape == mask.shape
        assert not term.advantages.requires_grad
        kept = term.advantages != 0
        assert torch.equal(term.advantages.sign()[kept], advantages.sign()[kept])
        assert not kept[~mask].any()
        seen.append((term.advantages, torch.zeros_like(advantages) if term.losses is None else term.losses))
    for one, other in zip(*seen, strict=True):
        torch.testing.assert_close(one.masked_fill(~mask, 0.0), other.masked_fill(~mask, 0.0), rtol=0, atol=1e-12)


def check_controller(registry: Registry, name: str) -> None:
    """Pure, bounded, one step at a time, and whole in a checkpoint."""
    function = bound(registry, name)
    state = ControllerState()
    for entropy in [0.0] * 60 + [50.0] * 120 + [0.3] * 5:
        before = state
        state = function(state, entropy)
        assert function(before, entropy) == state
        assert state.steps == before.steps + 1
        assert 0.0 <= state.entropy_coef <= 1.0
        assert -1.0 <= state.asymmetry <= 1.0
        assert 0.0 < state.temperature_scale <= 10.0
        assert 0.0 <= state.explore_scale <= 2.0
        assert 0.0 <= state.replay_scale <= 100.0
        assert ControllerState.from_json(state.to_json()) == state


def check_exploration(registry: Registry, name: str) -> None:
    """Indices of prompts, each once; no prompts and no rollouts are ordinary; a solved prompt is never difficult."""
    function = bound(registry, name)
    for hard in (0, 1, 15, 16, 40):
        found = function([[0.0] * 5] * hard + [[1.0] * 5] * 3)
        assert len(set(found)) == len(found)
        assert all(0 <= index < hard + 3 for index in found)
        if name != "everybody":
            assert all(index < hard for index in found)
    assert function([]) == []


def check_retention(registry: Registry, name: str) -> None:
    """A mask over the group; empty and all-truncated groups are ordinary; truncated successes can be dropped."""
    function = bound(registry, name)
    advantages = torch.tensor([2.0, 0.5, 0.0, -0.5, -2.0])
    right = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0])
    for truncated in (torch.zeros(5, dtype=torch.bool), torch.ones(5, dtype=torch.bool)):
        kept = function(advantages, right, truncated)
        assert kept.shape == (5,)
        assert kept.dtype == torch.bool
    dropping = bind(registry, name, {"truncated_answers": "drop_positive"}, place="suite")
    assert not dropping(advantages, right, torch.ones(5, dtype=torch.bool))[:2].any()
    empty = torch.zeros(0)
    assert function(empty, empty, empty.bool()).shape == (0,)


def check_replay(registry: Registry, name: str) -> None:
    """A mask over an update's trajectories that never lets a zero advantage in."""
    function = bound(registry, name)
    admitted = function(torch.tensor([3.0, 0.0, -3.0]))
    assert admitted.dtype == torch.bool
    assert admitted.shape == (3,)
    assert not bool(admitted[1])
    assert function(torch.zeros(0)).shape == (0,)


def check_settings_come_back(registry: Registry, name: str) -> None:
    """What is bound can be read again and bound anew (a resolved configuration)."""
    first = bound(registry, name)
    assert settings_of(bind(registry, name, settings_of(first), place="suite")) == settings_of(first)
