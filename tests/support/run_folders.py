"""Run folders made by the real writer: numbers of the test's choice, and as many rollouts as it asks for."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from PIL import Image, ImageDraw

from uec_vlm.runlog import RunFolder, open_run

HEALTHY: dict[str, float] = {
    "rollout/accuracy": 0.4, "rollout/entropy": 0.3, "rollout/format": 0.98, "rollout/truncated": 0.01,
    "rollout/all_correct": 1, "rollout/pass@K": 0.7, "rollout/policy_gap_nats": 0.001, "rollout/sampled_tokens": 1000,
    "rollout/completion_length": 40, "explore/hard_prompts": 3, "explore/explored_prompts": 3, "explore/solved": 1,
    "explore/tokens": 300, "explore/solved_per_1k_tokens": 3.3, "explore/entropy": 0.5, "update/staleness": 0.5,
    "update/optimizer_steps": 2, "update/trajectories": 24, "update/trajectories_regular": 20,
    "update/trajectories_extra": 4, "update/grad_norm": 0.8, "objective/clip_high_fraction": 0.02,
    "objective/approx_kl": 0.003, "time/rollout": 2.0, "time/update": 1.0, "time/step": 3.5,
}  # fmt: skip

Course = Callable[[int], float]


def make_run(
    path: Path, *, steps: int = 20, seed: int = 0, algorithm: str = "uec", config: Mapping[str, Any] | None = None,
    **courses: float | Course,
) -> RunFolder:  # fmt: skip
    """A healthy run of so many steps; `rollout__entropy=lambda step: ...` gives a metric another course."""
    tree = {
        "algorithm": algorithm,
        "run": {"name": path.name, "seed": seed, "steps": steps},
        "model": {"path": "starter"},
        "rollout": {"prompts_per_step": 10, "completions_per_prompt": 5, "max_new_tokens": 96},
        **(config or {}),
    }
    folder = open_run(path, resume=False, config_yaml=yaml.safe_dump(tree))
    own = {name.replace("__", "/").replace("pass_at_", "pass@"): value for name, value in courses.items()}
    for step in range(steps + 1):
        row = {**HEALTHY, **own} if step else {}
        folder.append_metrics(step, {name: value(step) if callable(value) else value for name, value in row.items()})
    return folder


def evaluated(
    folder: RunFolder, step: int, correct: list[int], *, split: str = "validation", samples: int = 4,
    wrong: list[int] | None = None, formatted: int | None = None,
) -> None:  # fmt: skip
    """Appends an evaluation with so many right answers per problem; wrong: those with another's picture."""
    ids = [f"{split}-{n}" for n in range(len(correct))]
    form = [samples if formatted is None else formatted] * len(correct)
    row = {
        "split": split, "step": step, "samples": samples, "temperature": 1.0, "ids": ids, "correct": correct,
        "formatted": form, "correct_formatted": [min(pair) for pair in zip(correct, form, strict=True)], "tokens": 400,
        "controls": {},
    }  # fmt: skip
    if wrong is not None:
        row["controls"] = {"shuffled": {"ids": ids, "correct": wrong, "formatted": form, "tokens": 400}}
    folder.append_evaluation(row)


def picture(number: int) -> bytes:
    """A small diagram, another one for each number."""
    image = Image.new("RGB", (112, 112), "white")
    rng = random.Random(number)
    ImageDraw.Draw(image).polygon([(rng.randint(5, 107), rng.randint(5, 107)) for _ in range(3)], outline="blue")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def rollout_row(
    number: int, *, step: int = 1, text: str | None = None, tokens: int = 60, **above: Any
) -> dict[str, Any]:
    """A row of a dump, with a text, an entropy and a log-probability for each of its tokens."""
    rng = random.Random(number)
    words = [rng.choice(_WORDS) for _ in range(tokens)]
    pieces = [word + " " for word in words] if text is None else [text[i : i + 4] for i in range(0, len(text), 4)]
    entropies = [rng.random() ** 3 * 2 for _ in pieces]
    correct = rng.random() < 0.4
    row = {
        "step": step, "id": f"problem-{number // 5:05}", "source": "regular", "group": number // 5, "place": number % 5,
        "temperature": 1.0, "policy_version": step, "born": step, "uses": 0, "problem": "<image>Find the angle x.",
        "gold": "48", "images": [picture(number // 5 % 50)], "text": "".join(pieces), "finish": "stop",
        "correct": correct, "reason": "exact" if correct else "wrong", "extracted": "48" if correct else "12",
        "accuracy": float(correct), "format": 1.0, "reward": float(correct), "shaped_reward": float(correct),
        "advantage": 1.2 if correct else -0.8, "kept": True, "why": "kept", "prompt_accuracy": 0.4,
        "token_ids": list(range(len(pieces))), "pieces": pieces, "behaviour_logprobs": [-e for e in entropies],
        "logprobs": [-e for e in entropies], "entropies": entropies,
        "mean_entropy": sum(entropies) / max(1, len(entropies)),
    }  # fmt: skip
    return row | above


_WORDS = ("the", "angle", "x", "of", "triangle", "ABC", "is", "48", "degrees", "because", "=", "so", "then", "sum")
