"""What a step of Qwen2.5-VL takes on one GPU, all weights trained, and whether `uec-vlm plan` foresaw its memory.

    python -m benchmarks.one_gpu 3B --data data/geometry3k/train.parquet --work /tmp/one_gpu

The Geometry3K recipe runs for a few steps with weights of the published sizes, drawn at random: a step's work depends
on shapes and lengths alone. Two things stand in for what training taught a real model. Its end tokens are ones that a
random model draws, so that completions end at different lengths (`ENDS` of the vocabulary; a third reach the limit).
And the reward is a coin (`coin`), since no answer is right: then every prompt counts as hard, and a cap lets a third of
them have extra rollouts. Seconds are those of the last step; the first ones record the token loop and warm up.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from benchmarks.common import ROOT, Row, markdown, save_results
from benchmarks.large_models import MODELS, Published, transformers_config
from uec_vlm.config import load_config
from uec_vlm.geosynth.asset import starter_folder
from uec_vlm.preflight.plan import Plan, make_plan
from uec_vlm.runlog import read_run

RECIPE = ROOT / "configs" / "geometry3k_qwen2_5_vl_3b_uec.yaml"
ENDS = 300
_EXTRA = 20  # extra rollouts of a hard prompt
ALL_WEIGHTS = ("accelerate.commands.launch", "--config_file", "configs/accelerate/zero2.yaml", "--num_processes", "1")
_PHASES = ("rollout", "explore", "score", "update", "replay", "step")
_GB = 1e9


@dataclass(frozen=True)
class Way:
    """One run: what is trained, by which algorithm."""

    algorithm: str
    adapter: bool = False

    @property
    def name(self) -> str:
        """For a table."""
        return f"{self.algorithm}, {'adapter of rank 32' if self.adapter else 'all weights'}"


WAYS = {
    "grpo": Way("grpo"),
    "uec": Way("uec"),
    "grpo_adapter": Way("grpo", adapter=True),
    "uec_adapter": Way("uec", adapter=True),
}


def coin(response: str, gold: str) -> float:
    """1 for about half of all responses, by their text."""
    return float(zlib.crc32(response.encode()) % 2)


def build(model: Published, folder: Path, *, seed: int = 0) -> Path:
    """A checkpoint folder of the published sizes in bfloat16, which the toolkit loads as it loads any other."""
    config = transformers_config(model)
    processor = _processor(config.text_config.vocab_size)
    token = processor.tokenizer.convert_tokens_to_ids
    config.image_token_id, config.video_token_id = token("<|image_pad|>"), token("<|video_pad|>")
    config.vision_start_token_id, config.vision_end_token_id = token("<|vision_start|>"), token("<|vision_end|>")
    torch.manual_seed(seed)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        network: Any = Qwen2_5_VLForConditionalGeneration(config)
    torch.set_default_dtype(torch.float32)
    settings = network.generation_config
    settings.eos_token_id = [processor.tokenizer.eos_token_id, *range(1000, 1000 + ENDS)]
    settings.pad_token_id = processor.tokenizer.pad_token_id
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _processor(size: int) -> Any:
    """The starter's processor, its vocabulary filled up with words that no text holds."""
    processor: Any = AutoProcessor.from_pretrained(starter_folder())
    tokenizer = processor.tokenizer
    words = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = words["model"]["vocab"]
    first = 1 + max(max(vocabulary.values()), *(token["id"] for token in words["added_tokens"]))
    vocabulary.update({f"\u0120w{number}": number for number in range(first, size)})
    tokenizer._tokenizer = Tokenizer.from_str(json.dumps(words))
    # Qwen's own colours: with the starter's, white is 0, and a tower without training has no finite gradient there.
    processor.image_processor.image_mean, processor.image_processor.image_std = OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
    processor.image_processor.size = type(processor.image_processor.size)(shortest_edge=262144, longest_edge=4194304)
    return processor


def overrides(way: Way, model: Path, data: Path, *, prompts: int, tokens: int, steps: int) -> list[str]:
    """The recipe at this size, with neither evaluation nor checkpoints."""
    chosen = {
        "algorithm": way.algorithm,
        "run.steps": steps,
        "run.trackers": "[]",
        "model.path": model,
        "data.train.path": data,
        "data.validation.path": data,
        "evaluate.validation_problems": 1,
        "data.test": "null",
        "rollout.prompts_per_step": prompts,
        "rollout.max_new_tokens": tokens,
        "update.sequences_per_optimizer_step": 5 * prompts,
        "reward": f'{{accuracy_weight: 0.0, functions: {{"{Path(__file__)}:coin": 1.0}}}}',
        "evaluate.every": 0,
        "checkpoint.every": 0,
        "log.realised_dh_every": 0,
    }
    if way.adapter:
        chosen |= {"model.lora": "{rank: 32, alpha: 64}", "model.freeze_vision": "true", "update.learning_rate": 1e-5}
    if way.algorithm == "uec":
        cap = _EXTRA * (prompts // 3)
        chosen["objective.exploration"] = f"{{name: all_failed, completions: {_EXTRA}, max_rollouts: {cap}}}"
        chosen["objective.retention.extra.truncated_answers"] = "keep"
    return [f"{key}={value}" for key, value in chosen.items()]


def measure(way: Way, keys: Sequence[str], run: Path) -> Row:
    """Plan, and train in a process of its own. Returns the figures of the last step."""
    plan = make_plan(load_config(RECIPE, keys), config_json=None, processes=1, pace=None)
    trained = ("uec_vlm.cli", "train", str(RECIPE), *keys, f"run.dir={run}")
    command = trained if way.adapter else (*ALL_WEIGHTS, "-m", *trained)
    subprocess.run([sys.executable, "-m", *command], check=True, cwd=ROOT)
    return figures(way, read_run(run).metrics()[-1], plan)


def figures(way: Way, last: Mapping[str, float], plan: Plan) -> Row:
    """A row of the table, from a step's metrics."""
    row: Row = {phase: last.get(f"time/{phase}", 0.0) for phase in _PHASES}
    row["sampled tokens"] = last["rollout/sampled_tokens"]
    row["peak GB"] = last["memory/gpu_peak"] * 2**20 / _GB
    row["planned GB"] = plan.memory["ddp" if way.adapter else "zero2", 1].peak / _GB
    return row


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure both algorithms on one GPU, and write `benchmarks/results/one_gpu_<size>.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = {model.name: model for model in MODELS}
    parser.add_argument("size", choices=sizes)
    parser.add_argument("--data", type=Path, required=True, help="a Parquet file that `python -m data_prep` wrote")
    parser.add_argument("--work", type=Path, required=True, help="a folder for the model and the runs")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for the recipe")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        parser.error("this machine has no GPU that torch can use")
    model = options.work / options.size
    if not (model / "config.json").is_file():
        build(sizes[options.size], model)
    settings: Row = {"prompts": options.prompts, "tokens": options.tokens, "steps": options.steps, "set": options.set}
    rows: list[Row] = []
    for name in options.ways:
        way = WAYS[name]
        keys = overrides(way, model, options.data, prompts=options.prompts, tokens=options.tokens, steps=options.steps)
        row = measure(way, [*keys, *options.set], options.work / f"{options.size}_{name}")
        rows.append({"run": way.name, **row})
        print(markdown(rows[-1:]), flush=True)
        save_results(f"one_gpu_{options.size}", rows, settings=settings)


if __name__ == "__main__":
    main()
