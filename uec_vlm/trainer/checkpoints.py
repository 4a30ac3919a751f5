"""Which checkpoints a run keeps: the newest ones and those that did best on validation."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from uec_vlm.durable import fault_of
from uec_vlm.errors import CheckpointError, RunError
from uec_vlm.runlog import RunFolder
from uec_vlm.trainer.state import step_of


def steps_by_merit(folder: RunFolder) -> list[int]:
    """Steps with a checkpoint that was evaluated on validation, the best first, of equals the later first."""
    scores = {
        row["step"]: sum(row["correct"])
        for row in folder.evaluations()
        if row["split"] == "validation" and (folder.checkpoints / f"step_{row['step']}").is_dir()
    }
    return sorted(scores, key=lambda step: (scores[step], step), reverse=True)


def best_step(folder: RunFolder, tell: Callable[[str], None] = lambda text: None) -> int:
    """The step whose whole checkpoint did best on validation; one that is not whole is told and passed over.

    CheckpointError without any.
    """
    for step in steps_by_merit(folder):
        checkpoint = folder.checkpoints / f"step_{step}"
        fault = fault_of(checkpoint)
        if fault is None:
            return step
        tell(f"{checkpoint}, the best on validation, is not whole: {fault}. The next best is taken.")
    raise CheckpointError(f"{folder.checkpoints} holds no whole checkpoint that was evaluated on validation.")


def prune(folder: RunFolder, *, keep_last: int, keep_best: int) -> None:
    """Removes all but the newest `keep_last` and the best `keep_best` checkpoints (the newest count apart)."""
    best = {f"step_{step}" for step in steps_by_merit(folder)[:keep_best]}
    others = [path for path in sorted(folder.checkpoints.glob("step_*"), key=step_of) if path.name not in best]
    for old in others[:-keep_last]:
        # Renamed first: a kill must not leave a half-removed folder with the name of a checkpoint (see `durable.tidy`).
        shutil.rmtree(old.rename(old.with_name(f".{old.name}.tmp")))


def refuse_broken_weights(weights: Iterable[tuple[str, Tensor]], *, step: int) -> None:
    """RunError if a weight is not finite: such a checkpoint would take the place of a good one."""
    for name, weight in weights:
        if not bool(torch.isfinite(weight).all()):
            raise RunError(
                f"step {step}: the weight '{name}' is not finite, so nothing is saved. Begin a new run from the newest "
                "checkpoint (model.path=...) with a lower update.learning_rate or update.max_grad_norm."
            )
