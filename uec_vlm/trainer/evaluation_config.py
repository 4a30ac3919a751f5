"""Which configuration decides how a finished model is asked: that of its run, or the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uec_vlm.config import RunConfig, load_config, merge, parse_config, preset
from uec_vlm.errors import ConfigError
from uec_vlm.trainer.build import resolve

# A model that is evaluated is a whole one: its adapter is merged, its weights are no longer four-bit ones.
FINISHED: Mapping[str, None] = {"lora": None, "quantization": None}


@dataclass(frozen=True)
class EvalOptions:
    """How a model is asked. None takes what the configuration says.

    mode: `open` asks the question, `choices` lists the choices with letters. samples: completions of each problem.
    limit: problems at most of each data set. engine: of `ENGINES`. out: the folder of the result.
    """

    mode: str | None = None
    samples: int | None = None
    temperature: float | None = None
    max_new_tokens: int | None = None
    limit: int | None = None
    engine: str | None = None
    seed: int | None = None
    out: Path | None = None
    against: Path | None = None


def evaluation_config(model: str, config: Path | None, options: EvalOptions) -> RunConfig:
    """The configuration that decides prompt, pixel limits and grader.

    config: of a training run; None takes that of the run in which the model is a checkpoint, else the defaults.
    """
    beside = Path(model).absolute().parents[1] / "config.yaml" if Path(model).is_dir() else None
    source = config or (beside if beside is not None and beside.is_file() else None)
    if source is not None:
        base = load_config(source)
    else:
        data = {split: {"kind": "geosynth", "count": 1} for split in ("train", "validation")}
        base = parse_config(merge(preset("grpo"), {"data": data}), RunConfig, place="uec-vlm eval", name="eval")
    tree = base.model_dump(mode="json")
    above: dict[str, Any] = {
        "model": {"path": model, **FINISHED},
        "rollout": {},
        "evaluate": {},
        "checkpoint": {"lora": "merged"},
        "data": {},
        "run": {},
    }
    asked = {
        ("rollout", "engine"): options.engine,
        ("rollout", "max_new_tokens"): options.max_new_tokens,
        ("evaluate", "temperature"): options.temperature,
        ("evaluate", "test_samples"): options.samples,
        ("run", "seed"): options.seed,
    }
    for (section, key), value in asked.items():
        if value is not None:
            above[section][key] = value
    if options.mode is not None:
        if options.mode not in ("open", "choices"):
            raise ConfigError(f"--mode {options.mode}: there is no such mode; choose open or choices.")
        above["data"]["prompt"] = {"four_choices": options.mode == "choices"}
    return resolve(parse_config(merge(tree, above), RunConfig, place=str(source or "uec-vlm eval"), name="eval"))
