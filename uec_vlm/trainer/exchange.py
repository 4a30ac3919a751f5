"""Judged completions as plain records that travel between ranks: no pictures, no samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import torch

from uec_vlm.records import Judged, Prompt, Rollout, Sample, Verdict

Packed = dict[str, Any]


def light(prompt: Prompt) -> Prompt:
    """The prompt without its pictures; `Sharing.whole` makes them again from the sample."""
    return replace(prompt, pixel_values=prompt.pixel_values[:0].clone())


def pack_prompt(prompt: Prompt) -> Packed:
    """The prompt without pictures and sample."""
    return {
        "text": prompt.text,
        "problem": prompt.sample.problem,
        "token_ids": prompt.token_ids.numpy(),
        "grid": prompt.image_grid_thw.numpy(),
        "patch": prompt.pixel_values.shape[1],
    }


def unpack_prompt(packed: Packed, sample: Sample) -> Prompt:
    """The light prompt of a sample, whose problem may have been put in other words when it was asked."""
    return Prompt(
        sample=replace(sample, problem=packed["problem"]),
        text=packed["text"],
        token_ids=torch.from_numpy(packed["token_ids"]),
        pixel_values=torch.zeros(0, packed["patch"]),
        image_grid_thw=torch.from_numpy(packed["grid"]),
    )


def pack_rollout(rollout: Rollout) -> Packed:
    """The rollout without its prompt."""
    return {
        "text": rollout.text,
        "completion_ids": rollout.completion_ids.numpy(),
        "behaviour_logprobs": rollout.behaviour_logprobs.numpy(),
        "finish": rollout.finish,
        "source": rollout.source,
        "temperature": rollout.temperature,
        "policy_version": rollout.policy_version,
    }


def unpack_rollout(packed: Packed, prompt: Prompt) -> Rollout:
    """The rollout of this prompt."""
    own = {key: packed[key] for key in ("text", "finish", "source", "temperature", "policy_version")}
    return Rollout(
        prompt=prompt,
        completion_ids=torch.from_numpy(packed["completion_ids"]),
        behaviour_logprobs=torch.from_numpy(packed["behaviour_logprobs"]),
        **own,
    )


def pack_judged(group: Sequence[Judged]) -> list[Packed]:
    """The judged completions of one prompt, without the prompt."""
    return [
        {
            "rollout": pack_rollout(item.rollout),
            "verdict": asdict(item.verdict),
            "rewards": {"accuracy": item.accuracy, "format": item.format, "reward": item.reward},
        }
        for item in group
    ]


def unpack_judged(packed: Sequence[Packed], prompt: Prompt) -> tuple[Judged, ...]:
    """The judged completions of this prompt."""
    return tuple(
        Judged(unpack_rollout(entry["rollout"], prompt), Verdict(**entry["verdict"]), **entry["rewards"])
        for entry in packed
    )
