"""Where the time of a large run would go: one UEC-RL step of a 7B and a 72B model on 8, 64 and 512 GPUs.

    python -m benchmarks.cluster_sim

A simulation, not a measurement. What our own code does with the rate of a machine is read from measured results (the
share of the matrix rate that an update reaches, scoring against update, extra rollouts against regular ones); what a
GPU and its links would give are assumptions, listed in `Hardware`. It writes the section in docs/scaling.md, the plot,
and benchmarks/results/cluster_sim.json.

A step: every engine decodes its share of the completions, all are scored once, P x G trajectories are trained on in
optimizer steps, weights go to the engines. Communication is not overlapped with computation, and prompts are not
rescheduled between engines: both make the predicted times upper bounds.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import IMAGES, RESULTS, ROOT, Row, markdown, save_results, write_between

PAGE = ROOT / "docs" / "scaling.md"
MARK = "<!-- cluster -->"
PHASES = ("rollout", "explore", "score", "update", "exchange", "sync")
_BYTES = 2  # of a bfloat16 number
_TRAINING_BYTES = 16  # of a weight with gradient, float32 weight and two moments


@dataclass(frozen=True)
class Hardware:
    """Assumed, per GPU. flops: dense bfloat16 products that large matrices reach (0.7 of 989e12). bandwidth: of its
    memory, bytes/s, of which decoding reaches `read_share`. link, network: bytes/s to GPUs of its node and beyond.
    step_latency: seconds of a decoding step beside reading and computing, over `tensor` GPUs too."""

    flops: float = 0.7 * 989e12
    bandwidth: float = 3.35e12
    read_share: float = 0.6
    link: float = 3.0e11
    network: float = 4.0e10
    memory: float = 80e9
    node: int = 8
    step_latency: float = 0.004


@dataclass(frozen=True)
class Model:
    """A language model with its tower. cache_width: numbers that a token adds to the cache. tensor: GPUs per engine."""

    name: str
    weights: float
    layers: int
    hidden: int
    cache_width: int
    tensor: int


@dataclass(frozen=True)
class Load:
    """A step. The lengths are assumed; prompts, completions, limit and sequences are those of the paper's recipe."""

    prompts: int = 512
    completions: int = 5
    prompt_tokens: int = 600
    completion_tokens: int = 500
    limit: int = 2048
    sequences: int = 640
    micro_batch_tokens: int = 16384

    @property
    def trajectories(self) -> int:
        """Of a training batch."""
        return self.prompts * self.completions


@dataclass(frozen=True)
class Calibration:
    """Measured by our own benchmarks. share: of the matrix rate that an update reaches. score: time of scoring a token
    over that of training on it. extra: tokens of extra rollouts for each token of regular ones."""

    share: float
    score: float
    extra: float


@dataclass(frozen=True)
class Step:
    """Seconds of a step by phase; of two that go on at once, those of the longer one. age: optimizer steps between the
    weights that sampled and those that the first optimizer step of the update changes."""

    layout: str
    gpus: int
    generating: int
    seconds: dict[str, float]
    age: float

    @property
    def wall(self) -> float:
        """The whole step."""
        return sum(self.seconds.values())


SEVEN = Model("7B", 8.3e9, 28, 3584, 2 * 28 * 4 * 128, 1)
SEVENTY_TWO = Model("72B", 73.4e9, 80, 8192, 2 * 80 * 8 * 128, 8)
MODELS, SIZES = (SEVEN, SEVENTY_TWO), (8, 64, 512)


def calibrate(folder: Path = RESULTS) -> Calibration:
    """Read from the results of `benchmarks.roofline`, `benchmarks.step` and `benchmarks.scaling --methods`."""
    uec = next(row for row in _rows(folder, "methods") if row["method"] == "uec")
    extra = uec["of them extra"]
    return Calibration(
        share=statistics.mean(row["share"] for row in _rows(folder, "roofline")),
        score=statistics.mean(row["of it score, s"] / row["of it update, s"] for row in _rows(folder, "step")),
        extra=extra / (uec["sampled tokens a step"] - extra),
    )


