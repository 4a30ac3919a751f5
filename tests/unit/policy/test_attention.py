"""Attention over a row of prompts and completions, against a plain softmax under a mask."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from uec_vlm.policy import lengths as grouping
from uec_vlm.policy.attention import Rotation, Shape, attend, lay_out
from uec_vlm.policy.lean import rms_norm

PROMPTS, OWNERS, TAILS = [5, 3, 4], [0, 0, 0, 2, 2], [4, 0, 2, 3, 1]
SHAPE = Shape(kv_heads=2, group=3, width=4, scale=0.5)


def inputs() -> tuple[Tensor, Tensor, Tensor, Rotation]:
    generator = torch.Generator().manual_seed(0)
    count = sum(PROMPTS) + sum(TAILS)

    def draw(width: int) -> Tensor:
        return torch.randn(count, width, generator=generator, dtype=torch.float64)

    angles = draw(2).repeat(1, 2).unsqueeze(1)
    sin = angles.sin()
    sin[..., :2].neg_()
    heads = SHAPE.kv_heads * SHAPE.width
    return draw(heads * SHAPE.group), draw(heads), draw(heads), Rotation(angles.cos(), sin)


def who_sees_whom() -> Tensor:
    """Written out from the description: a prompt sees what is before it, a completion its prompt and itself."""
    owner = [("prompt", n) for n, length in enumerate(PROMPTS) for _ in range(length)]
    owner += [(row, n) for row, (n, length) in enumerate(zip(OWNERS, TAILS, strict=True)) for _ in range(length)]
    sees = torch.zeros(len(owner), len(owner), dtype=torch.bool)
    for query, (who, prompt) in enumerate(owner):
        for key, (other, its_prompt) in enumerate(owner[: query + 1]):
            sees[query, key] = its_prompt == prompt and other in (who, "prompt")
    return sees


def plain(query: Tensor, key: Tensor, value: Tensor, rotation: Rotation) -> Tensor:
    def turned(states: Tensor) -> Tensor:
        split = states.view(len(states), -1, SHAPE.width)
        swapped = torch.cat([split[..., 2:], split[..., :2]], dim=-1)
        return split * rotation.cos + swapped * rotation.sin

    q = turned(query).transpose(0, 1)
    k, v = (
        part.transpose(0, 1).repeat_interleave(SHAPE.group, 0) for part in (turned(key), value.view(len(key), 2, 4))
    )
    scores = (q @ k.transpose(1, 2) * SHAPE.scale).masked_fill(~who_sees_whom(), float("-inf"))
    return (scores.softmax(-1) @ v).transpose(0, 1).flatten(1)


@pytest.mark.parametrize("group_tokens", [512, 2], ids=["one group of rows", "several"])
@pytest.mark.parametrize("last_only", [False, True])
def test_values_and_gradients_are_those_of_a_masked_softmax(
    last_only: bool, group_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouping, "_CPU_TOKENS", group_tokens)
    query, key, value, rotation = inputs()
    layout = lay_out(PROMPTS, OWNERS, TAILS, last_only=last_only)
    assert len(layout.rows) == (1 if group_tokens == 512 else 3)
    lasts = torch.tensor(PROMPTS).cumsum(0) - 1
    asked = torch.cat([lasts, torch.arange(sum(PROMPTS), len(query))]) if last_only else torch.arange(len(query))
    leaves = [part.clone().requires_grad_() for part in (query, key, value)]
    others = [part.clone().requires_grad_() for part in (query, key, value)]
    found = attend(leaves[0][asked], *leaves[1:], layout, (rotation.of(asked), rotation), SHAPE)
    expected = plain(*others, rotation)[asked]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (weights * found).sum().backward()
    (weights * expected).sum().backward()
    for leaf, other in zip(leaves, others, strict=True):
        torch.testing.assert_close(leaf.grad, other.grad, rtol=0, atol=1e-12)


def test_prompts_alone_are_read_too() -> None:
    query, key, value, rotation = (part for part in inputs())
    count = sum(PROMPTS)
    layout = lay_out(PROMPTS, [0], [0], last_only=False)
    short = rotation.of(torch.arange(count))
    found = attend(query[:count], key[:count], value[:count], layout, (short, short), SHAPE)
    torch.testing.assert_close(found, plain(query, key, value, rotation)[:count], rtol=0, atol=1e-12)


def test_large_scores_stay_finite_on_padding() -> None:
    query, key, value, rotation = inputs()
    leaves = [(100.0 * part).float().requires_grad_() for part in (query, key, value)]
    turns = Rotation(rotation.cos.float(), rotation.sin.float())
    layout = lay_out(PROMPTS, OWNERS, TAILS, last_only=False)
    attend(*leaves, layout, (turns, turns), SHAPE).sum().backward()
    assert all(bool(leaf.grad.isfinite().all()) for leaf in leaves)


def test_the_norm_has_the_numbers_and_gradients_of_torch() -> None:
    states, weight = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((7, 6), (6,)))
    expected = torch.nn.functional.rms_norm(states, (6,), weight, 1e-5)
    torch.testing.assert_close(rms_norm(states, weight, 1e-5), expected, rtol=0, atol=1e-12)
    assert torch.autograd.gradcheck(lambda x, w: rms_norm(x, w, 1e-5), (states, weight), atol=1e-7, rtol=0)
