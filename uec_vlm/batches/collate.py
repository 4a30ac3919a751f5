"""Lists of records become padded tensors: once, after every cut, and with finite, neutral padding."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int, Shaped
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from uec_vlm.records import CompletionBatch, Prompt, TrainBatch, Trajectory


def collate_completions(completion_ids: Sequence[Int[Tensor, " _"]], prompts: Sequence[Prompt]) -> CompletionBatch:
    """Pad completions on the right with 0; prompts[i] belongs to completion i, and equal prompts are kept once."""
    if not completion_ids or len(completion_ids) != len(prompts):
        raise ValueError(
            f"{len(completion_ids)} completions and {len(prompts)} prompts: need as many of both, and at least 1"
        )
    if any(len(ids) == 0 for ids in completion_ids):
        raise ValueError("a completion without tokens cannot be scored")
    distinct, index = _distinct_prompts(prompts)
    lengths = torch.tensor([len(ids) for ids in completion_ids])
    padded = _pad(completion_ids, 0)
    return CompletionBatch(
        prompts=tuple(distinct),
        prompt_index=torch.tensor(index),
        completion_ids=padded,
        completion_mask=torch.arange(padded.shape[1]) < lengths.unsqueeze(1),
    )


def collate(trajectories: Sequence[Trajectory]) -> TrainBatch:
    """Make the micro-batch of these trajectories, in their order."""
    rollouts = [trajectory.judged.rollout for trajectory in trajectories]
    for trajectory, rollout in zip(trajectories, rollouts, strict=True):
        lengths = {len(rollout.completion_ids), len(trajectory.old_logprobs), len(trajectory.importance_weights)}
        if len(lengths) != 1:
            raise ValueError(
                f"sample '{rollout.prompt.sample.id}': tokens, old_logprobs and weights have lengths {lengths}"
            )
    return TrainBatch(
        completions=collate_completions([r.completion_ids for r in rollouts], [r.prompt for r in rollouts]),
        advantages=torch.tensor([trajectory.advantage for trajectory in trajectories], dtype=torch.float32),
        old_logprobs=_pad([trajectory.old_logprobs for trajectory in trajectories], 0.0),
        importance_weights=_pad([trajectory.importance_weights for trajectory in trajectories], 1.0),
        behaviour_logprobs=_pad([rollout.behaviour_logprobs for rollout in rollouts], 0.0),
    )


def on_device(batch: TrainBatch, device: torch.device | str) -> TrainBatch:
    """Move the padded tensors; prompts stay where they are, `policy` moves what it reads of them."""
    completions = batch.completions
    moved = CompletionBatch(
        prompts=completions.prompts,
        prompt_index=completions.prompt_index.to(device),
        completion_ids=completions.completion_ids.to(device),
        completion_mask=completions.completion_mask.to(device),
    )
    return TrainBatch(
        completions=moved,
        advantages=batch.advantages.to(device),
        old_logprobs=batch.old_logprobs.to(device),
        importance_weights=batch.importance_weights.to(device),
        behaviour_logprobs=batch.behaviour_logprobs.to(device),
    )


def prompt_places(prompts: Sequence[Prompt]) -> list[int]:
    """Give every prompt a number; the same number means that the model reads the same."""
    return _distinct_prompts(prompts)[1]


def _distinct_prompts(prompts: Sequence[Prompt]) -> tuple[list[Prompt], list[int]]:
    distinct: list[Prompt] = []
    by_sample: dict[str, list[int]] = {}
    index = []
    for prompt in prompts:
        candidates = by_sample.setdefault(prompt.sample.id, [])
        place = next((place for place in candidates if _reads_the_same(distinct[place], prompt)), None)
        if place is None:
            place = len(distinct)
            distinct.append(prompt)
            candidates.append(place)
        index.append(place)
    return distinct, index


def _reads_the_same(one: Prompt, other: Prompt) -> bool:
    """Compare what the model reads: one sample may be put with its picture, with another one or with a blank."""
    return one is other or (
        torch.equal(one.token_ids, other.token_ids) and torch.equal(one.pixel_values, other.pixel_values)
    )


def _pad(rows: Sequence[Tensor], value: int | float) -> Shaped[Tensor, "B T"]:
    return pad_sequence([row.detach().cpu() for row in rows], batch_first=True, padding_value=value)