def check(folder: Path = RESULTS) -> Row:
    """The second update of the roofline, predicted by the share that the first one reached."""
    first, second = _rows(folder, "roofline")
    predicted = second["useful work, Gop"] / (first["share"] * second["square products, Gop/s"])
    measured = second["update, s"]
    return {"update": f"{second['image tokens']} image tokens", "predicted, s": predicted, "measured, s": measured,
            "off": f"{predicted / measured - 1:+.1%}"}  # fmt: skip


def decoding(model: Model, load: Load, hardware: Hardware, gpus: int, completions: float) -> float:
    """Seconds until `completions` per prompt are there: the engines read weights and caches at every step.

    An engine gets whole prompts; as many completions as its memory holds go together, the others after them. The
    longest goes to the limit.
    """
    engines = max(1, gpus // model.tensor)
    share = math.ceil(load.prompts / engines) * completions
    room = model.tensor * hardware.memory * 0.9 - model.weights * _BYTES
    row = (load.prompt_tokens + load.completion_tokens) * model.cache_width * _BYTES
    waves = max(1, math.ceil(share * row / room))
    tokens = share * load.completion_tokens
    context = load.prompt_tokens + load.completion_tokens / 2
    rate = model.tensor * hardware.bandwidth * hardware.read_share
    reading = (waves * load.limit * model.weights + tokens * context * model.cache_width) * _BYTES / rate
    computing = tokens * 2 * model.weights / (model.tensor * hardware.flops)
    prefill = math.ceil(load.prompts / engines) * load.prompt_tokens * 2 * model.weights
    steps = waves * load.limit * hardware.step_latency
    return max(reading, computing) + steps + prefill / (model.tensor * hardware.flops)


def training(model: Model, load: Load, hardware: Hardware, measured: Calibration, gpus: int) -> dict[str, float]:
    """Seconds of scoring all trajectories once, of the update, and of its communication."""
    groups = math.ceil(load.sequences / load.completions)
    each = math.ceil(groups / gpus) * load.completions  # sequences of the busiest process: a prompt stays together
    per_group = load.prompt_tokens + load.completions * load.completion_tokens
    attention = 4 * model.layers * model.hidden * per_group * (load.prompt_tokens + load.completion_tokens) / 2
    forward = 2 * model.weights * per_group + attention
    seconds = 3 * forward / (hardware.flops * measured.share)  # forward and backward of one group
    optimizer_steps = load.trajectories / load.sequences
    regular = math.ceil(load.prompts / gpus)
    micro_batches = math.ceil(each / load.completions * per_group / load.micro_batch_tokens)
    return {
        "score": regular * seconds * measured.score,
        "update": optimizer_steps * each / load.completions * seconds,
        "exchange": optimizer_steps * exchanging(model, hardware, gpus, micro_batches),
    }


def exchanging(model: Model, hardware: Hardware, gpus: int, micro_batches: int) -> float:
    """Seconds of one optimizer step's communication. ZeRO-2: gradients are reduced and weights gathered once; ZeRO-3:
    weights twice and gradients once in every micro-batch."""
    if gpus == 1:
        return 0.0
    passes = 3 * micro_batches if layout_of(model, hardware, gpus) == "zero3" else 2
    rate = hardware.link if gpus <= hardware.node else hardware.network
    return passes * model.weights * _BYTES * (gpus - 1) / gpus / rate


def layout_of(model: Model, hardware: Hardware, gpus: int) -> str:
    """The file that fits: "zero2" where whole weights and a share of the rest take half the memory, else "zero3";
    "" where not even that fits."""
    whole = model.weights * (2 + (_TRAINING_BYTES - 2) / gpus)
    if whole <= 0.5 * hardware.memory:
        return "zero2"
    return "zero3" if model.weights * _TRAINING_BYTES / gpus <= 0.8 * hardware.memory else ""


def together(model: Model, load: Load, hardware: Hardware, measured: Calibration, gpus: int) -> Step:
    """All GPUs generate, then all train: no server of its own, no staleness."""
    seconds = {**_generation(model, load, hardware, measured, gpus), **training(model, load, hardware, measured, gpus)}
    sync = model.weights * _BYTES / hardware.link if layout_of(model, hardware, gpus) != "zero2" else 0.0
    return _step("together", gpus, gpus, {**seconds, "sync": sync}, 0.0)


def apart(
    model: Model, load: Load, hardware: Hardware, measured: Calibration, gpus: int, generating: int, *, ahead: bool
) -> Step:
    """Some GPUs generate, the others train. ahead: while the next batch is generated by weights of one step before."""
    made = _generation(model, load, hardware, measured, generating)
    trained = training(model, load, hardware, measured, gpus - generating)
    sync = model.weights * _BYTES / hardware.network
    if not ahead:
        return _step("apart", gpus, generating, {**made, **trained, "sync": sync}, 0.0)
    sampling, learning = sum(made.values()), sum(trained.values())
    longer = made if sampling > learning else trained
    age = load.trajectories / load.sequences
    return _step("apart, one step ahead", gpus, generating, {**longer, "sync": sync}, age)


def best_apart(
    model: Model, load: Load, hardware: Hardware, measured: Calibration, gpus: int, *, ahead: bool
) -> Step | None:
    """The fastest division into GPUs that generate and GPUs that train; None where none fits."""
    unit = max(model.tensor, gpus // 16)
    steps = [
        apart(model, load, hardware, measured, gpus, generating, ahead=ahead)
        for generating in range(unit, gpus, unit)
        if layout_of(model, hardware, gpus - generating)
    ]
    return min(steps, key=lambda step: step.wall, default=None)


def _generation(model: Model, load: Load, hardware: Hardware, measured: Calibration, gpus: int) -> dict[str, float]:
    extra = load.completions * measured.extra
    return {
        "rollout": decoding(model, load, hardware, gpus, load.completions),
        "explore": decoding(model, load, hardware, gpus, extra) if extra else 0.0,
    }


def _step(layout: str, gpus: int, generating: int, seconds: dict[str, float], age: float) -> Step:
    return Step(layout, gpus, generating, {name: seconds.get(name, 0.0) for name in PHASES}, age)


def simulate(measured: Calibration, *, load: Load | None = None, hardware: Hardware | None = None) -> list[Row]:
    """The table: every model and number of GPUs in the three layouts."""
    load, hardware = load or Load(), hardware or Hardware()
    rows: list[Row] = []
    for model in MODELS:
        for gpus in SIZES:
            found = [best_apart(model, load, hardware, measured, gpus, ahead=ahead) for ahead in (False, True)]
            if layout_of(model, hardware, gpus):
                found = [together(model, load, hardware, measured, gpus), *found]
            rows += [_row(model, step, hardware) for step in found if step is not None]
            if not any(found):
                rows.append({"model": model.name, "GPUs": gpus, "layout": "does not fit"})
    return rows


def _row(model: Model, step: Step, hardware: Hardware) -> Row:
    trainers = step.gpus if step.layout == "together" else step.gpus - step.generating
    return {
        "model": model.name,
        "GPUs": step.gpus,
        "layout": step.layout,
        "generate": step.generating,
        "file": f"{layout_of(model, hardware, trainers)}.yaml",
        **{f"{name}, s": seconds for name, seconds in step.seconds.items()},
        "step, s": step.wall,
        "age, optimizer steps": step.age,
    }


def _rows(folder: Path, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["rows"]
    return rows


def section(rows: Sequence[Row], measured: Calibration, load: Load, hardware: Hardware, proof: Row) -> str:
    """The section of docs/scaling.md. proof: of `check`."""
    columns = ["model", "GPUs", "layout", "generate", "file", *(f"{name}, s" for name in PHASES), "step, s"]
    columns.append("age, optimizer steps")
    parts = [
        "Made by `python -m benchmarks.cluster_sim`: a simulation, not a measurement. None of it has been run.",
        f"Measured on our own code: an update reaches {measured.share:.2f} of the machine's matrix rate (`roofline`), "
        f"scoring takes {measured.score:.2f} of the update's time (`step`), extra rollouts sample {measured.extra:.2f} "
        "tokens for each regular one (`methods`). The second update of the roofline, predicted by the share of the "
        f"first: {proof['predicted, s']:.2f} s, measured {proof['measured, s']:.2f} s ({proof['off']}).",
        f"Assumed: a step of {load.prompts} prompts x {load.completions} completions, {load.prompt_tokens} and on "
        f"average {load.completion_tokens} tokens, at most {load.limit}, optimizer steps of {load.sequences} "
        f"sequences; GPUs with {hardware.flops / 1e12:.0f} Tflop/s in large products, {hardware.memory / 1e9:.0f} GB "
        f"read at {hardware.read_share:.0%} of {hardware.bandwidth / 1e12:.2f} TB/s while decoding, "
        f"{1e3 * hardware.step_latency:.0f} ms a decoding step beside that; {hardware.link / 1e9:.0f} GB/s between the "
        f"GPUs of a node, {hardware.network / 1e9:.0f} GB/s for each beyond; engines of one GPU (7B) and of eight "
        "(72B). Communication is not overlapped: an upper bound.",
        markdown(rows, columns),
        "*together*: all GPUs generate, then all train. *apart*: some serve, the others train, in turn. *one step "
        "ahead*: at once; the longer of the two is shown. Engines of eight GPUs are vLLM servers. Every process loads "
        "the whole model before it is sharded: the rows of the 72B cannot be run with this version.",
        "![Where the time of a step goes](img/cluster_sim.png)",
        *findings(rows),
    ]
    return "\n\n".join(parts)


def findings(rows: Sequence[Row]) -> list[str]:
    """What the table says, in sentences made of its numbers."""
    said = []
    for model in MODELS:
        parts = []
        for gpus in SIZES:
            found = {row["layout"]: row for row in rows if (row["model"], row["GPUs"]) == (model.name, gpus)}
            ahead = found.get("apart, one step ahead")
            if ahead is None:
                parts.append(f"{gpus} GPUs: does not fit with all weights trained; take an adapter")
                continue
            whole = found.get("together")
            gain = f"{whole['step, s'] / ahead['step, s']:.2f} times as fast as together" if whole else "the only way"
            parts.append(f"{gpus} GPUs: {gain}, with {ahead['generate']} that generate")
        said.append(f"{model.name}, servers of their own and one step ahead: " + "; ".join(parts) + ".")
    age = max(row.get("age, optimizer steps", 0.0) for row in rows)
    apart_alone = [row for row in rows if row["layout"] == "apart"]
    slower = sum(row["step, s"] > _same(rows, row, "together") for row in apart_alone)
    said.append(
        f"Servers of their own that wait for the update are slower than together in {slower} of {len(apart_alone)} "
        "cases: one part idles while the other works. They pay where generation runs ahead, which costs rollouts that "
        f"are {age:.0f} optimizer steps old (`update/staleness`; `objective.old_logprobs.regular: truncated` corrects "
        "them). Running ahead is not built."
    )
    return said


def _same(rows: Sequence[Row], row: Row, layout: str) -> float:
    """Seconds of the same model and GPUs in another layout; infinite where that does not fit."""
    same = (r["step, s"] for r in rows if (r["model"], r["GPUs"], r["layout"]) == (row["model"], row["GPUs"], layout))
    return float(next(same, math.inf))


def plot(rows: Sequence[Row], path: Path) -> None:
    """Shares of the step by phase, a bar per model, number of GPUs and layout."""
    from matplotlib.figure import Figure

    shown = [row for row in rows if "step, s" in row and row["layout"] != "apart"]
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    axes = figure.subplots()
    below = [0.0] * len(shown)
    for name in PHASES:
        shares = [row[f"{name}, s"] / row["step, s"] for row in shown]
        axes.bar(range(len(shown)), shares, bottom=below, label=name)
        below = [low + share for low, share in zip(below, shares, strict=True)]
    short = {"together": "together", "apart, one step ahead": "ahead"}
    labels = [f"{row['model']}\n{row['GPUs']} GPUs\n{short[row['layout']]}\n{row['step, s']:.0f} s" for row in shown]
    axes.set_xticks(range(len(shown)), labels, fontsize=7)
    axes.set_ylabel("share of the step")
    axes.set_title("Where the time of a UEC-RL step would go (simulated)", fontsize=10)
    axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Print the table; write the section, the plot and the results."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    measured, load, hardware, proof = calibrate(), Load(), Hardware(), check()
    rows = simulate(measured, load=load, hardware=hardware)
    print(markdown(rows, list(max(rows, key=len))))
    print("\n".join(findings(rows)))
    save_results("cluster_sim", rows, settings={
        "calibration": asdict(measured), "load": asdict(load), "hardware": asdict(hardware), "check": proof,
    })  # fmt: skip
    plot(rows, IMAGES / "cluster_sim.png")
    write_between(PAGE, MARK, section(rows, measured, load, hardware, proof))


if __name__ == "__main__":
    main()
