"""The trajectories of a step as rows of the run folder's dumps (columns: `uec_vlm.dumps.COLUMNS`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from uec_vlm.records import Judged, Trajectory
from uec_vlm.trainer.collect import Chosen
from uec_vlm.trainer.scoring import SequenceScores


@dataclass(frozen=True)
class Replayed:
    """A trajectory that was trained on again, and its scores where it was scored before that."""

    trajectory: Trajectory
    scores: SequenceScores | None


def dump_rows(
    chosen: Sequence[Chosen], replayed: Sequence[Replayed], *, step: int, tokenizer: Any
) -> list[Mapping[str, Any]]:
    """One row per rollout of the step, and one per replayed trajectory."""
    accuracies = {
        one.group.position: sum(one.group.accuracies) / len(one.group.judged)
        for one in chosen
        if one.group.source == "regular" and one.group.judged
    }
    numbers = {position: number for number, position in enumerate(sorted(accuracies))}
    rows = []
    for one in chosen:
        position = one.group.position
        for place, judged in enumerate(one.group.judged):
            rows.append(
                {
                    "step": step,
                    "source": one.group.source,
                    "group": numbers[position],
                    "place": place,
                    "born": step,
                    "uses": 0,
                    "shaped_reward": float(one.rewards[place]),
                    "advantage": float(one.advantages[place]),
                    "kept": place in one.kept,
                    "why": one.reasons.get(place, "kept"),
                    "prompt_accuracy": accuracies[position],
                    **_said(judged, one.scores.get(place), tokenizer),
                }
            )
    return rows + [_replay_row(item, place, step, tokenizer) for place, item in enumerate(replayed)]


def text_pieces(token_ids: Sequence[int], tokenizer: Any) -> list[str]:
    """The text of every token, special tokens too; they join to the decoded whole.

    A character whose bytes are spread over tokens is with the first of them, and the others are empty.
    """
    pieces: list[str] = []
    start = 0
    for end in range(1, len(token_ids) + 1):
        text = tokenizer.decode(token_ids[start:end], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        # At most four tokens make a character; longer runs are bytes that are no text.
        if text.endswith("\ufffd") and end - start < 4 and end < len(token_ids):
            continue
        pieces += [text] + [""] * (end - start - 1)
        start = end
    return pieces


def _replay_row(item: Replayed, place: int, step: int, tokenizer: Any) -> dict[str, Any]:
    trajectory = item.trajectory
    return {
        "step": step,
        "source": "replay",
        "group": None,
        "place": place,
        "born": trajectory.born,
        "uses": trajectory.uses,
        "shaped_reward": None,
        "advantage": trajectory.advantage,
        "kept": True,
        "why": "replayed",
        "prompt_accuracy": None,
        **_said(trajectory.judged, item.scores, tokenizer),
    }


def _said(judged: Judged, scores: SequenceScores | None, tokenizer: Any) -> dict[str, Any]:
    """Problem, completion, verdict, rewards and scores of a rollout."""
    rollout, sample = judged.rollout, judged.rollout.prompt.sample
    ids = rollout.completion_ids.tolist()
    entropies = scores.entropy.tolist() if scores is not None else []
    return {
        "id": sample.id,
        "temperature": rollout.temperature,
        "policy_version": rollout.policy_version,
        "problem": sample.problem,
        "gold": sample.answer,
        "images": list(sample.images),
        "text": rollout.text,
        "finish": rollout.finish,
        "correct": judged.verdict.correct,
        "reason": judged.verdict.reason,
        "extracted": judged.verdict.extracted,
        "accuracy": judged.accuracy,
        "format": judged.format,
        "reward": judged.reward,
        "token_ids": ids,
        "pieces": text_pieces(ids, tokenizer),
        "behaviour_logprobs": rollout.behaviour_logprobs.tolist(),
        "logprobs": scores.logprobs.tolist() if scores is not None else [],
        "entropies": entropies,
        "mean_entropy": sum(entropies) / len(entropies) if entropies else None,
    }
