"""The share of the machine's own matrix-product rate that an update reaches: a model of hidden 512 and 8 layers.

    python -m benchmarks.roofline [--runs 5]

Useful work is that of the forward and backward products without recomputation: 6 operations per weight of a linear
layer and token that passes it, 3 times those of the attention scores and values that a causal mask leaves, vision tower
and head included; of the last layer a prompt needs only its keys and values, and its last token. Norms, rotations,
softmax and copies count as nothing. The rate is measured in the same run, on square products; beside it stands that of
products of the shape of the model's MLP.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from benchmarks.common import (
    IMAGES,
    MID,
    Row,
    alternate,
    build_policy,
    make_prompts,
    markdown,
    medians,
    plot_bars,
    profiled,
    save_results,
)
from benchmarks.update import GRPO, make_trajectories, our_update
from uec_vlm.objective import build_objective
from uec_vlm.policy import Policy
from uec_vlm.records import Trajectory

PROMPTS, TARGET = 8, 0.75
SQUARE, MLP = (2048, 2048, 2048), (4096, MID.hidden, MID.intermediate)


def matrix_rate(shape: tuple[int, int, int], seconds: float = 0.5) -> float:
    """Operations per second of float32 products: rows x inner by inner x columns."""
    rows, inner, columns = shape
    left, right, out = torch.randn(rows, inner), torch.randn(inner, columns), torch.empty(rows, columns)
    torch.mm(left, right, out=out)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        torch.mm(left, right, out=out)
        count += 1
    return 2 * rows * inner * columns * count / (time.perf_counter() - start)


def useful_operations(policy: Policy, trajectories: Sequence[Trajectory]) -> float:
    """Operations of the products in one forward and backward that reads every prompt once."""
    backbone: Any = policy.model.model
    config = backbone.config.text_config
    prompts = {id(t.judged.rollout.prompt): t.judged.rollout.prompt for t in trajectories}
    read = {key: len(prompt.token_ids) for key, prompt in prompts.items()}
    completions = [(read[id(t.judged.rollout.prompt)], len(t.judged.rollout.completion_ids)) for t in trajectories]
    tokens = sum(read.values()) + sum(length - 1 for _, length in completions)
    # Pairs of query and key: below the diagonal for prompts; the prompt and what is below it for completions.
    pairs = sum(n * (n + 1) / 2 for n in read.values()) + sum((m - 1) * (n + m / 2) for n, m in completions)
    width = config.num_attention_heads * (config.hidden_size // config.num_attention_heads)
    forward = 2 * tokens * _weights(backbone.language_model) + config.num_hidden_layers * 4 * pairs * width
    # The last layer's states are asked for only where they predict a completion token.
    last = backbone.language_model.layers[-1]
    idle = _weights(last) - sum(part.weight.numel() for part in (last.self_attn.k_proj, last.self_attn.v_proj))
    forward -= sum(2 * (n - 1) * idle + 4 * (n * (n + 1) / 2 - n) * width for n in read.values())
    scored = sum(length for _, length in completions)
    forward += 2 * scored * config.hidden_size * config.vocab_size
    return 3 * (forward + _vision_operations(backbone.visual, [p.image_grid_thw for p in prompts.values()]))


def _vision_operations(visual: Any, grids: Sequence[torch.Tensor]) -> float:
    patches = [int(grid.prod(-1).sum()) for grid in grids]
    merger = sum(m.weight.numel() for m in visual.merger.modules() if isinstance(m, nn.Linear))
    blocks = _weights(visual) - merger
    embedding = visual.patch_embed.proj.weight.numel()
    attention = sum(4 * n * n for n in patches) * visual.config.hidden_size * visual.config.depth
    # The merger sees a token of four patches.
    return 2 * sum(patches) * (blocks + embedding) + 2 * sum(patches) / 4 * merger + attention


def _weights(module: nn.Module) -> int:
    return sum(m.weight.numel() for m in module.modules() if isinstance(m, nn.Linear))


def measure(image_tokens: int, completions: int, *, runs: int) -> Row:
    """One row of the table."""
    policy = build_policy(MID)
    policy.model.train()
    trajectories = make_trajectories(
        policy, make_prompts(policy, PROMPTS, image_tokens=image_tokens), completions=completions
    )
    objective = build_objective(GRPO)
    rates: dict[tuple[int, int, int], list[float]] = {SQUARE: [], MLP: []}

    def update() -> None:
        our_update(policy, trajectories, objective)

    def products() -> None:
        for shape, found in rates.items():
            found.append(matrix_rate(shape))

    seconds = medians(alternate({"update": update, "products": products}, runs=runs))["update"]
    work = useful_operations(policy, trajectories)
    square, mlp = (statistics.median(found) for found in rates.values())
    return {
        "image tokens": image_tokens,
        "completions": PROMPTS * completions,
        "useful work, Gop": work / 1e9,
        "update, s": seconds,
        "reached, Gop/s": work / seconds / 1e9,
        "square products, Gop/s": square / 1e9,
        "share": work / seconds / square,
        "target": TARGET,
        "MLP's products, Gop/s": mlp / 1e9,
        "share of these": work / seconds / mlp,
    }


def profile(image_tokens: int, completions: int) -> list[Row]:
    """Where the time of one update goes, by operation: the ten largest."""
    policy = build_policy(MID)
    policy.model.train()
    prompts = make_prompts(policy, PROMPTS, image_tokens=image_tokens)
    trajectories, objective = make_trajectories(policy, prompts, completions=completions), build_objective(GRPO)
    our_update(policy, trajectories, objective)
    return profiled(lambda: our_update(policy, trajectories, objective))


def main() -> None:
    """Measure, profile, print, plot and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="timed runs (default 5)")
    parser.add_argument("--image-tokens", type=int, nargs="+", default=[16, 144], help="per picture, square")
    parser.add_argument("--completions", type=int, default=8, help="per prompt (default 8)")
    arguments = parser.parse_args()
    rows = [measure(count, arguments.completions, runs=arguments.runs) for count in arguments.image_tokens]
    print(markdown(rows), "\n")
    parts = profile(arguments.image_tokens[-1], arguments.completions)
    print(markdown(parts))
    save_results(
        "roofline", rows,
        settings={"model": MID.name, "hidden": MID.hidden, "layers": MID.layers, "runs": arguments.runs,
                  "profile": parts},
    )  # fmt: skip
    plot_bars(
        IMAGES / "roofline.png", rows, label="image tokens",
        series={"reached, Gop/s": "update, useful work",
                "square products, Gop/s": "square products",
                "MLP's products, Gop/s": "products of the MLP's shape"},
        title="An update of hidden 512 x 8 layers", unit="Gop/s",
    )  # fmt: skip


if __name__ == "__main__":
    main()
