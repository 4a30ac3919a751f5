"""Which prompts are explored, what is remembered, and the weights of off-policy rollouts."""

from __future__ import annotations

import math

import pytest
import torch

from uec_vlm.objective.exploration import (
    EMPTY_HISTORY,
    ExplorationSettings,
    PromptHistory,
    all_failed,
    choose_prompts,
    everybody,
    importance_weights,
    nobody,
    pass_rate_at_most,
    record_exploration,
)

GROUPS = [[0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [1.0, 1.0]]


def test_rules_by_hand() -> None:
    assert nobody(GROUPS) == []
    assert all_failed(GROUPS) == [0, 2]
    assert pass_rate_at_most(GROUPS, tau=0.5) == [0, 2, 1]
    assert pass_rate_at_most(GROUPS, tau=0.0) == all_failed(GROUPS)
    assert everybody(GROUPS) == [0, 1, 2, 3]


def test_a_pass_rate_of_exactly_tau_counts() -> None:
    # 1/5 is not exact in binary, nor is tau.
    assert pass_rate_at_most([[1.0, 0.0, 0.0, 0.0, 0.0]], tau=0.2) == [0]


def test_a_prompt_without_rollouts_is_not_difficult() -> None:
    assert all_failed([[]]) == []
    assert pass_rate_at_most([[]]) == []


@pytest.mark.parametrize("hard", [0, 1, 15, 16, 40])
def test_any_number_of_hard_prompts(hard: int) -> None:
    groups = [[0.0] * 5] * hard + [[1.0] * 5] * (40 - hard)
    assert choose_prompts(groups, rule=all_failed, settings=ExplorationSettings(), step=0) == list(range(hard))


def test_no_prompts_at_all() -> None:
    assert choose_prompts([], rule=all_failed, settings=ExplorationSettings(), step=0) == []


def chosen(step: int = 0, scale: float = 1.0, **settings: object) -> list[int]:
    return choose_prompts(
        [[0.0]] * 10,
        rule=all_failed,
        settings=ExplorationSettings(**settings),
        step=step,
        scale=scale,  # type: ignore[arg-type]
    )


def test_the_cap_is_in_rollouts() -> None:
    assert chosen(max_rollouts=59, completions=20) == [0, 1]
    assert chosen(max_rollouts=0) == []


def test_the_schedule_includes_both_ends() -> None:
    assert [bool(chosen(step, first_step=3, last_step=4)) for step in range(6)] == [False] * 3 + [True] * 2 + [False]


def test_the_controllers_share_takes_the_first_of_the_rules_order() -> None:
    assert chosen(scale=0.25) == [0, 1, 2]  # 2.5 rounds up
    assert chosen(scale=0.0) == []


def test_a_share_beyond_one_adds_the_other_prompts_lowest_pass_rate_first() -> None:
    groups = [[1.0, 1.0], [0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]
    found = {
        scale: choose_prompts(groups, rule=all_failed, settings=ExplorationSettings(), step=0, scale=scale)
        for scale in (1.0, 1.4, 2.0)
    }
    assert found == {1.0: [1, 4], 1.4: [1, 4, 2], 2.0: [1, 4, 2, 0, 3]}


def test_a_resting_prompt_is_not_added_by_the_share_either() -> None:
    history = PromptHistory({"a": (5, 9)})
    settings = ExplorationSettings(patience=2, rest=3)
    arguments = {"rule": all_failed, "settings": settings, "scale": 2.0, "prompt_ids": ["a", "b"], "history": history}
    assert choose_prompts([[0.0], [1.0]], step=10, **arguments) == [1]  # type: ignore[arg-type]
    assert choose_prompts([[0.0], [1.0]], step=13, **arguments) == [0, 1]  # type: ignore[arg-type]


def test_hopeless_prompts_rest_and_are_tried_again() -> None:
    settings = ExplorationSettings(patience=2, rest=3)
    history = EMPTY_HISTORY
    explored = []
    for step in range(12):
        found = choose_prompts(
            [[0.0]], rule=all_failed, settings=settings, step=step, prompt_ids=["a"], history=history
        )
        explored.append(bool(found))
        history = record_exploration(history, ["a"] * len(found), [False] * len(found), step=step)
    # Two tries, three steps of rest, one try, three steps of rest ...
    assert explored == [True, True, False, False, False, True, False, False, False, True, False, False]


def test_a_success_wipes_the_record_and_other_prompts_are_untouched() -> None:
    history = PromptHistory({"a": (2, 0), "b": (1, 0)})
    assert record_exploration(history, ["a"], [True], step=1).in_vain == {"b": (1, 0)}
    assert record_exploration(history, [], [], step=1) == history
    assert history.in_vain == {"a": (2, 0), "b": (1, 0)}


OLD = torch.tensor([-1.0, -2.0])
BEHAVIOUR = torch.tensor([-1.5, -1.0])


def test_behaviour_takes_the_ratio_against_what_sampled() -> None:
    old, weights = importance_weights(OLD, BEHAVIOUR, mode="behaviour")
    assert torch.equal(old, BEHAVIOUR)
    assert torch.equal(weights, torch.ones(2))


def test_recomputed_pretends_the_old_policy_sampled() -> None:
    old, weights = importance_weights(OLD, BEHAVIOUR, mode="recomputed")
    assert torch.equal(old, OLD)
    assert torch.equal(weights, torch.ones(2))


def test_truncated_weighs_and_caps() -> None:
    # e^0.5 = 1.6487213 and e^-1 = 0.3678794; the cap of 1.5 cuts the first.
    old, weights = importance_weights(OLD, BEHAVIOUR, mode="truncated", cap=2.0)
    assert torch.equal(old, OLD)
    torch.testing.assert_close(weights, torch.tensor([1.6487213, 0.3678794]), rtol=0, atol=1e-6)
    assert math.isclose(float(importance_weights(OLD, BEHAVIOUR, cap=1.5)[1][0]), 1.5)


def test_a_sequence_has_one_weight_the_product_of_its_tokens() -> None:
    # ratios e^0.5 and e^-1: together e^-0.5 = 0.6065307, for both tokens.
    old, weights = importance_weights(OLD, BEHAVIOUR, level="sequence")
    assert torch.equal(old, OLD)
    torch.testing.assert_close(weights, torch.tensor([0.6065307, 0.6065307]), rtol=0, atol=1e-6)
    # The other way round e^0.5 = 1.6487213, cut by the cap of 1.2.
    assert importance_weights(BEHAVIOUR, OLD, level="sequence", cap=1.2)[1].tolist() == pytest.approx([1.2, 1.2])


@pytest.mark.parametrize("mode", ["behaviour", "recomputed", "truncated"])
def test_what_is_too_far_from_the_sampler_is_masked_on_both_sides(mode: str) -> None:
    whole = importance_weights(OLD, BEHAVIOUR, mode=mode)[1].tolist()
    # ratios e^0.5 = 1.65 and e^-1 = 1 / 2.72; as one sequence e^-0.5 = 1 / 1.65
    for ratio, kept in ((1.6, [0, 0]), (1.7, [1, 0]), (2.7, [1, 0]), (2.8, [1, 1])):
        old, weights = importance_weights(OLD, BEHAVIOUR, mode=mode, mask_ratio=ratio)
        assert weights.tolist() == [weight * keep for weight, keep in zip(whole, kept, strict=True)]
        assert torch.equal(old, importance_weights(OLD, BEHAVIOUR, mode=mode)[0])
    for ratio, kept in ((1.6, False), (1.7, True)):
        assert importance_weights(OLD, BEHAVIOUR, mode=mode, level="sequence", mask_ratio=ratio)[1].all() == kept


def test_truncated_weights_make_the_estimate_unbiased_below_the_cap() -> None:
    """E over behaviour of weight x f = E over the old policy of f, on a full vocabulary."""
    logits = torch.linspace(-1, 1, 6, dtype=torch.float64)
    old, hot = torch.log_softmax(logits, 0), torch.log_softmax(logits / 1.2, 0)
    value = torch.arange(6, dtype=torch.float64)
    _, weights = importance_weights(old, hot, cap=100.0)
    expected = float((old.exp() * value).sum())
    assert math.isclose(float((hot.exp() * weights * value).sum()), expected, rel_tol=0, abs_tol=1e-12)
    # The twin: without weights the estimate is that of the hot policy.
    assert abs(float((hot.exp() * value).sum()) - expected) > 0.1
