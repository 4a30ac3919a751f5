"""From judged groups to trajectories: UEC-RL's stages 1, 4 and 7 on the cases of the specification."""

from __future__ import annotations

import math

import pytest
import torch

from tests.support.objective_worlds import group, judged, objective
from uec_vlm.config import preset
from uec_vlm.objective import (
    Objective,
    build_objective,
    choose,
    group_rewards,
    group_trajectories,
    refresh,
    staleness,
)
from uec_vlm.records import Judged, Source


def of_preset(name: str) -> Objective:
    return build_objective(preset(name)["objective"])


def kept_accuracies(items: list[Judged], source: Source, chosen: Objective) -> list[float]:
    old = [torch.full((3,), -1.2) for _ in items]
    found = group_trajectories(items, source=source, objective=chosen, step=7, old_logprobs=old)
    assert all(item.born == 7 and item.uses == 0 for item in found.kept)
    return [item.judged.accuracy for item in found.kept]


@pytest.mark.parametrize("right", range(21))
def test_uec_keeps_the_successes_of_twenty_extra_rollouts_and_nothing_else(right: int) -> None:
    expected = [1.0] * right if 0 < right < 20 else []
    assert kept_accuracies(group(right, 20, source="extra"), "extra", of_preset("uec")) == expected


@pytest.mark.parametrize(("right", "expected"), [
    (0, []), (1, [1.0]), (9, [1.0] * 9), (10, []), (11, [0.0] * 9), (19, [0.0]), (20, []),
])  # fmt: skip
def test_uec_reference_selects_by_the_absolute_advantage(right: int, expected: list[float]) -> None:
    """The released code: nothing at exactly 10 of 20, failures only from 11 on."""
    assert kept_accuracies(group(right, 20, source="extra"), "extra", of_preset("uec_reference")) == expected


def test_regular_rollouts_of_uniform_groups_vanish_in_uec_and_stay_in_grpo() -> None:
    for right in (0, 5):
        assert kept_accuracies(group(right, 5), "regular", of_preset("uec")) == []
        assert len(kept_accuracies(group(right, 5), "regular", of_preset("grpo"))) == 5
    assert kept_accuracies(group(1, 5), "regular", of_preset("uec")) == [1.0, 0.0, 0.0, 0.0, 0.0]


def test_a_truncated_success_goes_and_is_counted() -> None:
    items = [judged(1.0, finish="length"), judged(1.0), judged(0.0, finish="length"), judged(0.0)]
    found = choose(items, source="regular", objective=of_preset("uec"))
    assert found.indices == [1, 2, 3]
    assert found.dropped == {"truncated": 1}


def test_a_masked_truncated_answer_stays_in_the_denominators_without_an_advantage() -> None:
    items = [judged(1.0, finish="length"), judged(1.0), judged(0.0)]
    masked = objective(retention={"regular": {"name": "everything", "truncated_answers": "mask"}})
    found = choose(items, source="regular", objective=masked)
    kept = choose(items, source="regular", objective=objective())
    assert found.indices == [0, 1, 2]
    assert float(found.advantages[0]) == 0.0 < float(kept.advantages[0])
    assert torch.equal(found.advantages[1:], kept.advantages[1:])


def test_what_is_dropped_is_counted_by_reason() -> None:
    uniform = choose(group(5, 5), source="regular", objective=of_preset("uec"))
    assert (uniform.indices, uniform.dropped) == ([], {"no_advantage": 5})
    extra = choose(group(1, 20, source="extra"), source="extra", objective=of_preset("uec"))
    assert extra.dropped == {"below_threshold": 19}


def test_an_empty_group_is_an_empty_selection() -> None:
    found = group_trajectories([], source="extra", objective=of_preset("uec"), step=0, old_logprobs=[])
    assert (found.kept, found.dropped, found.advantages.shape) == ([], {}, (0,))


def test_extra_advantages_over_the_union() -> None:
    """One right of 20 in the extra group; over the union with 5 failures it is one of 25."""
    extra, regular = group(1, 20, source="extra"), group(0, 5)
    alone = choose(extra, source="extra", objective=objective(exploration={"name": "all_failed"}), union_with=regular)
    union = objective(exploration={"name": "all_failed", "baseline": "union"})
    together = choose(extra, source="extra", objective=union, union_with=regular)
    # A+ = (1 - k/n) / s = sqrt((n - 1)(n - k) / (k n)), k = 1: sqrt(19 x 19 / 20) and sqrt(24 x 24 / 25).
    assert math.isclose(float(alone.advantages[0]), 4.2485292, rel_tol=0, abs_tol=1e-4)
    assert math.isclose(float(together.advantages[0]), 4.8, rel_tol=0, abs_tol=1e-4)
    assert together.advantages.shape == (20,)


