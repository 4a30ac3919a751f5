"""What a run reads again when it goes on, by hash: data files, the weights under an adapter or of the reference."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from uec_vlm.config import DataSource, MixtureData, ParquetData, RunConfig
from uec_vlm.durable import sha256_of, sha256_of_all
from uec_vlm.errors import CheckpointError
from uec_vlm.trainer.build import model_folder
from uec_vlm.verifier import DEFAULT_POLICY

_WEIGHTS = ("*.safetensors", "config.json", "preprocessor_config.json")


def input_hashes(config: RunConfig, *, reads_model: bool) -> dict[str, str]:
    """SHA-256 of every input by its key of the configuration, and of the verifier's settings.

    reads_model: the weights of model.path are in use beside the checkpoint's (reference, adapter).
    """
    hashes = {"the verifier's policy": _of_text(json.dumps(asdict(DEFAULT_POLICY)))}
    for spec in config.reward.functions:
        hashes[f"reward.functions: {spec}"] = sha256_of(Path(spec.rpartition(":")[0]).expanduser())
    for split in ("train", "validation", "test"):
        for key, source in _sources(f"data.{split}", getattr(config.data, split)):
            hashes[f"{key}.path = {source.path}"] = sha256_of(Path(source.path))
    folder = Path(model_folder(config.model.path))
    if reads_model and folder.is_dir():
        files = sorted(file for pattern in _WEIGHTS for file in folder.glob(pattern))
        hashes[f"model.path = {config.model.path}"] = sha256_of_all(files)
    return hashes


def _sources(key: str, source: DataSource | None) -> Iterator[tuple[str, ParquetData]]:
    """The files of a data source, by their keys; of a mixture those of its parts."""
    if isinstance(source, ParquetData):
        yield key, source
    elif isinstance(source, MixtureData):
        for place, part in enumerate(source.parts):
            yield from _sources(f"{key}.parts.{place}.source", part.source)


def refuse_other_inputs(stored: Mapping[str, str], found: Mapping[str, str], *, place: str) -> None:
    """CheckpointError, naming what changed since the checkpoint was written. stored, found: of `input_hashes`."""
    changed = sorted(key for key in stored if key in found and stored[key] != found[key])
    if changed:
        raise CheckpointError(
            f"{place} was written with another content of {'; '.join(changed)}. Put back what it was, or start a new "
            "run with run.dir=..."
        )


def _of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
