"""The run configuration: typed, frozen, unknown keys refused.

A configuration is YAML: the file, over the preset that its `algorithm` names (`configs/presets/`), over the defaults
below; `KEY=VALUE` pairs from the command line lie over all. What runs is written to the run folder with every default
spelled out. Validators refuse, they never repair. PyYAML reads `1e-5` as a string; the typed fields make it a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from uec_vlm.engine_sections import RolloutSection as RolloutSection
from uec_vlm.errors import ConfigError
from uec_vlm.sections import (
    C,
    Count,
    Decay,
    Positive,
    Section,
    parse_section,
    read_yaml,
    with_overrides,
)  # fmt: skip
from uec_vlm.sections import dump_config as dump_config
from uec_vlm.sections import merge as merge

STARTER = "starter"
"""The model path that means the policy shipped inside the package."""


class SftRunSection(Section):
    """Where a supervised run is written and what makes it reproducible."""

    name: str = "run"
    dir: str | None = None
    seed: Count = 0


class RunSection(SftRunSection):
    """Where the run is written and what makes it reproducible. trackers: who is sent the numbers as they come."""

    steps: Positive = 100
    trackers: tuple[Literal["tensorboard", "wandb", "trackio", "mlflow"], ...] = ("tensorboard",)


class LoraSection(Section):
    """Low-rank adapters on the language model's linear layers (peft)."""

    rank: Positive = 32
    alpha: Positive = 64


class ModelSection(Section):
    """Which checkpoint folder (or Hub id) is trained, and how it is held in memory.

    picture_mib: where the vision tower is not trained, what it made of the pictures used last is kept, in at most so
    much memory of the device (0: it is asked every time).
    quantization: nf4 holds the layers under an adapter in four bits (QLoRA). reference: a whole copy is kept beside the
    policy where the objective needs one; offloaded keeps it in host memory and brings it to the GPU for its pass.
    """

    path: str = STARTER
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    freeze_vision: bool = False
    picture_mib: Count = 512
    gradient_checkpointing: bool = False
    lora: LoraSection | None = None
    quantization: Literal["nf4"] | None = None
    reference: Literal["resident", "offloaded"] = "resident"

    @model_validator(mode="after")
    def _adapted(self) -> ModelSection:
        if self.quantization is not None and self.lora is None:
            raise ValueError(
                f"quantization = '{self.quantization}' without an adapter: four-bit weights take no gradient, so "
                "nothing could be trained; set model.lora, or quantization to null"
            )
        if self.reference == "offloaded" and self.lora is not None:
            raise ValueError(
                "reference = 'offloaded' with an adapter: the reference is the model with the adapter off, and there "
                "is no copy to offload; leave reference away"
            )
        return self


class GeosynthData(Section):
    """Generated plane-geometry problems, made as they are asked for.

    split: whose numbers they have (see `uec_vlm.geosynth.splits`); null is the split of that name.
    """

    kind: Literal["geosynth"]
    split: Literal["train", "practice", "validation", "test"] | None = None
    count: Positive = 1000
    seed: Count = 0
    families: tuple[str, ...] | None = None
    levels: tuple[Literal[1, 2, 3], ...] = (1, 2, 3)
    image_size: Annotated[int, Field(ge=84, le=2048)] = 112


class ParquetData(Section):
    """A Parquet file written by `python -m data_prep`. force: train on it although it is for evaluation only."""

    kind: Literal["parquet"]
    path: str
    first: Positive | None = None
    force: bool = False


SingleSource = Annotated[GeosynthData | ParquetData, Field(discriminator="kind")]


class MixturePart(Section):
    """One set of a mixture. weight: its share of the draws is weight / sum of weights."""

    weight: Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
    source: SingleSource


