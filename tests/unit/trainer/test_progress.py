"""The line that a person reads while a run goes says what happened and nothing that did not."""

from __future__ import annotations

from uec_vlm.trainer.progress import summary

ROW = {"rollout/accuracy": 0.5, "rollout/entropy": 0.1, "rollout/sampled_tokens": 600.0, "time/step": 2.0}


def test_hard_prompts_are_told_as_solved_only_where_something_was_tried() -> None:
    explored = ROW | {"explore/hard_prompts": 4.0, "explore/explored_prompts": 4.0, "explore/solved": 3.0}
    assert "hard 3/4 " in summary(explored)
    plain = ROW | {"explore/hard_prompts": 4.0, "explore/explored_prompts": 0.0, "explore/solved": 0.0}
    assert "hard 4 " in summary(plain), "GRPO samples nothing more for them: 0/4 would read as failed attempts"


def test_tokens_per_second_are_those_of_the_whole_step_with_its_evaluation() -> None:
    assert summary(ROW).endswith("300 tok/s")
    assert summary(ROW | {"time/evaluate": 1.0, "eval/pass@1": 0.25}).endswith("200 tok/s  validation 0.250")
