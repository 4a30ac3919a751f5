"""`uec-vlm train`: evaluates the base model, turns the circle, saves, and compares on the test split at the end."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from torch.utils.tensorboard import SummaryWriter

from uec_vlm.config import RunConfig, dump_config, parse_config
from uec_vlm.errors import CheckpointError, ConfigError
from uec_vlm.metrics import StepReport
from uec_vlm.policy import save_policy
from uec_vlm.reports.summary import print_summary, write_report
from uec_vlm.runlog import RunFolder, open_run
from uec_vlm.trainer.build import Splits, build_circle, build_policy, first_state, resolve
from uec_vlm.trainer.circle import Circle
from uec_vlm.trainer.evaluate import Evaluation, HeldOut, evaluate
from uec_vlm.trainer.loop import Turn, train
from uec_vlm.trainer.moments import named_moments, restore_moments
from uec_vlm.trainer.progress import progress
from uec_vlm.trainer.state import TrainState, load_checkpoint, newest_checkpoint, save_checkpoint, step_of
from uec_vlm.trainer.timing import timed

# What may differ between a run and its continuation: how long it goes, how often it saves, where it lies.
_MAY_CHANGE = ("run.steps", "run.dir", "checkpoint.every", "checkpoint.keep_last", "log.rollouts_every")


@dataclass(frozen=True)
class Run:
    """A run in progress: its folder, its configuration, its bound stations."""

    folder: RunFolder
    config: RunConfig
    circle: Circle
    splits: Splits
    console: Console


def run_training(config: RunConfig, *, resume: bool, console: Console) -> RunFolder:
    """Trains as configured and returns the run folder. UecError with the remedy for whatever the user can mend."""
    config = resolve(config)
    path = Path(config.run.dir or f"runs/{config.run.name}")
    checkpoint = newest_checkpoint(path / "checkpoints") if resume else None
    if checkpoint is not None:
        _refuse_other_run(config, path)
    folder = open_run(path, resume=resume, config_yaml=dump_config(config))
    console.print(f"run folder: {folder.path}", highlight=False, soft_wrap=True)
    circle, splits = build_circle(config, checkpoint=checkpoint)
    for reason in splits.refused:
        console.print(f"refused: {reason}", highlight=False, soft_wrap=True)
    run = Run(folder, config, circle, splits, console)
    _introduce(run)
    with _tensorboard(run, purge_after=step_of(checkpoint) if checkpoint is not None else None) as board:
        state = _resume(run, checkpoint) if checkpoint is not None else _begin(run, board)
        _train(run, state, board)
    _finish(run)
    return folder


def _introduce(run: Run) -> None:
    """What is about to run, in three lines."""
    config, policy = run.config, run.circle.policy
    weights = sum(parameter.numel() for parameter in policy.model.parameters())
    held_out = f"{len(run.splits.validation.samples)} validation"
    if run.splits.test is not None:
        held_out += f", {len(run.splits.test.samples)} test"
    lines = (
        f"policy: {config.model.path} ({policy.family}, {weights / 1e6:.2f} M weights) on {policy.device}",
        f"problems: {len(run.circle.samples)} training, {held_out}",
        f"{config.algorithm or 'objective'}: {config.run.steps} steps of {config.rollout.prompts_per_step} prompts x "
        f"{config.rollout.completions_per_prompt} completions",
    )
    for line in lines:
        run.console.print(line, highlight=False, soft_wrap=True)


def _begin(run: Run, board: SummaryWriter | None) -> TrainState:
    """Row 0: the untouched model on validation; on the test split too, for the comparison at the end."""
    report = StepReport()
    state = first_state()
    with timed(report, "evaluate"):
        _validate(run, 0, report)
    _log(run, board, 0, report.row())
    _test(run, 0)
    return state


def _resume(run: Run, checkpoint: Path) -> TrainState:
    state, moments = load_checkpoint(checkpoint, render=run.circle.render)
    restore_moments(run.circle.optimizer, run.circle.policy.model.named_parameters(), moments)
    run.folder.forget_after(state.step)
    run.console.print(f"resumed at step {state.step} from {checkpoint}", highlight=False)
    return state


def _train(run: Run, state: TrainState, board: SummaryWriter | None) -> None:
    last = run.config.run.steps
    with progress(run.console, done=state.step, total=last) as show:
        for turn in train(run.circle, state, last_step=last):
            step, report = turn.state.step, turn.report
            improved = False
            if run.config.evaluate.every and step % run.config.evaluate.every == 0:
                with timed(report, "evaluate"):
                    improved = _validate(run, step, report)
            row = report.row()
            _log(run, board, step, row)
            _dump(run, turn)
            every = run.config.checkpoint.every
            if improved or step == last or (every and step % every == 0):
                _save(run, turn.state)
            show(step, row)


def _finish(run: Run) -> None:
    """The test split, once, with the checkpoint that validation chose; then the drawings."""
    last = run.config.run.steps
    if not _evaluated(run, "validation", last):
        _validate(run, last, StepReport())
    chosen = best_step(run.folder)
    if run.splits.test is not None and not _evaluated(run, "test", chosen):
        if chosen != last:
            checkpoint = run.folder.checkpoints / f"step_{chosen}"
            best = build_policy(
                run.config.model, run.config.data.prompt, device=run.circle.policy.device, checkpoint=checkpoint
            )
            run.circle.engine.load_weights(best)
        _test(run, chosen)
    write_report(run.folder)
    print_summary(run.folder, run.console)


def best_step(folder: RunFolder) -> int:
    """The step whose checkpoint did best on validation, the later one of equals; CheckpointError without any."""
    scores = {
        row["step"]: sum(row["correct"])
        for row in folder.evaluations()
        if row["split"] == "validation" and (folder.checkpoints / f"step_{row['step']}").is_dir()
    }
    if not scores:
        raise CheckpointError(f"{folder.checkpoints} holds no checkpoint that was evaluated on validation.")
    return int(max(scores, key=lambda step: (scores[step], step)))


def _validate(run: Run, step: int, report: StepReport) -> bool:
    """Evaluates on validation; returns whether it is the best so far."""
    known = [row for row in run.folder.evaluations() if row["split"] == "validation" and row["step"] > 0]
    evaluation = _evaluate(run, run.splits.validation, step)
    evaluation.report(report)
    return step > 0 and all(sum(evaluation.correct) >= sum(row["correct"]) for row in known)


def _test(run: Run, step: int) -> None:
    if run.splits.test is not None:
        _evaluate(run, run.splits.test, step)


def _evaluated(run: Run, split: str, step: int) -> bool:
    """Whether this split has been evaluated at this step: a finished run that is resumed does not do it again."""
    return any(row["split"] == split and row["step"] == step for row in run.folder.evaluations())


def _evaluate(run: Run, held_out: HeldOut, step: int) -> Evaluation:
    circle = run.circle
    evaluation = evaluate(
        held_out.samples,
        held_out.settings,
        step=step,
        engine=circle.engine,
        render=circle.render,
        judge=circle.judge,
    )
    run.folder.append_evaluation(evaluation.row())
    return evaluation


def _log(run: Run, board: SummaryWriter | None, step: int, row: Mapping[str, float]) -> None:
    run.folder.append_metrics(step, row)
    if board is not None:
        for name, value in row.items():
            board.add_scalar(name, value, step)


def _dump(run: Run, turn: Turn) -> None:
    every, step = run.config.log.rollouts_every, turn.state.step
    if every and (step % every == 0 or step == run.config.run.steps):
        run.folder.write_rollouts(step, _spread(turn.rows, run.config.log.rollouts_per_step))


def _spread(rows: Sequence[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    """At most `count` rows, evenly spread: regular and extra rollouts in their proportion."""
    if len(rows) <= count:
        return list(rows)
    return [rows[place * len(rows) // count] for place in range(count)]


def _save(run: Run, state: TrainState) -> None:
    policy = run.circle.policy
    trainable = None
    if policy.has_adapter:
        trainable = {name: p for name, p in policy.model.named_parameters() if p.requires_grad}
    save_checkpoint(
        run.folder.checkpoints / f"step_{state.step}",
        state,
        named_moments(run.circle.optimizer, policy.model.named_parameters()),
        save_weights=lambda target: save_policy(policy, target),
        trainable=trainable,
    )
    _prune(run, state.step)


def _prune(run: Run, step: int) -> None:
    """Keeps the newest `keep_last` checkpoints and the best one."""
    folders = sorted(run.folder.checkpoints.glob("step_*"), key=step_of)
    with contextlib.suppress(CheckpointError):
        best = best_step(run.folder)
        folders = [folder for folder in folders if step_of(folder) != best]
    for old in folders[: -run.config.checkpoint.keep_last]:
        shutil.rmtree(old)


@contextlib.contextmanager
def _tensorboard(run: Run, *, purge_after: int | None) -> Iterator[SummaryWriter | None]:
    if not run.config.run.tensorboard:
        yield None
        return
    purge = purge_after + 1 if purge_after is not None else None
    board = SummaryWriter(str(run.folder.path / "tensorboard"), purge_step=purge)
    try:
        yield board
    finally:
        board.close()


def _refuse_other_run(config: RunConfig, path: Path) -> None:
    """ConfigError if the configuration of a resumed run differs in anything that matters."""
    import yaml

    stored = path / "config.yaml"
    if not stored.is_file():
        raise CheckpointError(f"{stored} is missing, so the run cannot be known again; start anew.")
    tree = yaml.safe_load(stored.read_text(encoding="utf-8"))
    old = parse_config(tree, RunConfig, place=str(stored), name=config.run.name)
    changed = _differences(old.model_dump(mode="json"), config.model_dump(mode="json"))
    wrong = sorted(key for key in changed if key not in _MAY_CHANGE)
    if wrong:
        raise ConfigError(
            f"{path} was begun with other settings: {', '.join(f'{key} = {changed[key]!r}' for key in wrong)}. "
            "Give the settings it was begun with, or start a new run with run.dir=..."
        )


def _differences(old: Any, new: Any, place: str = "") -> dict[str, Any]:
    """Dotted keys whose values differ, with the old value."""
    if isinstance(old, dict) and isinstance(new, dict):
        found: dict[str, Any] = {}
        for key in {**old, **new}:
            found |= _differences(old.get(key), new.get(key), f"{place}.{key}" if place else str(key))
        return found
    return {} if old == new else {place: old}
