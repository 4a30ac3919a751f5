"""`uec-vlm sft`: supervised training on worked solutions, written as a model folder that `train` starts from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from uec_vlm.config import SftConfig, dump_config
from uec_vlm.durable import write_text
from uec_vlm.errors import ConfigError, DataError, RunError
from uec_vlm.policy import save_policy
from uec_vlm.records import Sample
from uec_vlm.runlog import full_disk_told, sole_writer
from uec_vlm.trainer.build import build_policy, build_renderer, build_samples, device_of
from uec_vlm.trainer.combinations import refuse_sft_combination
from uec_vlm.trainer.sft import Example, Examples, sft_run

_LINE_EVERY = 10


class Targets(Examples):
    """Samples with the completion to imitate. ConfigError if the template names what a sample does not have."""

    def __init__(self, samples: Sequence[Sample], template: str) -> None:
        """template: may name {answer}, and {solution} where the samples' metadata have one."""

        def make(place: int) -> Example:
            sample = samples[place]
            return sample, _filled(template, sample)

        super().__init__(len(samples), make)


def _filled(template: str, sample: Sample) -> str:
    known = {"answer": sample.answer, **sample.metadata}
    if "{answer}" in template and not sample.answer.strip():
        raise DataError(
            f"data.train: sample '{sample.id}' has an empty answer, and data.target = '{template}' would teach it. "
            "Mend the row or take it out of the file."
        )
    try:
        return template.format(**known)
    except (KeyError, IndexError, AttributeError) as error:
        raise ConfigError(
            f"data.target = '{template}': sample '{sample.id}' has no {error}; it has {sorted(known)}. "
            "Braces that are meant as such are doubled."
        ) from None
    except ValueError as error:
        raise ConfigError(f"data.target = '{template}': {error}. Braces that are meant as such are doubled.") from None


def run_sft(config: SftConfig, *, console: Console) -> Path:
    """Trains and writes `<run folder>/model`; returns that folder.

    RunError if the folder holds a model or a run. ConfigError before the first step for a sample without a target.
    """
    folder = Path(config.run.dir or f"runs/{config.run.name}")
    refuse_sft_combination(config)
    with sole_writer(folder), full_disk_told(folder):
        _refuse_taken(folder)
        return _train(config, folder, console)


def _refuse_taken(folder: Path) -> None:
    taken = next((folder / name for name in ("model", "metrics.jsonl") if (folder / name).exists()), None)
    if taken is not None:
        raise RunError(f"{taken} is already there; choose run.dir=... or delete it.")


def _train(config: SftConfig, folder: Path, console: Console) -> Path:
    samples = build_samples(config.data.train, "train")
    # Generated problems all have the same metadata, and cost a picture each.
    for place in range(1 if config.data.train.kind == "geosynth" else len(samples)):
        _filled(config.data.target, samples[place])
    policy = build_policy(config.model, config.data.prompt, device=device_of(config.model.device))
    settings = config.sft
    steps = sft_run(
        policy,
        Targets(samples, config.data.target),
        steps=settings.steps,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        seed=config.run.seed,
        max_grad_norm=settings.max_grad_norm,
        render=build_renderer(policy, config.data.prompt, cache=256),
        micro_batch_size=settings.micro_batch_size,
    )
    console.print(f"{len(samples)} examples, {settings.steps} steps of {settings.batch_size}", highlight=False)
    for record in steps:
        if record.step % _LINE_EVERY == 0 or record.step in (1, settings.steps):
            console.print(
                f"step {record.step}/{settings.steps}  loss {record.loss:.4f} nats/token  "
                f"gradient norm {record.gradient_norm:.3f}",
                highlight=False,
            )
    save_policy(policy, folder / "model")
    write_text(folder / "config.yaml", dump_config(config))
    console.print(f"{folder / 'model'}", highlight=False)
    return folder / "model"
