"""`uec-vlm plan`: tokens, memory of each process and time of a run, predicted before it is started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from uec_vlm.config import RunConfig
from uec_vlm.errors import ModelError, UecError
from uec_vlm.objective import build_objective
from uec_vlm.policy import Reader, check_config, load_config, load_reader
from uec_vlm.preflight.calibrate import Pace
from uec_vlm.preflight.memory import LAYOUTS, Load, Memory, predict_memory, shape_of
from uec_vlm.trainer.build import build_renderer, build_samples, model_folder, resolve
from uec_vlm.trainer.combinations import needs_float32_behind

_ROWS = 128
_GB = 1e9
_COLUMNS = {
    "weights": "wts.",
    "replica": "copy",
    "reference": "ref.",
    "gradients": "grad.",
    "optimizer": "opt.",
    "pictures": "pict.",
    "activations": "act.",
    "step": "step",
    "cache": "cache",
    "peak": "peak",
    "host": "host",
}


@dataclass(frozen=True)
class Prompts:
    """Prompts as the data give them, or as the configuration bounds them. numbers: pixel values of one prompt.

    measured: from how many rows, 0 where they are bounds.
    """

    mean: float
    longest: int
    numbers: float
    measured: int


@dataclass(frozen=True)
class Tokens:
    """Tokens of one step. completions, extra: upper bounds; extra is 0 without exploration."""

    prompts: int
    completions: int
    extra: int

    @property
    def total(self) -> int:
        """Of a step."""
        return self.prompts + self.completions + self.extra


@dataclass(frozen=True)
class Plan:
    """What is predicted. memory: from (layout, processes). seconds: of the run, None without a calibration."""

    model: str
    weights: int
    steps: int
    prompts: Prompts
    tokens: Tokens
    load: Load
    memory: Mapping[tuple[str, int], Memory]
    pace: Pace | None
    seconds: float | None
    notes: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        memory = [
            {"layout": layout, "processes": processes, **asdict(need), "peak": need.peak}
            for (layout, processes), need in self.memory.items()
        ]
        shown = asdict(self)
        return {**shown, "memory": memory, "tokens": {**asdict(self.tokens), "total": self.tokens.total}}

    def print(self, console: Console) -> None:
        """Tables of tokens, memory and time."""
        where = f"measured on {self.prompts.measured} rows" if self.prompts.measured else "bounds; no data were read"
        lines = [
            f"{self.model}: {self.weights / 1e6:.2f} M weights",
            f"prompts ({where}): {self.prompts.mean:.0f} tokens on average, {self.prompts.longest} at most",
            f"a step: {self.tokens.prompts:,} prompt tokens, at most {self.tokens.completions:,} completion tokens and "
            f"{self.tokens.extra:,} of extra rollouts; {self.steps} steps",
            f"the largest micro-batch: {self.load.prompts} x {self.load.prompt_tokens} prompt tokens, "
            f"{self.load.completions} x {self.load.completion_tokens} completion tokens",
        ]
        for line in lines:
            console.print(line, highlight=False, soft_wrap=True)
        console.print(self._memory_table())
        if self.pace is not None and self.seconds is not None:
            rollouts, training = self.pace.step, self.pace.trained * self.pace.trajectory
            console.print(
                f"time: a step has {rollouts:.2f} s of rollouts and {training:.2f} s of training (measured on "
                f"{self.pace.steps}), {_hours(self.seconds)} in all; {self.pace.completion_tokens:.0f} tokens a reply",
                highlight=False, soft_wrap=True,
            )  # fmt: skip
        for note in self.notes:
            console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)

    def _memory_table(self) -> Table:
        table = Table(title="GB of one process, above the libraries", box=None, padding=(0, 1, 0, 0))
        used = [part for part in _COLUMNS if any(getattr(need, part) for need in self.memory.values())]
        for title in ("layout", "n", *(_COLUMNS[part] for part in used)):
            table.add_column(title, justify="left" if title == "layout" else "right", no_wrap=True)
        for (layout, processes), need in self.memory.items():
            cells = [_short(getattr(need, part) / _GB) for part in used]
            table.add_row(layout, str(processes), *cells)
        return table


def make_plan(config: RunConfig, *, config_json: Path | None, processes: int, pace: Pace | None) -> Plan:
    """Predict. config_json: of a model whose folder is not at hand. ModelError says what is missing."""
    config = resolve(config)
    model = _model_config(config, config_json)
    shape = shape_of(model)
    prompts, notes = _prompts(config, config_json)
    if pace is None:
        notes.append("time: not measured; ask with --calibrate on the machine that will train")
    load = largest_load(config, prompts, pace)
    reference = build_objective(config.objective).needs_reference
    behind = needs_float32_behind(config.model, config.update.learning_rate)
    if behind:
        notes.append(
            "ddp is left out: `train` refuses it for 16-bit weights at this learning rate (updates would be lost)"
        )
    memory = {
        (name, count): predict_memory(shape, config, load, layout=layout, processes=count, reference=reference)
        for count in _counts(processes)
        for name, layout in LAYOUTS.items()
        if (count > 1 or not layout.weights or layout.host) and (layout.keeps_float32 or not behind)
    }
    return Plan(
        model=f"{config.model.path} ({model.model_type})",
        weights=shape.weights,
        steps=config.run.steps,
        prompts=prompts,
        tokens=_tokens(config, prompts, pace),
        load=load,
        memory=memory,
        pace=pace,
        seconds=pace.seconds(config) if pace is not None else None,
        notes=notes,
    )


def largest_load(config: RunConfig, prompts: Prompts, pace: Pace | None = None) -> Load:
    """The micro-batch that fills its budget: whole groups where they fit, else one prompt with what fits of its group.

    pace: the longest completion that a calibration saw takes the place of the limit.
    """
    answer = config.rollout.max_new_tokens if pace is None else pace.longest_completion
    question, each = prompts.longest, config.rollout.completions_per_prompt
    step = config.rollout.prompts_per_step * each
    sequences = min(step, config.update.sequences_per_optimizer_step or step)
    budget = config.update.micro_batch_tokens
    groups = max(1, min(budget // (question + each * answer), -(-sequences // each)))
    completions = min(each, max(1, (budget - question) // answer)) if groups == 1 else min(groups * each, sequences)
    row = question + answer
    cached = min(config.rollout.batch_tokens // row, step) * row
    asked = config.run.steps * config.rollout.prompts_per_step + config.evaluate.validation_problems
    held = int(config.data.prompt_cache_mib * 2**20 // max(4 * prompts.numbers, 1))
    kept = min(config.data.prompt_cache, asked, held) + config.rollout.prompts_per_step
    explores = build_objective(config.objective).explores
    prefix = config.rollout.prompts_per_step * question if explores else 0
    return Load(groups, question, completions, answer, max(cached, row), prefix, int(prompts.numbers), kept)


def _model_config(config: RunConfig, config_json: Path | None) -> Any:
    from transformers import AutoConfig

    if config_json is None:
        try:
            return load_config(model_folder(config.model.path))
        except ModelError as error:
            raise ModelError(f"{error} Or give the model's config.json with --config-json.") from error
    if not config_json.is_file():
        raise ModelError(f"{config_json}: there is no such file; give the config.json of {config.model.path}.")
    try:
        model = AutoConfig.from_pretrained(config_json)
    except (OSError, ValueError) as error:
        raise ModelError(f"{config_json}: not a model's configuration ({error}).") from error
    check_config(model, config_json)
    return model


def _prompts(config: RunConfig, config_json: Path | None) -> tuple[Prompts, list[str]]:
    """Measured on the data where processor and data are at hand; else the bounds of the configuration."""
    prompt = config.data.prompt
    bound = Prompts(prompt.max_tokens, prompt.max_tokens, 3 * 2.0 * prompt.max_pixels, 0)
    if config_json is not None and not Path(config.model.path).is_dir():
        return bound, ["prompts: without the model's processor data.prompt.max_tokens stands for all of them"]
    try:
        reader = load_reader(
            model_folder(config.model.path), min_pixels=prompt.min_pixels, max_pixels=prompt.max_pixels
        )
        return _measure(config, reader), []
    except UecError as error:
        reason = str(error).splitlines()[0]
        return bound, [f"prompts: no row could be read ({reason}); data.prompt.max_tokens stands for all of them"]


def _measure(config: RunConfig, reader: Reader) -> Prompts:
    render = build_renderer(reader, config.data.prompt, cache=0)
    samples = build_samples(config.data.train, "train")
    places = range(0, len(samples), max(1, len(samples) // _ROWS))
    lengths, numbers = [], 0
    for place in places[:_ROWS]:
        try:
            made = render(samples[place])
        except UecError:
            continue
        lengths.append(len(made.token_ids))
        numbers += made.pixel_values.numel()
    if not lengths:
        raise ModelError("no row of data.train becomes a prompt; ask `uec-vlm doctor`")
    return Prompts(sum(lengths) / len(lengths), max(lengths), numbers / len(lengths), len(lengths))


def _tokens(config: RunConfig, prompts: Prompts, pace: Pace | None) -> Tokens:
    answer = config.rollout.max_new_tokens if pace is None else pace.completion_tokens
    count, each = config.rollout.prompts_per_step, config.rollout.completions_per_prompt
    if pace is not None:
        extra = pace.extra_tokens
    else:
        settings = config.objective.get("exploration", {})
        explores = settings.get("name", "none") != "none"
        most = count * int(settings.get("completions") or 0)
        extra = min(most, int(settings.get("max_rollouts") or most)) * answer if explores else 0
    return Tokens(int(count * prompts.mean), int(count * each * answer), int(extra))


def _counts(processes: int) -> list[int]:
    counts = [1]
    while counts[-1] * 2 <= processes:
        counts.append(counts[-1] * 2)
    return counts if counts[-1] == processes else [*counts, processes]


def _short(size: float) -> str:
    return f"{size:.2f}" if size < 10 else f"{size:.1f}"


def _hours(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
