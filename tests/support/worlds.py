"""A whole circle on a tiny random model: real stations, and a judge that rewards by chance, for a signal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from uec_vlm.config import RunConfig, merge, parse_config, preset
from uec_vlm.records import Judged, Rollout, Verdict
from uec_vlm.trainer.build import build_circle, resolve
from uec_vlm.trainer.circle import Circle

TINY: dict[str, Any] = {
    "run": {"name": "tiny", "steps": 4, "trackers": []},
    "data": {
        "train": {"kind": "geosynth", "count": 40},
        "validation": {"kind": "geosynth", "count": 4},
    },
    "rollout": {"prompts_per_step": 4, "completions_per_prompt": 4, "max_new_tokens": 8},
    # A random model never ends by itself: its truncated answers are kept.
    "objective": {
        "exploration": {"completions": 6},
        "replay": {"every": 2, "size": 0.25},
        "retention": {"regular": {"truncated_answers": "keep"}, "extra": {"truncated_answers": "keep"}},
    },
    "update": {"learning_rate": 1e-3, "sequences_per_optimizer_step": 8, "micro_batch_tokens": 600},
    "evaluate": {"validation_problems": 4, "validation_samples": 2},
    "log": {"realised_dh_every": 2},
}


def tiny_config(folder: Path | str, algorithm: str = "uec", **above: Any) -> RunConfig:
    """A configuration that runs in seconds; `above` lies over it, section by section."""
    base = preset(algorithm)
    explores = base["objective"].get("exploration", {}).get("name", "none") != "none"
    own = TINY if explores else {**TINY, "objective": {}}
    tree = merge(merge(merge(base, own), {"algorithm": algorithm, "model": {"path": str(folder)}}), above)
    return resolve(parse_config(tree, RunConfig, place="test", name="tiny"))


def tiny_circle(folder: Path | str, algorithm: str = "uec", *, checkpoint: Path | None = None, **above: Any) -> Circle:
    """The circle of `tiny_config`, with `judge_by_parity`; the weights of a checkpoint where one is given."""
    circle, _ = build_circle(tiny_config(folder, algorithm, **above), checkpoint=checkpoint)
    return replace(circle, judge=judge_by_parity)


def judge_by_parity(rollouts: Sequence[Rollout], *, modulus: int = 6) -> list[Judged]:
    """Right where the sum of the token ids is divisible by `modulus`: an answer that a random model gives at times."""
    judged = []
    for rollout in rollouts:
        right = int(rollout.completion_ids.sum()) % modulus == 0
        verdict = Verdict(right, "exact" if right else "wrong", rollout.text)
        judged.append(Judged(rollout, verdict, float(right), 1.0, float(right)))
    return judged
