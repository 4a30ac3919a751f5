"""From where a run goes on: the newest whole checkpoint, of the same run, with the same inputs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from uec_vlm.config import RunConfig, parse_config
from uec_vlm.durable import fault_of, tidy
from uec_vlm.engine_sections import GapSection, VLLMSection, VLLMStart
from uec_vlm.errors import CheckpointError, ConfigError
from uec_vlm.runlog import RunFolder
from uec_vlm.trainer.state import checkpoints_in

Resume = Literal["newest", "auto"]
"""newest: from the newest whole checkpoint, which must exist. auto: from it, or anew where nothing was saved yet."""

# What may differ between a run and its continuation: how long it goes, how often it saves, where it lies, and how much
# memory it takes (which changes a number by no more than the order of a sum does).
_MAY_CHANGE = (
    "run.steps", "run.dir", "run.trackers", "checkpoint.every", "checkpoint.keep_last", "checkpoint.keep_best",
    "log.rollouts_every", "log.rollouts_per_step", "update.max_skipped", "update.micro_batch_tokens",
    "rollout.batch_tokens", "model.gradient_checkpointing", "data.prompt_cache",
    "evaluate.start_cache", "evaluate.test_checkpoint", "data.prompt_cache_mib", "update.share_forward",
    "model.picture_mib", "model.reference", "rollout.prefix_mib", "data.prefetch", "log.rollouts_mib",
    "rollout.cuda_graphs", "update.deterministic",
    # Which servers sample, and how patiently, is no part of the experiment.
    *(f"rollout.vllm.{key}" for key in VLLMSection.model_fields if key != "gap"),
    *(f"rollout.vllm.start.{key}" for key in VLLMStart.model_fields),
    *(f"rollout.vllm.gap.{key}" for key in GapSection.model_fields),
)  # fmt: skip


def choose_checkpoint(checkpoints: Path, resume: Resume | None, tell: Callable[[str], None]) -> Path | None:
    """The checkpoint to go on from; None for a run that begins. Torn or altered ones are told and set aside.

    Expects to be the sole writer of the run folder. CheckpointError if there is none and there must be one, or if
    there are some and none is whole.
    """
    if resume is None:
        return None
    if checkpoints.is_dir():
        tidy(checkpoints)
    found = checkpoints_in(checkpoints)
    for folder in reversed(found):
        fault = fault_of(folder)
        if fault is None:
            return folder
        tell(f"{folder} is not whole: {fault}. It is set aside as torn_{folder.name}; an earlier one is taken.")
        aside = folder.with_name(f"torn_{folder.name}")
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
    if found:
        raise CheckpointError(
            f"{checkpoints}: none of its {len(found)} checkpoints is whole (they are kept as torn_step_*). Begin a new "
            "run with run.dir=..., perhaps from their weights with model.path=..."
        )
    if resume == "auto":
        return None
    raise CheckpointError(f"{checkpoints} holds no checkpoint; set checkpoint.every, or start anew without --resume.")


def refuse_other_run(config: RunConfig, path: Path) -> None:
    """ConfigError if the run in the folder was begun with settings that differ in anything that matters.

    RunError if its configuration is missing or damaged.
    """
    tree = RunFolder(path).config()
    old = parse_config(tree, RunConfig, place=str(path / "config.yaml"), name=config.run.name)
    changed = _differences(old.model_dump(mode="json"), config.model_dump(mode="json"))
    wrong = sorted(key for key in changed if key not in _MAY_CHANGE)
    if wrong:
        told = ", ".join(f"{key} = {changed[key][0]!r} (now {changed[key][1]!r})" for key in wrong)
        raise ConfigError(
            f"{path} was begun with other settings: {told}. "
            "Give the settings it was begun with, or start a new run with run.dir=..."
        )


def _differences(old: Any, new: Any, place: str = "") -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ, with the old value and the new one; None where there is none."""
    if isinstance(old, dict) and isinstance(new, dict):
        found: dict[str, tuple[Any, Any]] = {}
        for key in {**old, **new}:
            found |= _differences(old.get(key), new.get(key), f"{place}.{key}" if place else str(key))
        return found
    return {} if old == new else {place: (old, new)}
