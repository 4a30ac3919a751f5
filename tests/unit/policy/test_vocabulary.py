"""Scoring from hidden states: values and gradients of whole logits, in blocks, and no tensor larger than a block."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.support.readings import prompts_for, random_batch
from uec_vlm.policy import LoraSettings, load_policy, score, vocabulary
from uec_vlm.policy.forward import whole_head
from uec_vlm.policy.vocabulary import HeadSettings, score_from_states

TinyModel = Callable[[str], Path]
BLOCKS = pytest.mark.parametrize("block", [(3, 7), (1024, 1024), (5, 4)])
POSITIONS, TOKENS, WIDTH = 11, 23, 6
# Two whole blocks of four tokens are among them.
BANNED = (2, 4, 5, 6, 7, 22)


def arguments(dtype: torch.dtype = torch.float64, positions: int = POSITIONS) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """States, weight and bias that want gradients, and targets in the support."""
    generator = torch.Generator().manual_seed(0)

    def leaf(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_(True)

    support = torch.tensor([token for token in range(TOKENS) if token not in BANNED])
    targets = support[torch.randint(0, len(support), (positions,), generator=generator)]
    return leaf(positions, WIDTH), leaf(TOKENS, WIDTH), leaf(TOKENS), targets


def whole(states: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, temperature: float) -> tuple[Any, ...]:
    """The same from whole logits, by autograd; over the support only."""
    logits = nn.functional.linear(states, weight, bias).to(torch.promote_types(states.dtype, torch.float32))
    support = [token for token in range(TOKENS) if token not in BANNED]
    log_all = (logits / temperature)[:, support].log_softmax(-1)
    places = torch.tensor([support.index(int(target)) for target in targets])
    entropy = -(log_all.exp() * log_all).sum(-1)
    moment = (log_all.exp().square() * (log_all + entropy.unsqueeze(-1))).sum(-1)
    return log_all.gather(-1, places.unsqueeze(-1)).squeeze(-1), entropy, moment


def settings(temperature: float = 0.7, **changes: Any) -> HeadSettings:
    return HeadSettings(**{"temperature": temperature, "banned_ids": BANNED, "entropy_gradient": True,
                           "want_entropy": True, **changes})  # fmt: skip


@BLOCKS
@pytest.mark.parametrize("with_bias", [True, False])
def test_values_and_gradients_are_those_of_whole_logits(monkeypatch, block: tuple[int, int], with_bias: bool) -> None:
    monkeypatch.setattr(vocabulary, "_CPU_BLOCK", block)
    states, weight, bias, targets = arguments()
    inputs = (states, weight, bias if with_bias else None)
    leaves = [tensor for tensor in inputs if tensor is not None]
    weights = torch.randn(2, POSITIONS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = score_from_states(*inputs, targets, settings())
    expected = whole(*inputs, targets, 0.7)
    for value, other in zip(found, expected, strict=True):
        torch.testing.assert_close(value, other, rtol=0, atol=1e-12)
    gradients, others = (
        torch.autograd.grad((weights[0] * side[0]).sum() + (weights[1] * side[1]).sum(), leaves)
        for side in (found, expected)
    )
    for gradient, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(gradient, other, rtol=0, atol=1e-12)


@BLOCKS
def test_each_gradient_alone_is_right(monkeypatch, block: tuple[int, int]) -> None:
    monkeypatch.setattr(vocabulary, "_CPU_BLOCK", block)
    states, weight, _, targets = arguments()
    for place in (0, 1):
        found = score_from_states(states, weight, None, targets, settings())[place].sum()
        expected = whole(states, weight, None, targets, 0.7)[place].sum()
        for leaf in (states, weight):
            (gradient,), (other,) = (torch.autograd.grad(x, leaf, retain_graph=True) for x in (found, expected))
            torch.testing.assert_close(gradient, other, rtol=0, atol=1e-12)


def test_entropy_has_a_gradient_on_demand_and_the_moment_never() -> None:
    states, weight, _, targets = arguments()
    logprobs, entropy, moment = score_from_states(states, weight, None, targets, settings(entropy_gradient=False))
    assert logprobs.requires_grad and not entropy.requires_grad and not moment.requires_grad
    assert float(entropy.min()) > 0
    _, entropy, moment = score_from_states(states, weight, None, targets, settings(want_entropy=False))
    assert not entropy.any() and not moment.any()


def test_a_frozen_head_gets_no_gradient_and_the_states_theirs() -> None:
    states, weight, _, targets = arguments()
    frozen = weight.detach()
    score_from_states(states, frozen, None, targets, settings())[0].sum().backward()
    (expected,) = torch.autograd.grad(whole(states, weight, None, targets, 0.7)[0].sum(), states)
    assert frozen.grad is None
    torch.testing.assert_close(states.grad, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 300.0])
def test_float32_is_exact_from_flat_to_certain_distributions(monkeypatch, scale: float) -> None:
    monkeypatch.setattr(vocabulary, "_CPU_BLOCK", (4, 5))
    states, weight, _, targets = arguments(torch.float32)
    states = (states * scale).detach()
    with torch.no_grad():
        found = score_from_states(states, weight, None, targets, settings())
        expected = whole(states.double(), weight.double(), None, targets, 0.7)
    assert float(found[0].max()) <= 0 and float(found[1].min()) >= 0
    for value, other in zip(found, expected, strict=True):
        torch.testing.assert_close(value.double(), other, rtol=0, atol=2e-6 * max(1.0, float(other.abs().max())))


def test_a_bfloat16_head_adds_up_in_float32(monkeypatch) -> None:
    # Its gradient is as close to the float32 one as rounding it once allows, though it adds up over 200 blocks.
    monkeypatch.setattr(vocabulary, "_CPU_BLOCK", (3, 4))
    states, weight, _, targets = arguments(torch.bfloat16, positions=600)
    found = score_from_states(states, weight, None, targets, settings())
    assert {value.dtype for value in found} == {torch.float32}
    wide = [leaf.detach().float().requires_grad_(True) for leaf in (states, weight)]
    expected = whole(wide[0], wide[1], None, targets, 0.7)
    gradients = torch.autograd.grad(found[0].sum() + found[1].sum(), (states, weight))
    others = torch.autograd.grad(expected[0].sum() + expected[1].sum(), wide)
    assert {gradient.dtype for gradient in gradients} == {torch.bfloat16}
    errors = [
        float((value.float() - other).detach().norm() / other.detach().norm())
        for value, other in zip((*found, *gradients), (*expected, *others), strict=True)
    ]
    # Logits rounded to bfloat16 move the values; adding the weight's gradient up in bfloat16 would give 9e-3.
    assert max(errors) < 1e-2 and errors[-1] < 4e-3


class Largest(TorchDispatchMode):
    """Remembers the most elements that any operation has returned."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for value in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(value, Tensor):
                self.elements = max(self.elements, value.numel())
        return result