def test_a_kl_penalty_in_the_reward_reaches_extra_rollouts_and_the_union() -> None:
    """Rewards 1, 0 | 0, 0 less 0.1 per nat of log pi - log pi_ref: 1 - 0.3, 0 + 0.3 | -0.6, 0."""
    extra, regular = group(1, 2, source="extra"), group(0, 2)
    mine = [torch.full((3,), -1.0)] * 2
    penalty = objective(
        advantage="group_centred",
        kl={"name": "k1", "coef": 0.1, "place": "reward"},
        exploration={"name": "all_failed", "baseline": "union"},
        retention={"extra": "everything"},
    )
    own = [torch.full((3,), -2.0), torch.full((3,), 0.0)]
    of_regular = group_rewards(
        regular, objective=penalty, logprobs=mine, reference_logprobs=[torch.full((3,), -3.0), torch.full((3,), -1.0)]
    )
    assert of_regular.tolist() == pytest.approx([-0.6, 0.0], rel=0, abs=1e-6)
    found = group_trajectories(
        extra, source="extra", objective=penalty, step=0, old_logprobs=mine, reference_logprobs=own,
        union_with=regular, union_rewards=of_regular,
    )  # fmt: skip
    # Mean of 0.7, 0.3, -0.6, 0.0 is 0.1.
    assert found.advantages.tolist() == pytest.approx([0.6, 0.2], rel=0, abs=1e-6)
    assert [t.advantage for t in found.kept] == pytest.approx([0.6, 0.2], rel=0, abs=1e-6)


def test_a_kl_penalty_in_the_reward_needs_the_scores() -> None:
    penalty = objective(kl={"name": "k1", "place": "reward"})
    with pytest.raises(ValueError, match="logprobs and reference_logprobs must be given"):
        choose(group(1, 2), source="regular", objective=penalty)
    with pytest.raises(ValueError, match="3 rewards for 2 completions and 0 of the union"):
        choose(group(1, 2), source="regular", objective=objective(), rewards=torch.zeros(3))


def test_old_logprobs_and_weights_follow_the_mode_of_the_source() -> None:
    behaviour, old = torch.full((3,), -1.5), torch.full((3,), -1.0)
    items = [judged(1.0, source="extra", behaviour=behaviour), judged(0.0, source="extra", behaviour=behaviour)]
    expected = {"behaviour": (behaviour, 1.0), "recomputed": (old, 1.0), "truncated": (old, math.exp(0.5))}
    for mode, (against, weight) in expected.items():
        chosen = objective(old_logprobs={"extra": mode}, retention={"extra": "above"})
        (found,) = group_trajectories(items, source="extra", objective=chosen, step=0, old_logprobs=[old, old]).kept
        assert torch.equal(found.old_logprobs, against)
        torch.testing.assert_close(found.importance_weights, torch.full((3,), weight), rtol=0, atol=1e-6)


def test_weights_of_sequences_and_masks_are_settings_of_both_paths() -> None:
    behaviour, old = torch.tensor([-1.5, -1.5, -1.5]), torch.tensor([-1.0, -1.0, -1.9])
    items = [judged(1.0, behaviour=behaviour), judged(0.0, behaviour=behaviour)]
    settings = {"regular": "truncated", "weight_level": "sequence"}
    # the product of the ratios is e^0.6 = 1.8221188; above 1.8 it is masked
    for ratio, weight in ((None, math.exp(0.6)), (1.8, 0.0)):
        chosen = objective(old_logprobs={**settings, "mask_ratio": ratio}, retention={"regular": "everything"})
        item = group_trajectories(items, source="regular", objective=chosen, step=0, old_logprobs=[old, old]).kept[0]
        torch.testing.assert_close(item.importance_weights, torch.full((3,), weight), rtol=0, atol=1e-6)
        again = refresh(item, old, objective=chosen)
        torch.testing.assert_close(again.importance_weights, torch.full((3,), weight), rtol=0, atol=1e-6)