class MixtureData(Section):
    """Several sets, drawn by weight; which comes next depends on the seed and the counter of draws alone."""

    kind: Literal["mixture"]
    parts: Annotated[tuple[MixturePart, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _weights(self) -> MixtureData:
        total = sum(part.weight for part in self.parts)
        lowest = min(part.weight for part in self.parts)
        if lowest < total / 1000:
            raise ValueError(f"weight = {lowest} is below a thousandth of the sum {total}; raise it or leave it out")
        return self


DataSource = Annotated[GeosynthData | ParquetData | MixtureData, Field(discriminator="kind")]


class PromptSection(Section):
    """How a problem becomes a prompt. `{problem}` in the template stands for its text with the pictures in place.

    four_choices: the choices of the sample are listed below the question, with letters.
    """

    system: str | None = None
    template: str = "{problem}"
    four_choices: bool = False
    min_pixels: Positive = 3136
    max_pixels: Positive = 1_003_520
    max_tokens: Positive = 2048

    @model_validator(mode="after")
    def _ranges(self) -> PromptSection:
        if self.min_pixels > self.max_pixels:
            raise ValueError(f"min_pixels = {self.min_pixels} is above max_pixels = {self.max_pixels}; swap them")
        if "{problem}" not in self.template:
            raise ValueError("the template has no {problem}, so no question would be asked; add {problem}")
        return self


class DataSection(Section):
    """The three splits: training, validation (chooses the checkpoint), test (used once for each model).

    check: every row of a Parquet file is made a prompt before training, and those that cannot be are refused by name;
    without it such a training row is told and skipped when it is drawn, and a held-out one ends the run. An empty gold
    or the id of an earlier row is refused likewise; in a held-out split it ends the run before it begins. prompt_cache,
    prompt_cache_mib: prompts kept in memory (0: none), and MiB of their pixels at most. prefetch: the prompts of the
    next step are made in a thread while this one samples; it changes no result.
    """

    train: DataSource
    validation: SingleSource
    test: SingleSource | None = None
    prompt: PromptSection = PromptSection()
    prompt_cache: Count = 256
    prompt_cache_mib: Positive = 1024
    prefetch: bool = True
    check: bool = True


class RewardSection(Section):
    """accuracy_weight * accuracy + format_weight * format + what functions of yours give; each is measured apart.

    functions: from `path/to/file.py:name` to its weight; the function takes (response, gold) and returns a number.
    on_error: a function of yours that fails stops the run, or (zero) its completion counts as wrong, with reward 0, and
    is counted as `verdict/error`.
    """

    accuracy_weight: Annotated[float, Field(ge=0.0)] = 1.0
    format_weight: Annotated[float, Field(ge=0.0)] = 0.0
    format: str = "think_boxed"
    functions: dict[str, float] = Field(default_factory=dict)
    on_error: Literal["stop", "zero"] = "stop"

    @model_validator(mode="after")
    def _some_reward(self) -> RewardSection:
        if self.accuracy_weight == 0.0 and self.format_weight == 0.0 and not self.functions:
            raise ValueError("both weights are 0, so every advantage would be 0; set accuracy_weight = 1.0")
        return self


class UpdateSection(Section):
    """AdamW and the cut of a training batch into optimizer steps and micro-batches.

    sequences_per_optimizer_step: a divisor of the regular rollouts of a step. Where fewer or more are kept, they are
    cut into nearly equal parts, as many as is nearest. None: as many as a step has regular rollouts.
    micro_batch_tokens: prompt tokens (once per prompt) plus completion tokens of one forward and backward.
    max_skipped: the run stops when so many optimizer steps in a row had a loss or gradient that is not finite.
    share_forward: where one optimizer step trains on all rollouts of the step and they fit into one micro-batch, the
    forward that scored them serves the update too; its activations are held while the rollouts are chosen.
    deterministic: on a GPU, backward passes use kernels that add up in a fixed order, so that a run repeats bit for bit
    (CPUs always do); attention's backward is slower for it.
    """

    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)] = 1e-6
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-2
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    warmup_steps: Count = 0
    max_grad_norm: Annotated[float, Field(gt=0.0)] = 1.0
    sequences_per_optimizer_step: Positive | None = None
    epochs: Positive = 1
    micro_batch_tokens: Positive = 16_384
    max_skipped: Positive = 5
    share_forward: bool = True
    deterministic: bool = True


class EvaluateSection(Section):
    """On the validation split every `every` steps (0: only at the start and the end); on test once, at the end.

    controls: wrong pictures that are shown too, at the start, and at the end on test (on validation where there is no
    test); controls_every: on validation also at the evaluated steps that are multiples of it (0: at none).
    test_checkpoint: what is tested at the end, the best on validation or the last (comparisons at equal steps).
    start_cache: a folder where the evaluations of the untouched model are kept for all runs that start from the same
    model with the same problems, settings, seed and packages; null measures them in every run.
    """

    every: Count = 0
    validation_problems: Positive = 100
    validation_samples: Positive = 1
    test_problems: Positive | None = None
    test_samples: Positive = 4
    temperature: Annotated[float, Field(ge=0.0, le=5.0)] = 1.0
    controls: tuple[Literal["blank", "shuffled", "none"], ...] = ("shuffled",)
    controls_every: Count = 0
    test_checkpoint: Literal["best", "last"] = "best"
    start_cache: str | None = None


