"""`score`: alignment, support, exact entropy and moment, and what it must not compute."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.support.readings import prompts_for, random_batch
from tests.support.records import bare_prompt
from tests.support.table_model import table_policy
from uec_vlm.batches import collate_completions
from uec_vlm.policy import Policy, load_policy, prefill, score, score_padded
from uec_vlm.policy import lengths as grouping
from uec_vlm.records import CompletionBatch, TokenScores

TinyModel = Callable[[str], Path]
FORMS = pytest.mark.parametrize("form", [score, score_padded])


def assert_equal(found: Tensor, expected: Tensor, atol: float = 1e-6) -> None:
    torch.testing.assert_close(found, expected.to(found), rtol=0, atol=atol)


def table_batch(*completions: list[int]) -> CompletionBatch:
    """Completions of the prompt 0, 1, 2, whose last token is therefore 2."""
    return collate_completions([torch.tensor(ids) for ids in completions], [bare_prompt("p", 3)] * len(completions))


@FORMS
def test_a_table_is_returned_as_it_is(form) -> None:
    table = torch.randn(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    scores = form(table_policy(table), table_batch([4, 0, 3], [1], [2, 2]), temperature=1.0)
    log = table.log_softmax(-1)
    # The first token is predicted by the prompt's last token, 2; each later one by the token before it.
    expected = [[log[2, 4], log[4, 0], log[0, 3]], [log[2, 1], 0.0, 0.0], [log[2, 2], log[2, 2], 0.0]]
    assert_equal(scores.logprobs, torch.tensor(expected))


@FORMS
def test_entropy_and_moment_by_hand(form) -> None:
    # After token 2 the probabilities are .5 .25 .25 0 0; after token 0 they are uniform over five.
    table = torch.zeros(5, 5)
    table[2] = torch.tensor([math.log(0.5), math.log(0.25), math.log(0.25), -1e9, -1e9])
    scores = form(table_policy(table), table_batch([0, 4]), temperature=1.0)
    # H = 0.5 ln 2 + 0.5 ln 4 = 1.0397208 and ln 5 = 1.6094379.
    assert_equal(scores.entropy, torch.tensor([[1.0397208, 1.6094379]]))
    # sum p^2 (ln p + H) = .25 (-.6931472 + 1.0397208) + 2 * .0625 (-1.3862944 + 1.0397208) = 0.0433217; uniform: 0.
    assert_equal(scores.moment, torch.tensor([[0.0433217, 0.0]]))


@FORMS
def test_banned_tokens_are_renormalised_away(form) -> None:
    table = torch.log(torch.tensor([0.1, 0.2, 0.3, 0.4])).repeat(4, 1)
    table[:, 3] = 50.0
    scores = form(table_policy(table, banned_ids=(3,)), table_batch([0, 1, 2]), temperature=1.0)
    kept = torch.tensor([0.1, 0.2, 0.3]) / 0.6
    assert_equal(scores.logprobs, kept.log().unsqueeze(0))
    entropy = -(kept * kept.log()).sum()
    assert_equal(scores.entropy, entropy.expand(1, 3))
    assert_equal(scores.moment, (kept.square() * (kept.log() + entropy)).sum().expand(1, 3))
    with_all = form(table_policy(table, banned_ids=(3,)), table_batch([0, 1, 2]), temperature=1.0, banned_ids=())
    assert float(with_all.logprobs.detach().max()) < -40


def test_the_temperature_divides_the_logits() -> None:
    table = torch.randn(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    batch = table_batch([4, 0, 3])
    assert_equal(
        score(table_policy(table), batch, temperature=2.0).logprobs,
        score(table_policy(table / 2.0), batch, temperature=1.0).logprobs,
    )


def test_what_cannot_be_scored_is_refused() -> None:
    policy = table_policy(torch.zeros(5, 5), banned_ids=(3,))
    with pytest.raises(ValueError, match="temperature = 0"):
        score(policy, table_batch([1]), temperature=0.0)
    with pytest.raises(ValueError, match="banned token"):
        score(policy, table_batch([1, 3]), temperature=1.0)


@pytest.mark.parametrize("entropy_gradient", [False, True])
def test_entropy_carries_a_gradient_only_when_asked(entropy_gradient: bool) -> None:
    table = torch.randn(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    policy = table_policy(table, banned_ids=(1,))
    scores = score(policy, table_batch([4, 0]), temperature=0.7, entropy_gradient=entropy_gradient)
    assert scores.logprobs.requires_grad and not scores.moment.requires_grad
    assert scores.entropy.requires_grad == entropy_gradient
    if entropy_gradient:
        scores.entropy.sum().backward()
        leaf = table.clone().requires_grad_(True)
        rows = leaf[[2, 4]][:, [0, 2, 3, 4]] / 0.7
        torch.distributions.Categorical(logits=rows).entropy().sum().backward()
        assert_equal(policy.model.head.weight.grad.t(), leaf.grad, atol=1e-12)


def test_without_entropy_the_log_probabilities_are_the_same() -> None:
    table = torch.randn(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    full = score(table_policy(table), table_batch([4, 0]), temperature=1.0)
    lean = score(table_policy(table), table_batch([4, 0]), temperature=1.0, want_entropy=False)
    assert torch.equal(full.logprobs, lean.logprobs)
    assert not lean.entropy.any() and not lean.moment.any() and bool(full.entropy.all())


def scores_and_gradients(
    policy: Policy, batch: CompletionBatch, form=score, **settings
) -> tuple[TokenScores, dict[str, Tensor]]:
    policy.model.zero_grad()
    scores = form(policy, batch, temperature=0.9, entropy_gradient=True, **settings)
    (scores.logprobs.sum() + scores.entropy.sum()).backward()
    return scores, {name: parameter.grad.clone() for name, parameter in policy.model.named_parameters()}


@pytest.fixture
def policy(tiny_model: TinyModel) -> Policy:
    return load_policy(tiny_model("qwen2_5_vl"), dtype="float64")


def assert_same(found, expected) -> None:
    (scores, gradients), (other, other_gradients) = found, expected
    for name in ("logprobs", "entropy", "moment"):
        assert_equal(getattr(scores, name), getattr(other, name), atol=1e-12)
    for name, gradient in gradients.items():
        assert_equal(gradient, other_gradients[name], atol=1e-9)


def test_padding_is_never_read(policy: Policy) -> None:
    batch = random_batch(prompts_for(policy), per_prompt=2, longest=9)
    garbage = replace(batch, completion_ids=batch.completion_ids.masked_fill(~batch.completion_mask, 262))
    assert bool((garbage.completion_ids != batch.completion_ids).any())
    assert_same(scores_and_gradients(policy, garbage), scores_and_gradients(policy, batch))


def test_the_chunk_changes_nothing(policy: Policy) -> None:
    batch = random_batch(prompts_for(policy), per_prompt=2, longest=9)
    assert_same(scores_and_gradients(policy, batch, chunk=1), scores_and_gradients(policy, batch, chunk=1000))


def test_a_completion_scores_the_same_alone_and_in_a_batch(policy: Policy) -> None:
    batch = random_batch(prompts_for(policy), per_prompt=2, longest=9)
    with torch.no_grad():
        together = score(policy, batch, temperature=1.0)
        for row, place in enumerate(batch.prompt_index.tolist()):
            ids = batch.completion_ids[row][batch.completion_mask[row]]
            alone = score(policy, collate_completions([ids], [batch.prompts[place]]), temperature=1.0)
            assert_equal(together.logprobs[row, : len(ids)], alone.logprobs[0], atol=1e-10)


def test_the_picture_is_looked_at(policy: Policy) -> None:
    prompt, *_ = prompts_for(policy)
    blank = replace(prompt, pixel_values=torch.zeros_like(prompt.pixel_values))
    ids = torch.arange(5)
    with torch.no_grad():
        seen, unseen = score(policy, collate_completions([ids, ids], [prompt, blank]), temperature=1.0).logprobs
    assert float((seen - unseen).abs().max()) > 1e-3


def test_prompts_are_read_once_and_the_head_sees_completions_only(policy: Policy) -> None:
    batch = random_batch(prompts_for(policy), per_prompt=3, longest=9)
    sizes: dict[str, list[int]] = {"patches": [], "tokens": [], "head": []}
    backbone = policy.model.model
    backbone.visual.register_forward_pre_hook(lambda _, args: sizes["patches"].append(len(args[0])))
    backbone.language_model.embed_tokens.register_forward_pre_hook(
        lambda _, args: sizes["tokens"].append(args[0].numel())
    )
    policy.model.lm_head.register_forward_pre_hook(lambda _, args: sizes["head"].append(len(args[0])))
    with torch.no_grad():
        score(policy, batch, temperature=1.0)
    assert sizes["patches"] == [sum(len(prompt.pixel_values) for prompt in batch.prompts)]
    longest = max(len(prompt.token_ids) for prompt in batch.prompts)
    rows, width = batch.completion_ids.shape
    assert sizes["tokens"] == [len(batch.prompts) * longest, rows * (width - 1)]
    assert sizes["head"] == [int(batch.completion_mask.sum())]


def test_completions_run_in_groups_of_similar_length(policy: Policy, monkeypatch) -> None:
    batch = random_batch(prompts_for(policy), per_prompt=4, longest=20)
    lengths = batch.completion_mask.sum(1)
    expected = scores_and_gradients(policy, batch, form=score_padded)
    monkeypatch.setattr(grouping, "_CPU_TOKENS", 24)
    shapes: list[tuple[int, int]] = []
    embed = policy.model.model.language_model.embed_tokens
    hook = embed.register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape)))
    found = scores_and_gradients(policy, batch)
    hook.remove()
    groups = shapes[1:]  # the first are the prompts
    assert len(groups) > 2 and sum(rows for rows, _ in groups) >= int((lengths > 1).sum())
    assert sum(rows * width for rows, width in groups) < 0.8 * len(lengths) * (int(lengths.max()) - 1)
    for name in ("logprobs", "entropy", "moment"):
        assert_equal(getattr(found[0], name), getattr(expected[0], name))
    for name, gradient in expected[1].items():
        assert_equal(found[1][name], gradient, atol=1e-6 * max(1.0, float(gradient.abs().max())))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_under_gradient_checkpointing_the_scores_are_the_same(tiny_model: TinyModel, attention: str) -> None:
    settings = {"dtype": "float64", "attn_implementation": attention}
    checkpointed = load_policy(tiny_model("qwen2_5_vl"), gradient_checkpointing=True, **settings)
    checkpointed.model.train()
    batch = random_batch(prompts_for(checkpointed), per_prompt=2, longest=6)
    with torch.no_grad():
        expected = score_padded(load_policy(tiny_model("qwen2_5_vl"), **settings), batch, temperature=1.0)
        in_training = score(checkpointed, batch, temperature=1.0)
        with pytest.raises(ValueError, match="gradient checkpointing drops"):
            prefill(checkpointed, batch.prompts)
        checkpointed.model.eval()
        in_evaluation = score(checkpointed, batch, temperature=1.0)
    # The norms inside the model are float32 whatever its weights are.
    for found in (in_training, in_evaluation):
        assert_equal(found.logprobs, expected.logprobs)
        assert_equal(found.entropy, expected.entropy)


def test_under_gradient_checkpointing_prompts_are_read_once(tiny_model: TinyModel) -> None:
    policy = load_policy(tiny_model("qwen2_5_vl"), gradient_checkpointing=True)
    policy.model.train()
    batch = random_batch(prompts_for(policy), per_prompt=3, longest=9)
    sizes: dict[str, list[int]] = {"patches": [], "tokens": []}
    backbone = policy.model.model
    backbone.visual.register_forward_pre_hook(lambda _, args: sizes["patches"].append(len(args[0])))
    backbone.language_model.embed_tokens.register_forward_pre_hook(
        lambda _, args: sizes["tokens"].append(args[0].numel())
    )
    with torch.no_grad():
        score(policy, batch, temperature=1.0)
    read = [
        len(prompt.token_ids) + int((batch.completion_mask.sum(1) - 1)[batch.prompt_index == place].sum())
        for place, prompt in enumerate(batch.prompts)
    ]
    assert sizes == {"patches": [sum(len(p.pixel_values) for p in batch.prompts)], "tokens": [len(read) * max(read)]}


def test_with_flash_attention_checkpointing_takes_padded_rows(tiny_model: TinyModel, monkeypatch) -> None:
    # Flash attention cannot be loaded here: only the choice of the form is seen, by the rows that are read.
    policy = load_policy(tiny_model("qwen2"), gradient_checkpointing=True)
    policy.model.train()
    batch = random_batch(prompts_for(policy), per_prompt=3, longest=5)
    rows: list[int] = []
    policy.model.model.embed_tokens.register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
    with torch.no_grad():
        score(policy, batch, temperature=1.0)
        monkeypatch.setattr("uec_vlm.policy.packed._attention", lambda policy: "flash_attention_2")
        score(policy, batch, temperature=1.0)
    assert rows == [len(batch.prompts), len(batch.completion_ids)]


def test_bfloat16_weights_give_float32_scores(tiny_model: TinyModel) -> None:
    policy = load_policy(tiny_model("qwen2_5_vl"), dtype="bfloat16")
    batch = random_batch(prompts_for(policy), per_prompt=2, longest=6)
    scores = score(policy, batch, temperature=1.0)
    assert {scores.logprobs.dtype, scores.entropy.dtype, scores.moment.dtype} == {torch.float32}
    scores.logprobs.sum().backward()
    assert all(bool(parameter.grad.isfinite().all()) for parameter in policy.model.parameters())