def test_refresh_takes_the_ratio_against_the_policy_of_now() -> None:
    behaviour = torch.full((3,), -1.5)
    items = [judged(1.0, source="extra", behaviour=behaviour), judged(0.0, source="extra", behaviour=behaviour)]
    chosen = of_preset("uec")
    (item,) = group_trajectories(
        items, source="extra", objective=chosen, step=2, old_logprobs=[torch.full((3,), -1.0)] * 2
    ).kept
    now = refresh(item, torch.full((3,), -1.7), objective=chosen)
    assert torch.equal(now.old_logprobs, torch.full((3,), -1.7))
    torch.testing.assert_close(now.importance_weights, torch.full((3,), math.exp(-0.2)), rtol=0, atol=1e-6)
    assert (now.born, now.uses, now.advantage) == (2, 0, item.advantage)
    regular = group_trajectories(
        group(1, 2), source="regular", objective=chosen, step=2, old_logprobs=[torch.full((3,), -1.0)] * 2
    ).kept[0]
    assert torch.equal(refresh(regular, torch.full((3,), -9.0), objective=chosen).importance_weights, torch.ones(3))


def test_refresh_keeps_the_ratio_against_what_sampled_where_that_was_chosen() -> None:
    """Recomputed without a weight, completions that were likelier where they were sampled would count too often."""
    behaviour = torch.full((3,), -1.5)
    items = [judged(1.0, source="extra", behaviour=behaviour), judged(0.0, source="extra", behaviour=behaviour)]
    chosen = objective(exploration="all_failed", retention={"extra": "above"}, old_logprobs={"extra": "behaviour"})
    (item,) = group_trajectories(
        items, source="extra", objective=chosen, step=2, old_logprobs=[torch.full((3,), -1.0)] * 2
    ).kept
    now = refresh(item, torch.full((3,), -1.7), objective=chosen)
    assert torch.equal(now.old_logprobs, behaviour)
    assert torch.equal(now.importance_weights, torch.ones(3))


def test_the_format_reward_moves_the_advantage_and_not_the_difficulty() -> None:
    items = [judged(0.0, reward=0.1), judged(0.0, reward=0.0)]
    found = choose(items, source="regular", objective=of_preset("uec"))
    assert float(found.advantages[0]) > 0
    assert not any(item.accuracy for item in items)


def test_retention_by_correctness_looks_at_the_verdict_and_not_at_the_reward() -> None:
    items = [judged(0.0, reward=0.1), judged(1.0, reward=0.0)]
    found = choose(items, source="regular", objective=objective(retention={"regular": "correct"}))
    assert found.indices == [1]


def test_extra_rollouts_can_have_an_advantage_of_their_own() -> None:
    """AEPO: the successes at the second temperature count 1, those at the first are group-normalised."""
    chosen = of_preset("aepo")
    extra = choose(group(1, 5, source="extra"), source="extra", objective=chosen)
    regular = choose(group(1, 5), source="regular", objective=chosen)
    assert extra.advantages.tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]
    assert extra.indices == [0]
    assert math.isclose(float(regular.advantages[0]), 1.7888504, rel_tol=0, abs_tol=1e-5)


def test_dapo_shapes_by_length_and_wants_the_limit() -> None:
    items = [judged(1.0, length=5), judged(1.0, length=9), judged(0.0, length=5)]
    chosen = of_preset("dapo")
    with pytest.raises(ValueError, match="limit of completion tokens"):
        choose(items, source="regular", objective=chosen)
    # Limit 10, buffer 2: rewards 1, 1 - 0.5, -1.
    found = choose(items, source="regular", objective=chosen, limit=10)
    rewards = torch.tensor([1.0, 0.5, -1.0], dtype=torch.float64)
    expected = (rewards - rewards.mean()) / (rewards.std() + 1e-6)
    torch.testing.assert_close(found.advantages, expected, rtol=0, atol=1e-12)


def test_a_kl_penalty_in_the_reward_moves_the_advantages() -> None:
    chosen = objective(kl={"name": "k1", "coef": 0.1, "place": "reward"}, advantage="group_centred")
    items = group(1, 2)
    old = [torch.full((3,), -1.0), torch.full((3,), -1.0)]
    reference = [torch.full((3,), -2.0), torch.full((3,), -1.0)]
    found = group_trajectories(
        items, source="regular", objective=chosen, step=0, old_logprobs=old, reference_logprobs=reference
    )
    # Rewards 1 - 0.1 x 3 = 0.7 and 0: centred +-0.35.
    torch.testing.assert_close(found.advantages, torch.tensor([0.35, -0.35], dtype=torch.float64), rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="reference_logprobs must be given"):
        group_trajectories(items, source="regular", objective=chosen, step=0, old_logprobs=old)


def test_staleness_is_a_sum_and_a_weight() -> None:
    old = [torch.full((3,), -1.0)] * 2
    kept = group_trajectories(group(1, 2), source="regular", objective=objective(), step=3, old_logprobs=old).kept
    assert staleness(kept, step=5) == (4.0, 2.0)
    assert staleness([], step=5) == (0.0, 0.0)
