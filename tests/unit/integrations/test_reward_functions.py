"""The reward functions, called with what TRL, verl and EasyR1 pass."""

import importlib.util
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import uec_vlm.integrations.easyr1 as easyr1
import uec_vlm.integrations.trl as trl
import uec_vlm.integrations.verl as verl

RIGHT = r"<think>half of 90</think> so \boxed{45^\circ}"
WRONG = r"\boxed{54°}"


def as_messages(*texts: str) -> list[list[dict[str, Any]]]:
    return [[{"role": "assistant", "content": text}] for text in texts]


def test_trl_passes_messages_or_texts_and_columns_as_lists() -> None:
    columns = {"prompts": ["p"] * 2, "completion_ids": [[1], [2]], "trainer_state": object(), "answer": ["45", "45"]}
    for completions in ([RIGHT, WRONG], as_messages(RIGHT, WRONG)):
        assert trl.accuracy_reward(completions=completions, **columns) == [1.0, 0.0]
        assert trl.format_reward(completions=completions, **columns) == [1.0, 0.0]
    parts = [[{"role": "assistant", "content": [{"type": "text", "text": RIGHT}]}]]
    assert trl.accuracy_reward(completions=parts, solution=["45"]) == [1.0]


def test_trl_gets_none_where_nothing_could_be_judged() -> None:
    assert trl.accuracy_reward([RIGHT], answer=[r"\frac{1}{"]) == [None]


def test_trl_uses_the_choices_and_logs_the_reasons() -> None:
    metrics: dict[str, float] = {}
    extra: dict[str, list[Any]] = {}
    rewards = trl.accuracy_reward(
        [r"\boxed{B}", r"\boxed{A}", "nothing here"],
        answer=["10", "10", "10"],
        choices=[["9", "10"]] * 3,
        log_metric=metrics.__setitem__,
        log_extra=extra.__setitem__,
    )
    assert rewards == [1.0, 0.0, 0.0]
    assert metrics == {"verifier/choice": 1 / 3, "verifier/no_answer": 1 / 3, "verifier/wrong": 1 / 3}
    assert extra["extracted_answer"] == ["B", "A", None]


def test_trl_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match="needs the column 'answer' or 'solution'"):
        trl.accuracy_reward([RIGHT])
    with pytest.raises(ValueError, match="the formats are"):
        trl.format_reward([RIGHT], format_name="other")


def by_path(module: ModuleType) -> ModuleType:
    """The module as verl and EasyR1 load it: from its file, under another name."""
    assert module.__file__ is not None
    spec = importlib.util.spec_from_file_location("custom_module", Path(module.__file__))
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_verl_calls_one_by_one_and_logs_the_parts() -> None:
    score = by_path(verl).compute_score
    found = score(data_source="geo3k", solution_str=RIGHT, ground_truth="45", extra_info={"split": "test", "index": 3})
    assert found == {"score": 1.0, "acc": 1.0, "format": 1.0, "pred": r"45^\circ", "reason": "exact"}
    wrong = score("geo3k", WRONG, "45", None, format_weight=0.1, reward_router_address=None)
    assert (wrong["score"], wrong["acc"], wrong["format"]) == (0.0, 0.0, 0.0)
    assert wrong.keys() == found.keys()
    lettered = score("geo3k", r"\boxed{B}", "10", {"choices": ["9", "10"], "question": "Find x."}, format_weight=0.25)
    assert (lettered["score"], lettered["acc"]) == (0.75, 1.0)


def test_easyr1_calls_with_dicts_in_batches_or_alone() -> None:
    module = by_path(easyr1)
    score = partial(module.compute_score, format_weight=0.2)
    inputs = [{"response": text, "response_length": 9, "ground_truth": "45"} for text in (RIGHT, WRONG)]
    scores = score(inputs)
    assert [row["overall"] for row in scores] == [1.0, 0.0]
    assert [row["accuracy"] for row in scores] == [1.0, 0.0]
    assert all(isinstance(value, float) for row in scores for value in row.values())
    assert score(inputs[0]) == scores[0]
    assert (module.REWARD_NAME, module.REWARD_TYPE) == ("uec_vlm", "batch")


def test_rewards_keep_accuracy_and_format_apart() -> None:
    bare = r"\boxed{45}"
    assert trl.accuracy_reward([bare], answer=["45"]) == [1.0]
    assert trl.format_reward([bare]) == [0.0]
    found = verl.compute_score("", bare, "45", format_weight=0.5)
    assert (found["score"], found["acc"], found["format"]) == (0.5, 1.0, 0.0)
