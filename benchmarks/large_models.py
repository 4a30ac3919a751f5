"""What a large run would need: memory of Qwen2.5-VL from 3B to 72B, and GPU hours of the Geometry3K studies.

    python -m benchmarks.large_models

Memory is what `uec_vlm.preflight` predicts from the published sizes of the models. Hours are those of the simulation of
`benchmarks.cluster_sim`, applied to the configuration of every arm of the study files. It writes the sections of
docs/scaling.md and docs/results.md that say so, and benchmarks/results/large_models.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from transformers import Qwen2_5_VLConfig

from benchmarks.cluster_sim import SEVEN, Calibration, Hardware, Load, Model, calibrate, decoding, together
from benchmarks.common import ROOT, Row, markdown, save_results, write_between
from uec_vlm.config import RunConfig, load_config
from uec_vlm.objective import build_objective
from uec_vlm.preflight.memory import LAYOUTS, Memory, Shape, predict_memory, shape_of
from uec_vlm.preflight.plan import Prompts, largest_load
from uec_vlm.study.plan import cell_config, load_study, main_cells

MEMORY_PAGE, MEMORY_MARK = ROOT / "docs" / "scaling.md", "<!-- memory -->"
COST_PAGE, COST_MARK = ROOT / "docs" / "results.md", "<!-- cost -->"
RECIPE = ROOT / "configs" / "geometry3k_qwen2_5_vl_7b_uec.yaml"
STUDIES = ("geometry3k_qwen2_5_vl_3b", "geometry3k_qwen2_5_vl_7b")
# Pictures of Geometry3K are small: nearly all are enlarged to `data.prompt.min_pixels`, 334 image tokens.
PROMPTS = Prompts(mean=500, longest=900, numbers=3 * 2 * 262144, measured=0)
ANSWER = 500
_SAMPLES = "rollout.engine"
_CARD, _FREE = 80e9, 0.9  # a GPU of 80 GB, of which a tenth stays free for libraries and fragments
_GPUS = (1, 4, 8, 64)
_FILES = {"zero2": "zero2.yaml", "zero3": "zero3.yaml", "offload": "zero3_offload.yaml"}


@dataclass(frozen=True)
class Published:
    """Sizes from a model's own config.json."""

    name: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int
    tied: bool
    vision_intermediate: int


MODELS = (
    Published("3B", 2048, 36, 16, 2, 11008, 151936, True, 3420),
    Published("7B", 3584, 28, 28, 4, 18944, 152064, False, 3420),
    Published("32B", 5120, 64, 40, 8, 27648, 152064, False, 3456),
    Published("72B", 8192, 80, 64, 8, 29568, 152064, False, 3456),
)


def transformers_config(model: Published) -> Any:
    """The configuration that transformers builds the model from."""
    return Qwen2_5_VLConfig(
        text_config={
            "hidden_size": model.hidden,
            "num_hidden_layers": model.layers,
            "num_attention_heads": model.heads,
            "num_key_value_heads": model.kv_heads,
            "intermediate_size": model.intermediate,
            "vocab_size": model.vocabulary,
            "tie_word_embeddings": model.tied,
        },
        vision_config={
            "depth": 32,
            "hidden_size": 1280,
            "intermediate_size": model.vision_intermediate,
            "num_heads": 16,
            "out_hidden_size": model.hidden,
            "fullatt_block_indexes": [7, 15, 23, 31],
        },
        tie_word_embeddings=model.tied,
    )


def memory_rows() -> list[Row]:
    """For every model and number of GPUs, and every way to run the recipe: the first file that fits."""
    ways: dict[str, dict[str, Any]] = {
        "all weights": {_SAMPLES: "hf"},
        "servers generate": {_SAMPLES: "vllm"},
        "the same without KL": {_SAMPLES: "vllm", "objective.kl": {"name": "none"}},
        "adapter": {_SAMPLES: "vllm", "model.lora": {"rank": 32, "alpha": 64}},
    }
    configs = {way: load_config(RECIPE, _overrides(keys)) for way, keys in ways.items()}
    rows: list[Row] = []
    for model in MODELS:
        shape = shape_of(transformers_config(model))
        for gpus in _GPUS:
            row: Row = {"model": model.name, "GPUs": gpus}
            for way, config in configs.items():
                files = _FILES if way != "adapter" else {"ddp": "ddp.yaml"}
                row[way], need = _first_that_fits(shape, config, gpus, files)
                row[f"{way}, GB"], row[f"{way}, host GB"] = need.peak / 1e9, need.host / 1e9
            rows.append(row)
    return rows


def _overrides(keys: dict[str, Any]) -> list[str]:
    served = {"rollout.vllm": {"servers": ["http://127.0.0.1:8000"]}} if keys[_SAMPLES] == "vllm" else {}
    return [f"{key}={json.dumps(value)}" for key, value in {**keys, **served}.items()]


def _first_that_fits(shape: Shape, config: RunConfig, gpus: int, files: dict[str, str]) -> tuple[str, Memory]:
    """Of these files by layout, else "none fits" with the one that needs least."""
    needs: list[Memory] = []
    for layout, file in files.items():
        need = _need(shape, config, layout, gpus)
        if need.peak <= _FREE * _CARD:
            return file, need
        needs.append(need)
    return "none fits", min(needs, key=lambda need: need.peak)


