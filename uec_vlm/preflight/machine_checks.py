"""Checks of the machine: installed versions, disk space, ranks, the rollout engine."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import torch
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet

from uec_vlm.batches import collate_completions
from uec_vlm.config import RunConfig
from uec_vlm.policy import Policy, score
from uec_vlm.preflight.findings import Finding
from uec_vlm.records import Prompt
from uec_vlm.rollouts import RolloutEngine, SamplingSettings

Versions = Callable[[str], str]

# (package, versions, what is wrong with them, the command that mends it)
BROKEN: tuple[tuple[str, str, str, str], ...] = (
    ("transformers", "<5", "has no mm_token_type_ids, from which picture positions are made", "'transformers>=5.0'"),
    ("qwen-vl-utils", "<0.0.14", "knows no image_patch_size, so Qwen3-VL's pictures get a wrong size",
     "'qwen-vl-utils>=0.0.14'"),
    ("torch", "<2.8", "is older than the attention and checkpointing used here", "'torch>=2.8' 'torchvision>=0.23'"),
    ("peft", "<0.18", "cannot load adapters beside transformers 5", "'peft>=0.18'"),
)  # fmt: skip
_OURS = (
    "torch", "torchvision", "transformers", "accelerate", "peft", "deepspeed", "datasets", "qwen-vl-utils",
    "safetensors", "tokenizers", "numpy", "pyarrow", "pillow", "scipy", "pydantic",
)  # fmt: skip
_GAP_NATS = {"float32": 1e-3, "bfloat16": 0.3}


def versions(version: Versions = metadata.version) -> Iterator[Finding]:
    """Known faults, and libraries whose own requirements the others do not meet."""
    faults = 0
    for package, bad, reason, command in BROKEN:
        found = _installed(package, version)
        if found is not None and SpecifierSet(bad).contains(found, prereleases=True):
            faults += 1
            yield Finding("versions", "error", f"{package} {found} {reason}", f"pip install {command}")
    for package in _OURS:
        for requirement in _requirements(package):
            found = _installed(requirement.name, version)
            if found is not None and not requirement.specifier.contains(found, prereleases=True):
                faults += 1
                yield Finding(
                    "versions", "error", f"{package} needs {requirement}, but {requirement.name} {found} is installed",
                    f"pip install '{requirement.name}{requirement.specifier}'",
                )  # fmt: skip
    if not faults:
        shown = ", ".join(f"{name} {_installed(name, version)}" for name in ("torch", "transformers", "accelerate"))
        yield Finding("versions", "ok", shown)


def disk(config: RunConfig, *, weight_bytes: int, state_bytes: int, free: int | None = None) -> Iterator[Finding]:
    """Room for the checkpoints that are kept, one more while it is written, and what is free.

    weight_bytes, state_bytes: of one checkpoint, without and beside its weights. free: None asks the file system.
    """
    target = Path(config.run.dir or f"runs/{config.run.name}")
    existing = next(folder for folder in (target.absolute(), *target.absolute().parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        said = f"run.dir = {target}: {existing} is {'not writable' if existing.is_dir() else 'a file'}"
        yield Finding("disk", "error", said, "Choose another run.dir.")
        return
    if (target / "metrics.jsonl").is_file():
        yield Finding(
            "disk", "warning", f"{target} already holds a run", "Choose run.dir=..., or continue with --resume."
        )
    kept = config.checkpoint.keep_last + config.checkpoint.keep_best + 1  # and the one that is being written
    need = kept * (weight_bytes + state_bytes)
    room = shutil.disk_usage(existing).free if free is None else free
    told = f"{kept} checkpoints need {need / 1e9:.2f} GB, {room / 1e9:.1f} GB are free at {existing}"
    if need > room:
        yield Finding("disk", "error", told, "Lower checkpoint.keep_last, or choose run.dir on a larger disk.")
    else:
        yield Finding("disk", "ok", told)


def ranks(config: RunConfig, processes: int) -> Iterator[Finding]:
    """Prompts of a step and sequences of an optimizer step, against the number of processes."""
    prompts, each = config.rollout.prompts_per_step, config.rollout.completions_per_prompt
    sequences = config.update.sequences_per_optimizer_step or prompts * each
    faults = []
    if prompts < processes:
        faults.append(f"rollout.prompts_per_step = {prompts} leaves some of {processes} processes without a prompt")
    if sequences < processes:
        faults.append(f"update.sequences_per_optimizer_step = {sequences} is below {processes} processes")
    for fault in faults:
        yield Finding("ranks", "error", fault, "Start fewer processes, or raise it.")
    if not faults and prompts % processes:
        yield Finding(
            "ranks", "warning", f"{prompts} prompts do not divide among {processes} processes: some wait for others",
            f"Make rollout.prompts_per_step a multiple of {processes}.",
        )  # fmt: skip
    elif not faults:
        share = f"{prompts // processes} prompts and {sequences / processes:g} sequences each"
        yield Finding("ranks", "ok", f"{processes} process(es): {share}")


def engine(policy: Policy, sampler: RolloutEngine, prompts: list[Prompt], *, dtype: str) -> Iterator[Finding]:
    """A few sampled tokens: their log-probabilities at sampling against those of the policy."""
    sampling = SamplingSettings(temperature=1.0, max_new_tokens=8)
    groups = sampler.generate(prompts, completions=2, sampling=sampling, seeds=list(range(len(prompts))))
    rollouts = [rollout for group in groups for rollout in group]
    batch = collate_completions([r.completion_ids for r in rollouts], [r.prompt for r in rollouts])
    with torch.no_grad():
        scores = score(policy, batch, temperature=1.0, want_entropy=False)
    behaviour = torch.cat([rollout.behaviour_logprobs for rollout in rollouts])
    gap = float((behaviour - scores.logprobs[batch.completion_mask].cpu()).abs().max())
    told = f"{len(behaviour)} sampled tokens, largest gap to the policy {gap:.1e} nats"
    if gap > _GAP_NATS[dtype]:
        yield Finding(
            "engine",
            "error",
            f"{told}: more than {_GAP_NATS[dtype]}",
            "Give the engine the policy's weights and dtype.",
        )
    else:
        yield Finding("engine", "ok", told)


def _installed(package: str, version: Versions) -> str | None:
    try:
        return version(package)
    except metadata.PackageNotFoundError:
        return None


def _requirements(package: str) -> Iterator[Requirement]:
    """The package's unconditional requirements that name one of ours."""
    ours = {_same(name) for name in _OURS}
    try:
        declared = metadata.requires(package) or []
    except metadata.PackageNotFoundError:
        return
    for line in declared:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if _same(requirement.name) in ours and (
            requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        ):
            yield requirement


def _same(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