class LogSection(Section):
    """What the run folder keeps. rollouts_every 0 writes none; realised_dh_every 0 measures none.

    rollouts_per_step: rows of a dump, at most. rollouts_mib: of all dumps with their pictures; where it is near, a dump
    keeps fewer rows.
    """

    rollouts_every: Count = 10
    rollouts_per_step: Positive = 64
    rollouts_mib: Positive = 1024
    realised_dh_every: Count = 10
    realised_dh_rollouts: Positive = 64


class CheckpointSection(Section):
    """Checkpoints every `every` steps (0: only at the end); the newest `keep_last` and best `keep_best` are kept.

    lora: an adapter is written merged into the weights, alone, or both (then it lies in `adapter/`).
    """

    every: Count = 0
    keep_last: Positive = 2
    keep_best: Positive = 1
    lora: Literal["merged", "adapter", "both"] = "merged"


class RunConfig(Section):
    """A whole run. `objective` is checked by `uec_vlm.objective`, which knows what each of its names accepts."""

    algorithm: str | None = None
    run: RunSection = RunSection()
    model: ModelSection = ModelSection()
    data: DataSection
    rollout: RolloutSection = RolloutSection()
    reward: RewardSection = RewardSection()
    objective: dict[str, Any]
    update: UpdateSection = UpdateSection()
    evaluate: EvaluateSection = EvaluateSection()
    log: LogSection = LogSection()
    checkpoint: CheckpointSection = CheckpointSection()

    @model_validator(mode="after")
    def _combinations(self) -> RunConfig:
        if self.checkpoint.lora != "merged" and self.model.lora is None:
            raise ValueError(
                f"checkpoint.lora = '{self.checkpoint.lora}' asks for an adapter, but model.lora is null; "
                "set model.lora, or leave checkpoint.lora away"
            )
        sequences, unit = self.update.sequences_per_optimizer_step, self.rollout.per_step
        if sequences is not None and unit % sequences:
            raise ValueError(
                f"update.sequences_per_optimizer_step = {sequences} does not divide the training batch of "
                f"rollout.prompts_per_step * rollout.completions_per_prompt = {unit}; choose a divisor of {unit}"
            )
        return self


class SftData(Section):
    """What supervised training imitates: problems whose metadata carry a worked solution, or only the answer."""

    train: SingleSource
    prompt: PromptSection = PromptSection()
    target: str = "<think>{solution}</think>\\boxed{{{answer}}}"


class SftSection(Section):
    """Steps of supervised training."""

    steps: Positive = 100
    batch_size: Positive = 32
    micro_batch_size: Positive | None = None
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)] = 1e-4
    warmup_steps: Count = 10
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0.0)] = 1.0


class SftConfig(Section):
    """A supervised run (`uec-vlm sft`): the cold start before reinforcement learning."""

    run: SftRunSection = SftRunSection()
    model: ModelSection = ModelSection()
    data: SftData
    sft: SftSection = SftSection()


def config_folder() -> Path:
    """The folder with the shipped configurations: beside the package in a checkout, inside it in a wheel."""
    inside = Path(__file__).parent / "configs"
    return inside if inside.is_dir() else Path(__file__).parents[1] / "configs"


def preset(name: str) -> dict[str, Any]:
    """The YAML of `configs/presets/<name>.yaml` as a nested dict; ConfigError names the presets that exist."""
    folder = config_folder() / "presets"
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = sorted(p.stem for p in folder.glob("*.yaml"))
        raise ConfigError(f"algorithm = '{name}': there is no such preset; choose one of {known}.")
    return read_yaml(path)


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Reads a training configuration, lays it over its preset and applies `KEY=VALUE` overrides."""
    tree = with_overrides(read_yaml(Path(path)), overrides)
    if tree.get("algorithm") is not None:
        tree = merge(preset(str(tree["algorithm"])), tree)
    return parse_config(tree, RunConfig, place=str(path), name=Path(path).stem)


def load_sft_config(path: str | Path, overrides: Sequence[str] = ()) -> SftConfig:
    """Reads a configuration of supervised training."""
    tree = with_overrides(read_yaml(Path(path)), overrides)
    return parse_config(tree, SftConfig, place=str(path), name=Path(path).stem)


def parse_config(tree: dict[str, Any], kind: type[C], *, place: str, name: str) -> C:
    """Validates a nested dict of a run that is called `name` unless it says otherwise."""
    return parse_section(merge({"run": {"name": name}}, tree), kind, place=place)
