"""The ordinary extremes of a step: all right, all wrong, nothing kept, nothing left to teach."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.support.worlds import judge_by_parity, tiny_circle
from uec_vlm.errors import RunError
from uec_vlm.records import Judged, Rollout
from uec_vlm.trainer.build import first_state
from uec_vlm.trainer.circle import Circle
from uec_vlm.trainer.loop import train

TinyModel = Callable[[str], Path]


def _verdicts(right: bool) -> Callable[[Sequence[Rollout]], list[Judged]]:
    modulus = 1 if right else 10**9
    return lambda rollouts: judge_by_parity(rollouts, modulus=modulus)


def _rows(circle: Circle, steps: int = 2) -> list[dict[str, float]]:
    return [turn.report.row() for turn in train(circle, first_state(), last_step=steps)]


@pytest.mark.parametrize("right", [True, False])
def test_groups_without_a_difference_change_nothing(right: bool, tiny_model: TinyModel) -> None:
    circle = replace(tiny_circle(tiny_model("qwen2_5_vl")), judge=_verdicts(right))
    before = {name: value.clone() for name, value in circle.policy.model.state_dict().items()}
    rows = _rows(circle)
    assert all(row["update/optimizer_steps"] == 0 for row in rows)
    assert all(row["explore/hard_prompts"] == (0 if right else 4) for row in rows)
    assert all(row["explore/solved"] == 0 for row in rows)
    assert all(row["explore/tokens"] == 0 for row in rows) is right
    assert all(row["update/trajectories"] == row["update/tokens"] == 0 for row in rows)
    assert not any("update/realised_dh" in row for row in rows), "nothing was moved"
    assert all(torch.equal(value, before[name]) for name, value in circle.policy.model.state_dict().items())


def test_only_extra_rollouts_can_teach_when_every_prompt_is_hard(tiny_model: TinyModel) -> None:
    def judge(rollouts: Sequence[Rollout]) -> list[Judged]:
        return judge_by_parity(rollouts, modulus=2 if rollouts[0].source == "extra" else 10**9)

    circle = replace(tiny_circle(tiny_model("qwen2_5_vl")), judge=judge)
    rows = _rows(circle, steps=3)
    assert sum(row["select/kept_extra"] for row in rows) > 0
    assert sum(row["select/kept_regular"] for row in rows) == 0
    assert sum(row["update/trajectories_extra"] for row in rows) > 0
    assert sum(row["update/trajectories_regular"] for row in rows) == 0


def test_the_cap_on_extra_rollouts_holds(tiny_model: TinyModel) -> None:
    circle = tiny_circle(tiny_model("qwen2_5_vl"), objective={"exploration": {"max_rollouts": 13}})
    row = _rows(replace(circle, judge=_verdicts(False)), steps=1)[0]
    assert row["explore/explored_prompts"] == 2
    assert row["explore/tokens"] <= 2 * 6 * 8


def test_everything_truncated_and_dropped_is_an_ordinary_step(tiny_model: TinyModel) -> None:
    dropped = {"regular": {"truncated_answers": "drop"}, "extra": {"truncated_answers": "drop"}}
    circle = tiny_circle(tiny_model("qwen2_5_vl"), objective={"retention": dropped}, rollout={"max_new_tokens": 1})
    row = _rows(circle, steps=1)[0]
    assert row["rollout/truncated"] == 1.0
    assert row["update/optimizer_steps"] == 0
    assert row["select/queue"] == 0


def test_dynamic_sampling_stops_with_a_clear_message_when_nothing_is_left_to_teach(tiny_model: TinyModel) -> None:
    circle = tiny_circle(
        tiny_model("qwen2_5_vl"), "dapo", objective={"dynamic_sampling": {"max_refills": 2, "when_exhausted": "stop"}}
    )
    with pytest.raises(RunError, match="after 2 refills only 0 of 4 prompts"):
        _rows(replace(circle, judge=_verdicts(True)), steps=1)


def test_what_dynamic_sampling_replaced_is_not_counted_as_kept(tiny_model: TinyModel) -> None:
    """Of all groups that teach, as many as a step has prompts are trained on; the others are told as dropped."""
    shape = {"dynamic_sampling": {"max_refills": 3, "when_exhausted": "train"}, "exploration": {"name": "none"},
             "accumulate": False, "replay": {"name": "none"}}  # fmt: skip
    circle = replace(
        tiny_circle(tiny_model("qwen2_5_vl"), objective=shape), judge=lambda some: judge_by_parity(some, modulus=3)
    )
    rows = _rows(circle, steps=3)
    assert all(row["select/kept_regular"] == row["update/trajectories"] for row in rows)
    assert sum(row.get("select/dropped_dynamic_sampling", 0) for row in rows) > 0


def test_hard_prompts_are_counted_without_exploration(tiny_model: TinyModel) -> None:
    none = {"exploration": {"name": "none"}, "replay": {"name": "none"}}
    rows = _rows(replace(tiny_circle(tiny_model("qwen2_5_vl"), objective=none), judge=_verdicts(False)))
    assert all((row["explore/hard_prompts"], row["explore/solved"], row["explore/tokens"]) == (4, 0, 0) for row in rows)


def test_a_prompt_that_was_solved_without_exploration_is_none_that_it_solved(tiny_model: TinyModel) -> None:
    everybody = {"exploration": {"name": "everybody"}}
    circle = replace(tiny_circle(tiny_model("qwen2_5_vl"), objective=everybody), judge=_verdicts(True))
    row = _rows(circle, steps=1)[0]
    assert (row["explore/explored_prompts"], row["explore/accuracy"], row["explore/solved"]) == (4, 1, 0)


@pytest.mark.parametrize("baseline", ["extra", "union"])
@pytest.mark.parametrize("coef", [0.0, 0.5])
def test_a_kl_penalty_in_the_reward_reaches_the_extra_rollouts(
    baseline: str, coef: float, tiny_model: TinyModel
) -> None:
    """Extra rollouts that all fail differ by the penalty alone, once the policy has left the reference."""

    def judge(rollouts: Sequence[Rollout]) -> list[Judged]:
        return judge_by_parity(rollouts, modulus=10**9 if rollouts[0].source == "extra" else 6)

    section = {
        "kl": {"coef": coef, "place": "reward"},
        "exploration": {"baseline": baseline},
        "accumulate": False,
    }
    circle = replace(tiny_circle(tiny_model("qwen2_5_vl"), objective=section), judge=judge)
    rows = _rows(circle, steps=4)
    assert sum(row["update/optimizer_steps"] for row in rows[:3]) > 0
    assert (sum(row.get("select/kept_extra", 0) for row in rows) > 0) is (coef > 0)


def test_a_penalty_on_length_reaches_the_extra_rollouts(tiny_model: TinyModel) -> None:
    exploration = {"name": "all_failed", "completions": 6, "temperature": 1.2}
    circle = tiny_circle(tiny_model("qwen2_5_vl"), "dapo", objective={"exploration": exploration})
    turn = next(iter(train(replace(circle, judge=_verdicts(False)), first_state(), last_step=1)))
    extra = [
        (len(item.rollout.completion_ids), float(reward))
        for chosen in turn.chosen
        if chosen.group.source == "extra"
        for item, reward in zip(chosen.group.judged, chosen.rewards, strict=True)
    ]
    # Wrong is -1, and a completion that reaches the limit of 8 tokens costs 1 more.
    assert {reward for length, reward in extra if length == 8} == {-2.0}
    assert all(reward > -2.0 for length, reward in extra if length < 8)


def test_staleness_in_nats_is_logged_by_source(tiny_model: TinyModel) -> None:
    """Fresh regular rollouts are scored as they were sampled; replayed ones are of an older policy."""
    rows = _rows(tiny_circle(tiny_model("qwen2_5_vl"), objective={"accumulate": False}), steps=4)
    first = next(row for row in rows if row["update/optimizer_steps"])
    replays = [row["update/staleness_nats_replay"] for row in rows if "update/staleness_nats_replay" in row]
    assert replays
    assert all(value > 1e-3 for value in replays)
    assert 0.0 <= first["update/staleness_nats_regular"] < min(replays)


def test_what_a_replay_moves_the_entropy_by_is_a_part_of_what_all_updates_do(tiny_model: TinyModel) -> None:
    section = {"accumulate": False, "replay": {"every": 2}}
    circle = tiny_circle(tiny_model("qwen2_5_vl"), objective=section, log={"realised_dh_every": 1})
    rows = _rows(circle, steps=4)
    replayed = [row for row in rows if row["update/trajectories_replay"]]
    assert replayed
    assert all(abs(row["replay/realised_dh"]) > 0 for row in replayed)
    both = [row for row in replayed if row["update/trajectories"] > row["update/trajectories_replay"]]
    assert both
    assert all(row["replay/realised_dh"] != row["update/realised_dh"] for row in both)
    assert all("replay/realised_dh" not in row for row in rows if not row["update/trajectories_replay"])


def test_extra_rollouts_are_hotter_and_weighted(tiny_model: TinyModel) -> None:
    circle = tiny_circle(tiny_model("qwen2_5_vl"), objective={"exploration": {"temperature": 1.5}})
    turn = next(iter(train(circle, first_state(), last_step=3)))
    extra = [row for row in turn.rows if row["source"] == "extra"]
    assert extra
    assert {row["temperature"] for row in extra} == {1.5}
    kept = [t for t in turn.state.queue if t.judged.rollout.source == "extra"]
    assert kept
    for trajectory in kept:
        gap = trajectory.old_logprobs - trajectory.judged.rollout.behaviour_logprobs
        torch.testing.assert_close(trajectory.importance_weights, gap.exp().clamp(max=2.0), rtol=0, atol=1e-6)
        assert not torch.equal(trajectory.importance_weights, torch.ones_like(gap))
