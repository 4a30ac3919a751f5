"""Cutting by a budget of tokens: nothing lost, nothing over the budget, groups together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.records import bare_prompt, bare_trajectory
from uec_vlm.batches import collate, cut_by_tokens
from uec_vlm.records import Trajectory


def padded_tokens(part: list[Trajectory]) -> int:
    """Tokens of the two padded rectangles that the model is given, read off the collated batch."""
    batch = collate(part).completions
    return len(batch.prompts) * max(len(p.token_ids) for p in batch.prompts) + batch.completion_ids.numel()


groups = st.lists(st.tuples(st.integers(1, 40), st.lists(st.integers(1, 30), min_size=1, max_size=6)), max_size=8)


@given(groups=groups, budget=st.integers(1, 300))
def test_every_trajectory_is_in_one_part_and_parts_keep_the_budget(groups, budget: int) -> None:
    prompts = [bare_prompt(f"p{place}", length) for place, (length, _) in enumerate(groups)]
    trajectories = [
        bare_trajectory(prompt, length)
        for prompt, (_, lengths) in zip(prompts, groups, strict=True)
        for length in lengths
    ]
    parts = cut_by_tokens(trajectories, budget=budget)
    assert sorted(id(t) for part in parts for t in part) == sorted(id(t) for t in trajectories)
    for part in parts:
        assert part
        assert padded_tokens(part) <= budget or len(part) == 1


def test_completions_of_a_prompt_stay_together_and_the_prompt_counts_once() -> None:
    one, two = bare_prompt("one", 50), bare_prompt("two", 50)
    mixed = [bare_trajectory(prompt, 10) for _ in range(4) for prompt in (one, two)]
    # One group: 50 + 4 * 10 = 90 tokens. Were the prompt counted per completion it would be 240.
    parts = cut_by_tokens(mixed, budget=90)
    assert [len(part) for part in parts] == [4, 4]
    assert all(len({t.judged.rollout.prompt.sample.id for t in part}) == 1 for part in parts)


def test_similar_lengths_come_together() -> None:
    trajectories = [bare_trajectory(bare_prompt(f"p{i}", 10), 5 if i % 2 else 90) for i in range(8)]
    parts = cut_by_tokens(trajectories, budget=400)
    # Four of 10 + 90 fill 400; the short ones need 4 * (10 + 5) = 60 together.
    assert [sorted(len(t.old_logprobs) for t in part) for part in parts] == [[90] * 4, [5] * 4]


def test_the_budget_may_be_filled_to_the_last_token() -> None:
    prompts = [bare_prompt(f"p{place}", 10) for place in range(2)]
    apart = [bare_trajectory(prompt, 5) for prompt in prompts]
    assert [len(part) for part in cut_by_tokens(apart, budget=30)] == [2]
    assert [len(part) for part in cut_by_tokens(apart, budget=29)] == [1, 1]
    shared = [bare_trajectory(prompts[0], 5) for _ in range(2)]
    assert [len(part) for part in cut_by_tokens(shared, budget=20)] == [2]
    assert [len(part) for part in cut_by_tokens(shared, budget=19)] == [1, 1]


def test_one_that_exceeds_the_budget_stands_alone() -> None:
    prompt = bare_prompt("p", 10)
    parts = cut_by_tokens([bare_trajectory(prompt, 200), bare_trajectory(prompt, 5)], budget=50)
    assert [len(part) for part in parts] == [1, 1]


def test_nothing_gives_nothing_and_a_senseless_budget_is_refused() -> None:
    assert cut_by_tokens([], budget=10) == []
    with pytest.raises(ValueError, match="budget = 0"):
        cut_by_tokens([], budget=0)
