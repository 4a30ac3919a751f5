"""The rollouts of a step as rows of the run folder's Parquet files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from uec_vlm.trainer.collect import Chosen


def dump_rows(chosen: Sequence[Chosen], *, step: int) -> list[Mapping[str, Any]]:
    """One row per rollout: problem, text, verdict, rewards, advantage, per-token log-probability and exact entropy.

    `entropies` is empty where the rollout was not scored (extra rollouts that were not kept).
    """
    return [_row(group, place, step) for group in chosen for place in range(len(group.group.judged))]


def _row(chosen: Chosen, place: int, step: int) -> dict[str, Any]:
    judged = chosen.group.judged[place]
    rollout, sample = judged.rollout, judged.rollout.prompt.sample
    scores = chosen.scores.get(place)
    entropies = scores.entropy.tolist() if scores is not None else []
    return {
        "step": step,
        "id": sample.id,
        "source": rollout.source,
        "temperature": rollout.temperature,
        "problem": sample.problem,
        "gold": sample.answer,
        "images": list(sample.images),
        "text": rollout.text,
        "finish": rollout.finish,
        "correct": judged.verdict.correct,
        "reason": judged.verdict.reason,
        "extracted": judged.verdict.extracted,
        "format": judged.format,
        "reward": judged.reward,
        "advantage": float(chosen.advantages[place]),
        "kept": place in chosen.kept,
        "token_ids": rollout.completion_ids.tolist(),
        "behaviour_logprobs": rollout.behaviour_logprobs.tolist(),
        "entropies": entropies,
        "mean_entropy": sum(entropies) / len(entropies) if entropies else float("nan"),
    }
