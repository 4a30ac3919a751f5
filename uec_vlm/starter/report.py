"""What the starter policy can do, measured with the real stations: render, engine, judge, on held-out problems."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uec_vlm.batches import PromptSettings, render
from uec_vlm.geosynth import ProblemSet
from uec_vlm.policy import Policy, load_policy, prefill
from uec_vlm.records import Rollout, Sample
from uec_vlm.reports.statistics import pass_at_k
from uec_vlm.rollouts import ENGINES, SamplingSettings
from uec_vlm.trainer.controls import blank, shuffled
from uec_vlm.trainer.seeds import seed_for
from uec_vlm.verifier import has_format, judge

MAX_NEW_TOKENS = 96
# The mix that the quickstart trains and is measured on (a test compares): these families at these levels.
STARTER_LEVELS = (1,)
STARTER_FAMILIES = (
    "linear_pair", "vertical_angles", "parallel_lines", "central_angle", "inscribed_angle", "inscribed_quadrilateral",
    "chord", "circumference", "two_tangents", "triangle_midsegment", "rectangle_area", "rectangle_diagonals",
    "parallelogram_angles", "parallelogram_sides", "polygon_angles", "side_splitter", "trigonometry",
)  # fmt: skip
_AT_ONCE = 32


@dataclass(frozen=True)
class Answered:
    """One problem with its completions. correct: how many of them are right."""

    sample: Sample
    rollouts: tuple[Rollout, ...]
    correct: int


def answer(policy: Policy, samples: Sequence[Sample], *, completions: int, seed: int) -> list[Answered]:
    """Sample every problem at temperature 1 and judge the completions."""
    engine = ENGINES["hf"]()(policy, prefill)
    sampling = SamplingSettings(temperature=1.0, max_new_tokens=MAX_NEW_TOKENS)
    found: list[Answered] = []
    for start in range(0, len(samples), _AT_ONCE):
        part = samples[start : start + _AT_ONCE]
        groups = engine.generate(
            [render(sample, policy.processor, PromptSettings()) for sample in part],
            completions=completions,
            sampling=sampling,
            seeds=[seed_for(seed, "starter", sample.id) for sample in part],
        )
        for sample, rollouts in zip(part, groups, strict=True):
            right = [
                judge(one.text, sample.answer, sample.choices, finish_reason=one.finish).correct for one in rollouts
            ]
            found.append(Answered(sample, tuple(rollouts), sum(right)))
    return found


def report(
    folder: Path, *, problems: int, completions: int, levels: Sequence[int] = STARTER_LEVELS, seed: int = 20
) -> dict[str, Any]:
    """Accuracy on validation problems of the quickstart's mix, by family; with wrong pictures; on all families."""
    policy = load_policy(folder)
    samples = list(ProblemSet(split="validation", count=problems, seed=seed, families=STARTER_FAMILIES, levels=levels))
    everything = list(ProblemSet(split="validation", count=problems, seed=seed, levels=levels))
    few = max(1, completions // 4)
    true = answer(policy, samples, completions=completions, seed=seed)
    needing = [sample for sample in samples if sample.metadata["needs_picture"]]
    rollouts = [rollout for one in true for rollout in one.rollouts]
    tokens = sum(len(rollout.completion_ids) for rollout in rollouts)
    return {
        "split": "validation",
        "seed": seed,
        "levels": list(levels),
        "problems": problems,
        "completions": completions,
        "temperature": 1.0,
        "accuracy": accuracy(true),
        f"pass@{completions}": round(
            sum(pass_at_k([one.correct for one in true], completions, completions)) / len(true), 4
        ),
        "format": round(sum(has_format(one.answer, "think_boxed") for one in rollouts) / len(rollouts), 4),
        "cut_by_length": round(sum(one.finish == "length" for one in rollouts) / len(rollouts), 4),
        "tokens": round(tokens / len(rollouts), 1),
        "sampled_entropy_nats": round(-sum(float(one.behaviour_logprobs.sum()) for one in rollouts) / tokens, 4),
        "needs_picture": {
            "problems": len(needing),
            "true_picture": accuracy([one for one in true if one.sample.metadata["needs_picture"]]),
            "shuffled_picture": accuracy(answer(policy, shuffled(needing), completions=few, seed=seed)),
            "blank_picture": accuracy(answer(policy, blank(needing), completions=few, seed=seed)),
        },
        "all_families": accuracy(answer(policy, everything, completions=few, seed=seed)),
        "by_family": by(true, "family"),
        "by_level": by(true, "level"),
    }


def accuracy(answered: Sequence[Answered]) -> float:
    """Share of right completions."""
    return round(sum(one.correct for one in answered) / max(1, sum(len(one.rollouts) for one in answered)), 4)


def by(answered: Sequence[Answered], key: str) -> dict[str, float]:
    """Accuracy for each value of an entry of the metadata."""
    groups: dict[str, list[Answered]] = defaultdict(list)
    for one in answered:
        groups[str(one.sample.metadata[key])].append(one)
    return {name: accuracy(groups[name]) for name in sorted(groups)}


def table(figures: dict[str, Any]) -> str:
    """The report as text."""
    scalars = [name for name, value in figures.items() if isinstance(value, int | float)]
    lines = [f"{name:24} {figures[name]}" for name in scalars]
    for section in ("needs_picture", "by_level", "by_family"):
        lines.append(section)
        lines += [f"  {name:22} {value}" for name, value in figures[section].items()]
    return "\n".join(lines)
