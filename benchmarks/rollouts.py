"""How long rollouts take, against `generate(num_return_sequences=n)` of transformers, and against a vLLM server.

    python -m benchmarks.rollouts
    python -m benchmarks.rollouts --vllm-python ENVIRONMENT/bin/python

Eight generated problems, 64 new tokens of each completion (nothing ends earlier), the same weights, prompts and
sampling on every side. Before the timing the greedy tokens of all sides are compared. The vLLM server runs on the same
cores, in its own environment, is stopped while the others are timed, and forgets prompts and pictures before every
round, as a training step with new weights does.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import (
    IMAGES,
    SIZES,
    Row,
    Size,
    alternate,
    build_folder,
    make_prompts,
    markdown,
    medians,
    plot_bars,
    save_results,
)
from benchmarks.vllm_client import Server, serving
from uec_vlm.policy import Policy, load_policy, prefill
from uec_vlm.records import Prompt
from uec_vlm.rollouts import SamplingSettings
from uec_vlm.rollouts.hf import HFEngine

PROMPTS, NEW_TOKENS = 8, 64
# Completions per prompt and image tokens, with what is to be reached against generate.
CASES = ((8, 144, 3.0), (20, 576, 6.0))

Tokens = list[list[int]]


def generate_side(policy: Policy, prompts: list[Prompt], completions: int) -> Callable[[bool], Tokens]:
    """transformers' own `generate` on the batch of prompts, padded on the left; greedy or not."""
    longest = max(len(prompt.token_ids) for prompt in prompts)
    ids = torch.full((len(prompts), longest), policy.pad_id)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt.token_ids) :] = prompt.token_ids
        mask[row, longest - len(prompt.token_ids) :] = 1
    inputs: dict[str, Any] = {
        "input_ids": ids,
        "attention_mask": mask,
        "pixel_values": torch.cat([prompt.pixel_values for prompt in prompts]),
        "image_grid_thw": torch.cat([prompt.image_grid_thw for prompt in prompts]),
        "mm_token_type_ids": (ids == policy.processor.image_token_id).long(),
    }
    model: Any = policy.model
    common = {"max_new_tokens": NEW_TOKENS, "suppress_tokens": list(policy.banned_ids)}

    @torch.no_grad()
    def run(greedy: bool) -> Tokens:
        if greedy:
            made = model.generate(**inputs, **common, do_sample=False)
        else:
            sampling = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
            made = model.generate(**inputs, **common, **sampling, num_return_sequences=completions)
        rows: Tokens = made[:, longest:].tolist()
        return rows

    return run


def our_side(policy: Policy, prompts: list[Prompt], completions: int, *, lean: bool) -> Callable[[bool], Tokens]:
    """The engine; `lean` False decodes with the model's own forward on a repeated cache."""
    engine = HFEngine(policy, prefill, lean=lean, batch_tokens=262_144)

    def run(greedy: bool) -> Tokens:
        settings = SamplingSettings(temperature=0.0 if greedy else 1.0, max_new_tokens=NEW_TOKENS)
        groups = engine.generate(
            prompts, completions=1 if greedy else completions, sampling=settings, seeds=range(len(prompts))
        )
        return [rollout.completion_ids.tolist() for group in groups for rollout in group]

    return run


def server_side(server: Server, prompts: list[Prompt], completions: int) -> Callable[[bool], Tokens]:
    """The vLLM server, running only meanwhile."""

    def run(greedy: bool) -> Tokens:
        server.go_on()
        try:
            groups = server.sample(
                prompts,
                completions=1 if greedy else completions,
                new_tokens=NEW_TOKENS,
                temperature=0.0 if greedy else 1.0,
            )
        finally:
            server.pause()
        return [tokens for group in groups for tokens in group]

    return run


def measure(policy: Policy, completions: int, image_tokens: int, *, runs: int, server: Server | None) -> Row:
    """One case: equal greedy tokens, then medians of all sides in turn."""
    prompts = make_prompts(policy, PROMPTS, image_tokens=image_tokens)
    sides = {
        "generate": generate_side(policy, prompts, completions),
        "ours": our_side(policy, prompts, completions, lean=True),
        "own_forward": our_side(policy, prompts, completions, lean=False),
    }
    if server is not None:
        sides["vllm"] = server_side(server, prompts, completions)
    expected = sides["generate"](True)
    agreement = {name: _agreement(side(True), expected) for name, side in sides.items()}
    if min(agreement["ours"], agreement["own_forward"]) < 1.0:
        raise RuntimeError(f"greedy tokens differ from generate's: {agreement}")
    seconds = medians(alternate({name: lambda side=side: side(False) for name, side in sides.items()}, runs=runs))
    row: Row = {"case": f"n = {completions}, {image_tokens} image tokens", "tokens": PROMPTS * completions * NEW_TOKENS}
    row |= {f"{name} s": value for name, value in seconds.items()}
    row["faster than generate"] = seconds["generate"] / seconds["ours"]
    if server is not None:
        row["faster than vllm"] = seconds["vllm"] / seconds["ours"]
        row["greedy tokens as vllm"] = agreement["vllm"]
    return row


def _agreement(found: Tokens, expected: Tokens) -> float:
    """Share of positions with equal tokens."""
    pairs = [pair for row, other in zip(found, expected, strict=True) for pair in zip(row, other, strict=True)]
    return sum(one == other for one, other in pairs) / len(pairs)


def run(size: Size, *, runs: int, vllm_python: Path | None, log: Path) -> list[Row]:
    """All cases, with a server beside them where its environment is given."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = build_folder(Path(temporary), size)
        # Without end tokens every completion has its whole length.
        policy = replace(load_policy(folder), end_ids=())
        policy.model.generation_config.eos_token_id = None  # type: ignore[union-attr]
        server = serving(vllm_python, folder, policy.banned_ids, log) if vllm_python else nullcontext()
        with server as running:
            return [measure(policy, n, tokens, runs=runs, server=running) for n, tokens, _ in CASES]


def main() -> None:
    """Print the table; write the results and the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=sorted(SIZES), default="tiny", help="of the model (default tiny)")
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each side (default 5)")
    parser.add_argument("--vllm-python", type=Path, help="the python of an environment with vLLM's CPU build")
    parser.add_argument("--vllm-log", type=Path, default=Path("runs/vllm_server.log"), help="what the server says")
    arguments = parser.parse_args()
    size = SIZES[arguments.size]
    rows = run(size, runs=arguments.runs, vllm_python=arguments.vllm_python, log=arguments.vllm_log)
    for row, (*_, target) in zip(rows, CASES, strict=True):
        row["target"] = target
    print(markdown(rows))
    name = "rollouts" if size.name == "tiny" else f"rollouts_{size.name}"
    settings = {"size": size.name, "prompts": PROMPTS, "new_tokens": NEW_TOKENS, "runs": arguments.runs}
    save_results(name, rows, settings=settings)
    series = {"generate s": "generate", "own_forward s": "model's own forward, prefix read once", "ours s": "uec-vlm"}
    series |= {"vllm s": "vLLM server"} if arguments.vllm_python else {}
    title = f"{PROMPTS} prompts x n completions of {NEW_TOKENS} tokens"
    plot_bars(IMAGES / f"performance_{name}.png", rows, label="case", series=series, title=title, unit="seconds")


if __name__ == "__main__":
    main()