@pytest.mark.parametrize("positions", [64, 1024])
def test_nothing_is_larger_than_a_block_or_an_input(monkeypatch, positions: int) -> None:
    monkeypatch.setattr(vocabulary, "_CPU_BLOCK", (32, 64))
    weight = torch.randn(1000, 4, requires_grad=True)
    states = torch.randn(positions, 4, requires_grad=True)
    with Largest() as seen:
        found = score_from_states(states, weight, None, torch.zeros(positions, dtype=torch.long), settings())
        (found[0].sum() + found[1].sum()).backward()
    assert seen.elements == max(32 * 64, weight.numel(), states.numel())


def test_the_head_is_read_past_its_call_only_where_that_is_the_same(tiny_model: TinyModel) -> None:
    policy = load_policy(tiny_model("qwen2"))
    model: Any = policy.model
    assert whole_head(model) is model.lm_head
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert whole_head(model) is None
    hook = model.lm_head.register_forward_hook(lambda *_: None)
    assert whole_head(model) is None
    hook.remove()
    kept = model.lm_head.weight
    model.lm_head.weight = nn.Parameter(torch.empty(0))  # as a sharding engine leaves it between calls
    assert whole_head(model) is None
    model.lm_head.weight = kept
    assert whole_head(load_policy(tiny_model("qwen2"), lora=LoraSettings(rank=2)).model) is not None


def test_calls_of_the_head_give_the_same_as_its_weight(tiny_model: TinyModel) -> None:
    policy = load_policy(tiny_model("qwen2_5_vl"), dtype="float64")
    batch = random_batch(prompts_for(policy), per_prompt=2, longest=9)
    found = []
    for called in (False, True):
        if called:
            policy.model.lm_head.register_forward_hook(lambda *_: None)
        policy.model.zero_grad()
        scores = score(policy, batch, temperature=0.8, entropy_gradient=True, chunk=4)
        (scores.logprobs.sum() + scores.entropy.sum()).backward()
        gradients = {name: parameter.grad.clone() for name, parameter in policy.model.named_parameters()}
        found.append((scores, gradients))
    (direct, gradients), (through, others) = found
    for name in ("logprobs", "entropy", "moment"):
        torch.testing.assert_close(getattr(direct, name), getattr(through, name), rtol=0, atol=1e-12)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, others[name], rtol=0, atol=1e-9)
