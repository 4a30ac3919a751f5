"""`uec-vlm doctor`: what would stop or spoil a run is found before it is paid for. Needs no GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from uec_vlm.batches.mixture import Mixture
from uec_vlm.config import RunConfig, load_config
from uec_vlm.errors import UecError
from uec_vlm.policy import Reader, load_reader
from uec_vlm.preflight import data_checks, machine_checks, model_checks, objective_checks
from uec_vlm.preflight.data_checks import Reading, read_split
from uec_vlm.preflight.findings import CHECKS, Examination, Finding
from uec_vlm.preflight.memory import shape_of, state_bytes, trainable_weights, width_of
from uec_vlm.records import Prompt, Sample
from uec_vlm.trainer.build import (
    build_bench,
    build_judge,
    build_renderer,
    build_samples,
    device_of,
    model_folder,
    resolve,
)
from uec_vlm.trainer.combinations import foreseen

# Above this, the engine is tried only when asked: loading the weights would take minutes.
_SMALL_WEIGHTS = 500_000_000


@dataclass(frozen=True)
class Options:
    """processes: that the run will be started with. rows: at most so many of each split, None for all.

    load: try the engine however large the model is.
    """

    processes: int = 1
    rows: int | None = None
    load: bool = False


def examine(path: str | Path, overrides: Sequence[str] = (), options: Options | None = None) -> Examination:
    """Run every check; a check that cannot run because another failed is left out. Never raises UecError."""
    options = options or Options()
    found = list(machine_checks.versions())
    try:
        config = resolve(load_config(path, overrides))
        build_judge(config)
    except UecError as error:
        return _sorted([*found, Finding("configuration", "error", str(error), "Mend the file.")])
    found.append(Finding("configuration", "ok", f"{path}: {config.algorithm or 'own objective'}"))
    refused = [Finding("configuration", level, reason, "As it says.") for level, reason in foreseen(config)]
    found += refused
    if any(finding.level == "error" for finding in refused):  # it will not begin, so no engine need be tried
        return _sorted(found)
    found += objective_checks.objective(config)
    found += machine_checks.ranks(config, options.processes)
    try:
        reader = load_reader(
            model_folder(config.model.path),
            min_pixels=config.data.prompt.min_pixels,
            max_pixels=config.data.prompt.max_pixels,
        )
    except UecError as error:
        return _sorted([*found, Finding("model", "error", str(error))])
    found += _of_model(config, reader)
    return _sorted([*found, *_of_data(config, reader, options, broken=_broken(found))])


def _of_model(config: RunConfig, reader: Reader) -> Iterator[Finding]:
    folder = Path(model_folder(config.model.path))
    if folder.is_dir():
        yield from model_checks.weight_files(folder)
    else:
        yield Finding("model", "ok", f"{config.model.path}: {reader.config.model_type} from the Hub")
    yield from model_checks.chat_template(reader)
    tokens = list(model_checks.special_tokens(reader))
    yield from tokens
    if _broken(tokens):  # such a configuration need not even make a model
        return
    shape = shape_of(reader.config)
    trained = trainable_weights(shape, config.model)
    yield from machine_checks.disk(
        config, weight_bytes=shape.weights * width_of(config.model), state_bytes=state_bytes(trained, config.model)
    )


def _of_data(config: RunConfig, reader: Reader, options: Options, *, broken: bool) -> Iterator[Finding]:
    render = build_renderer(reader, config.data.prompt, cache=0)
    readings: dict[str, Reading] = {}
    for split in ("train", "validation", "test"):
        source = getattr(config.data, split)
        if source is None:
            continue
        try:
            samples = build_samples(source, split)
        except UecError as error:
            yield Finding("rows", "error", f"data.{split}: {error}")
            continue
        image_token = getattr(reader.config, "image_token_id", None)
        parts = samples.parts if isinstance(samples, Mixture) else (samples,)
        for number, part in enumerate(parts):
            name = split if len(parts) == 1 else f"{split} part {number}"
            readings[name] = read_split(part, render, image_token_id=image_token, limit=options.rows)
    if not any(split.startswith("train") for split in readings):
        return
    yield from data_checks.rows(readings, check=config.data.check)
    yield from data_checks.golds(readings, check=config.data.check)
    yield from data_checks.splits(readings, check=config.data.check)
    if any(reading.lengths for reading in readings.values()):
        yield from data_checks.lengths(readings, config, reader)
        if not broken:
            yield from _of_engine(config, reader, render, options)


def _of_engine(
    config: RunConfig, reader: Reader, render: Callable[[Sample], Prompt], options: Options
) -> Iterator[Finding]:
    size = shape_of(reader.config).weights * width_of(config.model)
    if size > _SMALL_WEIGHTS and not options.load:
        yield Finding(
            "engine", "warning", f"not tried: {size / 1e9:.1f} GB of weights would be loaded",
            "Ask for it with --load, on the machine that will train.",
        )  # fmt: skip
        return
    try:
        bench = build_bench(config, device=device_of("cpu" if config.model.device == "cpu" else "auto"))
        prompts = _some_prompts(config, render)
        yield from machine_checks.engine(bench.policy, bench.engine, prompts, dtype=config.model.dtype)
    except UecError as error:
        yield Finding("engine", "error", str(error))


def _some_prompts(config: RunConfig, render: Callable[[Sample], Prompt], count: int = 2) -> list[Prompt]:
    """The first prompts of training that can be made."""
    samples = build_samples(config.data.train, "train")
    prompts: list[Prompt] = []
    for place in range(len(samples)):
        try:
            prompts.append(render(samples[place]))
        except UecError:
            continue
        if len(prompts) == count:
            break
    return prompts


def _broken(found: Sequence[Finding]) -> bool:
    return any(finding.level == "error" and finding.check in ("model", "special tokens") for finding in found)


def _sorted(found: Sequence[Finding]) -> Examination:
    order = list(CHECKS)
    return Examination(tuple(sorted(found, key=lambda finding: order.index(finding.check))))
