"""Padding and deduplication."""

from dataclasses import replace

import pytest
import torch

from tests.support.records import bare_prompt, bare_trajectory
from uec_vlm.batches import collate, collate_completions, on_device


def test_padding_is_on_the_right_and_neutral() -> None:
    one, two = bare_prompt("one", 3), bare_prompt("two", 5)
    batch = collate([bare_trajectory(one, 2, advantage=0.5), bare_trajectory(two, 3, advantage=-1.5)])
    assert batch.completions.prompts == (one, two)
    assert batch.completions.prompt_index.tolist() == [0, 1]
    assert batch.completions.completion_ids.tolist() == [[7, 7, 0], [7, 7, 7]]
    assert batch.completions.completion_mask.tolist() == [[True, True, False], [True, True, True]]
    assert batch.advantages.tolist() == [0.5, -1.5]
    assert batch.old_logprobs.tolist() == [[-1.0, -2.0, 0.0], [-1.0, -2.0, -3.0]]
    assert batch.importance_weights.tolist() == [[0.5, 0.5, 1.0], [0.5, 0.5, 0.5]]


def test_a_prompt_is_kept_once_whether_it_is_the_same_object_or_an_equal_one() -> None:
    prompt = bare_prompt("p", 3)
    again, other = bare_prompt("p", 3), bare_prompt("q", 3)
    batch = collate_completions([torch.ones(2, dtype=torch.long)] * 4, [prompt, other, again, prompt])
    assert batch.prompts == (prompt, other)
    assert batch.prompt_index.tolist() == [0, 1, 0, 0]


def test_one_sample_with_another_picture_is_another_prompt() -> None:
    grid = torch.tensor([[1, 2, 2]])
    prompt = replace(bare_prompt("p", 3), pixel_values=torch.ones(4, 6), image_grid_thw=grid)
    blank = replace(prompt, pixel_values=torch.zeros(4, 6))
    batch = collate_completions([torch.ones(1, dtype=torch.long)] * 2, [prompt, blank])
    assert batch.prompt_index.tolist() == [0, 1]


def test_misfits_are_refused() -> None:
    prompt = bare_prompt("p", 3)
    with pytest.raises(ValueError, match="1 completions and 2 prompts"):
        collate_completions([torch.ones(1, dtype=torch.long)], [prompt, prompt])
    with pytest.raises(ValueError, match="at least 1"):
        collate_completions([], [])
    with pytest.raises(ValueError, match="without tokens"):
        collate_completions([torch.ones(0, dtype=torch.long)], [prompt])
    torn = replace(bare_trajectory(prompt, 3), old_logprobs=torch.zeros(2), importance_weights=torch.ones(2))
    with pytest.raises(ValueError, match="'p'"):
        collate([torn])


def test_moving_to_a_device_moves_every_tensor() -> None:
    moved = on_device(collate([bare_trajectory(bare_prompt("p", 3), 2)]), "meta")
    tensors = [moved.advantages, moved.old_logprobs, moved.importance_weights, moved.completions.prompt_index]
    tensors += [moved.completions.completion_ids, moved.completions.completion_mask]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