def _need(shape: Shape, config: RunConfig, layout: str, gpus: int) -> Memory:
    load = largest_load(config, PROMPTS)
    each = -(-config.rollout.prompts_per_step // gpus) * config.rollout.completions_per_prompt
    row = PROMPTS.longest + config.rollout.max_new_tokens
    load = replace(load, cached_tokens=min(load.cached_tokens, each * row))
    reference = build_objective(config.objective).needs_reference
    return predict_memory(shape, config, load, layout=LAYOUTS[layout], processes=gpus, reference=reference)


def cost_rows(measured: Calibration, hardware: Hardware) -> list[Row]:
    """GPU hours of every arm of the Geometry3K studies, one seed and all."""
    rows: list[Row] = []
    for name in STUDIES:
        file = ROOT / "configs" / "study" / f"{name}.yaml"
        study = load_study(file)
        size = name.rsplit("_", 1)[1].upper()
        gpus = _processes(study.launch or ())
        for cell in main_cells(study, {}):
            if cell.seed == 0:
                config = cell_config(study, file.parent, cell)
                seconds = run_seconds(config, _simulated(size), measured, hardware, gpus)
                hours = seconds * gpus / 3600
                seeds = study.arms[cell.arm].seeds
                rows.append({
                    "model": size, "arm": f"`{cell.arm}`", "GPUs": gpus, "hours of a run": seconds / 3600,
                    "GPU hours of a run": hours, "seeds": seeds, "GPU hours": hours * seeds,
                })  # fmt: skip
    return rows


def _processes(launch: Sequence[str]) -> int:
    return int(launch[launch.index("--num_processes") + 1]) if launch else 1


def _simulated(size: str) -> Model:
    if size == "7B":
        return SEVEN
    small = next(model for model in MODELS if model.name == size)
    weights = float(shape_of(transformers_config(small)).weights)
    return Model(size, weights, small.layers, small.hidden, 2 * small.layers * small.kv_heads * 128, 1)


def run_seconds(config: RunConfig, model: Model, measured: Calibration, hardware: Hardware, gpus: int) -> float:
    """A whole run: its steps, and its evaluations on validation and test problems."""
    explores = build_objective(config.objective).explores
    load = Load(
        prompts=config.rollout.prompts_per_step,
        completions=config.rollout.completions_per_prompt,
        prompt_tokens=int(PROMPTS.mean),
        completion_tokens=ANSWER,
        limit=config.rollout.max_new_tokens,
        sequences=config.update.sequences_per_optimizer_step or 10**9,
        micro_batch_tokens=config.update.micro_batch_tokens,
    )
    load = replace(load, sequences=min(load.sequences, load.trajectories))
    step = together(model, load, hardware, replace(measured, extra=measured.extra if explores else 0.0), gpus).wall
    asked = config.evaluate
    rounds = 1 + config.run.steps // asked.every
    validation = replace(load, prompts=asked.validation_problems or 300)
    test = replace(load, prompts=asked.test_problems or 601)
    evaluation = rounds * decoding(model, validation, hardware, gpus, asked.validation_samples)
    evaluation += 2 * decoding(model, test, hardware, gpus, asked.test_samples)
    return config.run.steps * step + evaluation


def memory_section(rows: Sequence[Row]) -> str:
    """The section of docs/scaling.md."""
    ways = [key.removesuffix(", host GB") for key in rows[0] if key.endswith(", host GB")]
    shown = [{"model": row["model"], "GPUs": row["GPUs"], **{way: _cell(row, way) for way in ways}} for row in rows]
    return "\n\n".join([
        "Made by `python -m benchmarks.large_models` with the prediction of `uec-vlm plan`; none of it has been "
        f"measured. `{RECIPE.relative_to(ROOT)}` with Qwen2.5-VL of each size: weights in bfloat16 with float32 ones "
        "behind them, vision tower trained, gradient checkpointing, prompts of at most "
        f"{PROMPTS.longest} tokens, answers of at most 2048; GB of one GPU of 80, and of host memory for each process. "
        "The GPUs of servers that generate come on top. *adapter*: rank 32, servers generate.",
        markdown(shown, list(shown[0])),
        "The frozen policy of the KL term is held whole by every process: without KL, and with servers that generate, "
        "large models fit. Every process also loads the whole model onto its GPU before it is cut, so what is larger "
        "than a GPU, as the 72B is, cannot be trained with this version, whatever its rows say.",
    ])  # fmt: skip


def _cell(row: Row, way: str) -> str:
    told = f"{row[f'{way}, GB']:.0f} + {row[f'{way}, host GB']:.0f} GB"
    return f"`{row[way]}`, {told}" if row[way] != "none fits" else f"does not fit ({row[f'{way}, GB']:.0f} GB)"


def cost_section(rows: Sequence[Row]) -> str:
    """The section of docs/results.md."""
    totals = {size: sum(row["GPU hours"] for row in rows if row["model"] == size) for size in ("3B", "7B")}
    told = ", ".join(f"{hours:,.0f} GPU hours with {size}" for size, hours in totals.items())
    return "\n\n".join([
        "Expected cost, from the simulation of [`benchmarks.cluster_sim`](scaling.md#where-the-time-would-go) with its "
        f"assumptions (answers of {ANSWER} tokens on average; `dapo` without the prompts it samples anew), by "
        f"`python -m benchmarks.large_models`: {told}.",
        markdown(rows, list(rows[0])),
    ])  # fmt: skip


def main() -> None:
    """Print both tables; write the sections and the results."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    memory, cost = memory_rows(), cost_rows(calibrate(), Hardware())
    print(markdown(memory, list(memory[0])))
    print(markdown(cost, list(cost[0])))
    save_results("large_models", [*memory, *cost], settings={"recipe": str(RECIPE.relative_to(ROOT))})
    write_between(MEMORY_PAGE, MEMORY_MARK, memory_section(memory))
    write_between(COST_PAGE, COST_MARK, cost_section(cost))


if __name__ == "__main__":
    main()
