"""Writes docs/performance.md from the results of the benchmarks.

    python -m benchmarks.page

Each benchmark writes `benchmarks/results/<name>.json` and `docs/img/<name>.png`; the page shows all of them, with the
machine that they were measured on. `NOTES` says what the figures mean, and what limits one that misses its target.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.common import IMAGES, RESULTS, ROOT, markdown

PAGE = ROOT / "docs" / "performance.md"
TITLES = {
    "rollouts": "Rollouts against `generate`",
    "vllm": "Rollouts against vLLM's CPU server",
    "update": "One update against TRL",
    "step": "A whole GRPO step against TRL",
    "scoring": "Scoring tokens over a vocabulary of 151 936",
    "scaling": "Cost against group size, image tokens and length",
    "roofline": "Share of the machine's matrix-product rate",
    "prepare": "Preparing Geometry3K",
}
NOTES = {
    "rollouts": "In this run vLLM's CPU server (`--vllm-python`) was up beside both sides, with one model and the "
    "same greedy tokens (share of equal ones in the table). Without a server beside it an earlier run gave 3.13 for "
    "n = 8: that case is on both sides of its target of 3. The ratio depends on the processor: one without AVX-512, "
    "about half as fast, gave 2.39 and 4.66. There what both sides do alike, attention over few queries and products "
    "of few rows, weighs more than what only `generate` does (the profile under the step below).",
    "update": "Each prompt and picture is read once, its completions attend to it, nothing is padded, and of the "
    "last layer only what predicts a completion token is run; the gradients are those of TRL's padded rows.",
    "step": "Sampling, grading, scoring and update of one step, each trainer in its own loop, both in one thread, on "
    "a processor without AVX-512. The forward that scores the rollouts serves the update too, so its time stands "
    "under score. The targets are missed: sampling alone is half of our step, 64 decoding steps of at most 120 rows "
    "of a tiny model. By the profile 0.55 of that are attention and matrix products, at the rate that few rows reach "
    "(flash attention of torch was as fast as batched products in every shape tried), the rest some 200 small "
    "operations for each token; what is saved in forward and backward shows less. On another processor the same "
    "benchmark gave 2.08 and 4.05, beside other work 3.04 and 5.11. UEC against GRPO: every update makes its own "
    "forward there. Decoding costs 0.75 of GRPO's per token, the update 1.12 where 1.05 was the target: UEC keeps "
    "few trajectories of many prompts, so an update of as many trajectories reads more prompt tokens for each token "
    "it trains on; per token read it is 1.05. On the quickstart (`python -m benchmarks.scaling --methods --steps "
    "16`), whose updates have the same size, the update costs 1.01 and decoding 1.11, for extra rollouts go in waves "
    "of fewer rows. Prefetching takes the wait for prompts away, "
    "here 0.07 s of a step (measured beside other work).",
    "scoring": "Positions by vocabulary are taken in blocks that stay in the processor's cache, forwards and "
    "backwards; what is held beyond the inputs and their gradients does not grow with the positions. The time "
    "against plain misses its 0.7: the logits are formed a second time in the backward pass, four products where "
    "plain makes three, and plain keeps its 7 GB of logits instead. By the profile, from another processor, the four "
    "products take 0.85 of our time: 0.66 of plain's, so that 0.7 leaves next to nothing for the rest.",
    "scaling": "Cost of the rollouts, and of one gradient on all of them. The sweep of the response length is from a "
    "slower machine, beside other work: read its growth, not its seconds.",
    "roofline": "Useful work leaves out what nobody asks for: of the last layer a prompt needs only its keys and "
    "values, and its last token. What is lost is, by the profile, attention at a fraction of the products' rate, and "
    "element-wise passes and copies.",
    "prepare": "Grading is switched off on our side; the pictures are the same files.",
}


def section(result: dict[str, Any]) -> str:
    """A benchmark as a section of the page."""
    name, settings = result["benchmark"], result["settings"]
    parts = [f"## {TITLES[name]}", NOTES.get(name, ""), f"`python -m benchmarks.{name}`"]
    plain = {key: value for key, value in settings.items() if not isinstance(value, (list, dict))}
    parts.append("Settings: " + ", ".join(f"{key} {_shown(value)}" for key, value in plain.items()) + ".")
    tables = {"": result["rows"], **{key: value for key, value in settings.items() if _is_table(value)}}
    for title, rows in tables.items():
        if rows:
            parts += [f"{title.capitalize()}:" if title else "", markdown(rows)]
    for stem in (name, f"performance_{name}"):
        if (IMAGES / f"{stem}.png").exists():
            parts.append(f"![{TITLES[name]}](img/{stem}.png)")
    return "\n\n".join(part for part in parts if part)


def page(folder: Path = RESULTS) -> str:
    """The whole page, from the result files in a folder."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
    order = [name for name in TITLES if name in found]
    machines = {json.dumps(found[name]["machine"], sort_keys=True) for name in order}
    lines = [
        "# Performance",
        "Made by `python -m benchmarks.page` from `benchmarks/results/*.json`; do not edit. Both sides of every "
        "comparison ran in one process and in turn, warm; times are medians.",
    ]
    for machine in sorted(machines):
        about = json.loads(machine)
        lines.append("Measured on: " + ", ".join(f"{key} {value}" for key, value in about.items() if value) + ".")
    return "\n\n".join([*lines, *(section(found[name]) for name in order)]) + "\n"


def _is_table(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _shown(value: object) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Write the page."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
