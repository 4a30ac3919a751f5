"""What the benchmarks share: models and prompts of a given size, alternated timing, tables, plots, results.

A size is a Qwen2.5-VL made from its configuration class with random weights, beside the tokenizer and the processor of
the starter policy; prompts are generated geometry problems whose picture takes exactly the image tokens asked for.
"""

from __future__ import annotations

import json
import math
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoProcessor, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.utils.logging import disable_progress_bar

from uec_vlm.batches import PromptSettings, render
from uec_vlm.geosynth import ProblemSet
from uec_vlm.geosynth.asset import starter_folder
from uec_vlm.policy import Policy, load_policy
from uec_vlm.records import Prompt, Sample

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
IMAGES = ROOT / "docs" / "img"
# Pixels per side of one image token: two patches of 14.
_CELL = 28
_MOST_TOKENS = 1024

Row = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """The shape of a model: language model, then vision tower, whose blocks all attend to the whole picture."""

    name: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vision_hidden: int
    vision_depth: int


TINY = Size("tiny", 128, 3, 4, 2, 320, 64, 2)
MID = Size("mid", 512, 8, 8, 4, 1408, 128, 4)
SIZES = {size.name: size for size in (TINY, MID)}


def build_folder(folder: Path, size: Size, *, seed: int = 0) -> Path:
    """Write a checkpoint folder of this size that transformers, TRL and vLLM load as it is."""
    disable_progress_bar()
    processor: Any = AutoProcessor.from_pretrained(starter_folder())
    tokenizer = processor.tokenizer
    limits = {"shortest_edge": 4 * _CELL**2, "longest_edge": _MOST_TOKENS * _CELL**2}
    processor.image_processor.size = type(processor.image_processor.size)(**limits)
    head = size.hidden // size.heads
    token = tokenizer.convert_tokens_to_ids
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": size.hidden,
        "intermediate_size": size.intermediate,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.kv_heads,
        "max_position_embeddings": 4096,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [head // 4, head // 8, head // 8],
        },
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "initializer_range": 0.05,
    }
    vision = {
        "depth": size.vision_depth,
        "hidden_size": size.vision_hidden,
        "intermediate_size": 2 * size.vision_hidden,
        "num_heads": size.vision_hidden // 32,
        "window_size": 112,
        "fullatt_block_indexes": list(range(size.vision_depth)),
        "out_hidden_size": size.hidden,
        "initializer_range": 0.05,
    }
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: Any = Qwen2_5_VLForConditionalGeneration(config).float()
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def build_policy(size: Size, *, seed: int = 0, **settings: Any) -> Policy:
    """A policy of this size; `settings` are those of `load_policy`."""
    with tempfile.TemporaryDirectory() as folder:
        return load_policy(build_folder(Path(folder), size, seed=seed), **settings)


def make_samples(count: int, *, image_tokens: int, seed: int = 0) -> list[Sample]:
    """Generated problems whose picture takes this many tokens: a square number, 9 to 1024."""
    side = math.isqrt(image_tokens)
    if side * side != image_tokens or not 3 <= side <= math.isqrt(_MOST_TOKENS):
        raise ValueError(f"image_tokens = {image_tokens}: need a square number from 9 to {_MOST_TOKENS}")
    problems = ProblemSet(split="train", count=count, seed=seed, image_size=side * _CELL)
    return [problems[place] for place in range(count)]


def make_prompts(policy: Policy, count: int, *, image_tokens: int, seed: int = 0) -> list[Prompt]:
    """The prompts of `make_samples`."""
    samples = make_samples(count, image_tokens=image_tokens, seed=seed)
    return [render(sample, policy.processor, PromptSettings(max_prompt_tokens=4096)) for sample in samples]


def alternate(sides: Mapping[str, Callable[[], object]], *, runs: int = 5, warm: int = 1) -> dict[str, list[float]]:
    """Wall seconds of `runs` runs of every side in turn, after `warm` runs that are not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(warm + runs):
        for name, work in sides.items():
            _wait()
            start = time.perf_counter()
            work()
            _wait()
            if turn >= warm:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def medians(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median of every side."""
    return {name: statistics.median(values) for name, values in seconds.items()}


def markdown(rows: Sequence[Row], columns: Sequence[str] | None = None) -> str:
    """Rows as a Markdown table; numbers with three significant digits."""
    names = list(columns or rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(_shown(row.get(name, "")) for name in names) + " |" for row in rows]
    return "\n".join(lines)


def save_results(name: str, rows: Sequence[Row], *, settings: Row) -> Path:
    """Write `benchmarks/results/<name>.json`: settings, the machine, and the rows of the table."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    result = {"benchmark": name, "settings": settings, "machine": machine(), "rows": list(rows)}
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return path


def machine() -> Row:
    """What the figures were measured on."""
    import transformers

    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def plot_bars(path: Path, rows: Sequence[Row], *, label: str, series: Mapping[str, str], title: str, unit: str) -> Path:
    """Grouped bars: `label` names each row, `series` maps a column to its legend."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.6 + 1.5 * len(rows), 3.4), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(series)
    for number, (column, legend) in enumerate(series.items()):
        found = [(place, row[column]) for place, row in enumerate(rows) if row.get(column) is not None]
        places = [place + (number - (len(series) - 1) / 2) * width for place, _ in found]
        bars = axes.bar(places, [value for _, value in found], width, label=legend)
        axes.bar_label(bars, fmt="{:.2g}", fontsize=7)
    axes.set_xticks(range(len(rows)), [str(row[label]) for row in rows], fontsize=8)
    _finish(axes, title, unit)
    return _write(figure, path)


def plot_lines(
    path: Path, panels: Mapping[str, tuple[Sequence[Row], str, Mapping[str, str]]], *, title: str, unit: str
) -> Path:
    """A panel per entry: its rows, the column of the horizontal axis, and columns with legends; both axes from 0."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(panels), 3.4), layout="constrained")
    for axes, (name, (rows, across, series)) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        for column, legend in series.items():
            found = [(row[across], row[column]) for row in rows if row.get(column) is not None]
            axes.plot(*zip(*found, strict=True), marker="o", markersize=3, label=legend)
        axes.set_xlabel(across)
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        _finish(axes, name, unit)
    figure.suptitle(title, fontsize=10)
    return _write(figure, path)


def _finish(axes: Any, title: str, unit: str) -> None:
    axes.set_ylabel(unit)
    axes.set_title(title, fontsize=10)
    axes.margins(y=0.2)
    axes.legend(fontsize=7, frameon=False, loc="upper left")
    axes.spines[["top", "right"]].set_visible(False)


def _write(figure: Any, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return "" if value is None else str(value)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def profiled(work: Callable[[], object], *, most: int = 10) -> list[Row]:
    """Where the time of some work goes, by operation: the largest, each without those that it calls."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as trace:
        work()
    events = sorted(trace.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    return [
        {
            "operation": event.key,
            "calls": event.count,
            "ms a call": event.self_cpu_time_total / event.count / 1e3,
            "share of the time": event.self_cpu_time_total / total,
        }
        for event in events[:most]
    ]


def write_between(page: Path, mark: str, text: str) -> None:
    """Put a made section into a page, between the two places where its mark stands."""
    before, _, after = page.read_text(encoding="utf-8").split(mark)
    page.write_text(f"{before}{mark}\n\n{text}\n\n{mark}{after}", encoding="utf-8")
