"""`uec-vlm train`: evaluates the base model, turns the circle, saves, and compares on the test split at the end."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from uec_vlm.config import RunConfig, dump_config
from uec_vlm.dumps import sample_rows
from uec_vlm.errors import CheckpointError, ConfigError, RunError, RunStopped, UecError
from uec_vlm.metrics import StepReport
from uec_vlm.policy import Policy
from uec_vlm.reports.summary import print_summary, write_report
from uec_vlm.runlog import RunFolder, full_disk_told, open_run, sole_writer
from uec_vlm.trainer.build import Splits, build_circle, build_policy, first_state, resolve
from uec_vlm.trainer.checkpoints import best_step, prune, refuse_broken_weights
from uec_vlm.trainer.circle import Circle
from uec_vlm.trainer.engines import preflight
from uec_vlm.trainer.evaluate import Evaluation, HeldOut, evaluate
from uec_vlm.trainer.export import save_with_card
from uec_vlm.trainer.inputs import input_hashes, refuse_other_inputs
from uec_vlm.trainer.launch import Launched, launch
from uec_vlm.trainer.loop import Turn, train
from uec_vlm.trainer.memory import memory_told
from uec_vlm.trainer.moments import named_moments
from uec_vlm.trainer.profiling import profiled
from uec_vlm.trainer.progress import progress
from uec_vlm.trainer.ranks import Ranks
from uec_vlm.trainer.resume import Resume, choose_checkpoint, refuse_other_run
from uec_vlm.trainer.seeds import set_global_generators
from uec_vlm.trainer.shards import gather_moments, scatter_moments
from uec_vlm.trainer.state import TrainState, inputs_of, load_checkpoint, save_checkpoint, step_of
from uec_vlm.trainer.stopping import HOW_TO_GO_ON, Stopper, listening
from uec_vlm.trainer.timing import timed
from uec_vlm.trainer.trackers import Trackers, open_trackers, require_trackers
from uec_vlm.trainer.untouched import evaluated_once


@dataclass(frozen=True)
class Run:
    """A run in progress: its folder, its configuration, its bound stations."""

    folder: RunFolder
    config: RunConfig
    circle: Circle
    splits: Splits
    console: Console
    inputs: Mapping[str, str]
    profile: int | None = None

    @property
    def ranks(self) -> Ranks:
        """The processes of the run; the first one writes and speaks."""
        return self.circle.ranks

    def tell(self, text: str) -> None:
        """Prints a line."""
        self.console.print(text, highlight=False, soft_wrap=True, markup=False)


def run_training(
    config: RunConfig, *, resume: Resume | None, console: Console, profile: int | None = None
) -> RunFolder:
    """Trains as configured and returns the run folder. UecError with the remedy for whatever the user can mend.

    resume: where a run goes on from (see `Resume`); None begins one. RunStopped after SIGTERM or SIGINT.
    profile: the number of a step that leaves a profiler trace in the run folder.
    """
    config = resolve(config)
    require_trackers(config.run.trackers)
    path = Path(config.run.dir or f"runs/{config.run.name}")
    launched = launch(config.model.device)
    ranks = launched.ranks
    if not ranks.first:
        console = Console(quiet=True)
    with contextlib.ExitStack() as held:

        def begin() -> Path | None:
            if resume == "newest" and not path.is_dir():
                raise CheckpointError(f"{path} holds no checkpoint: there is no such folder. Start without --resume.")
            held.enter_context(sole_writer(path))
            return _open(config, path, resume=resume, console=console)

        held.enter_context(full_disk_told(path))
        held.enter_context(memory_told())
        checkpoint = ranks.from_first(begin)
        stopper = held.enter_context(listening())
        run = _build(config, RunFolder(path), launched, checkpoint=checkpoint, console=console, profile=profile)
        return _turn(run, checkpoint, stopper)


def _open(config: RunConfig, path: Path, *, resume: Resume | None, console: Console) -> Path | None:
    """Begins or opens the run folder; returns the checkpoint to go on from."""
    tell = functools.partial(console.print, highlight=False, soft_wrap=True, markup=False)
    checkpoint = choose_checkpoint(path / "checkpoints", resume, tell)
    if checkpoint is not None or (resume == "auto" and (path / "metrics.jsonl").is_file()):
        refuse_other_run(config, path)
    if checkpoint is not None and step_of(checkpoint) > config.run.steps:
        raise ConfigError(
            f"run.steps = {config.run.steps}: the run in {path} is at step {step_of(checkpoint)} already. Give at "
            "least that many steps, or begin a new run with run.dir=..."
        )
    anew = resume == "auto" and checkpoint is None
    open_run(path, resume=checkpoint is not None, anew=anew, config_yaml=dump_config(config))
    tell(f"run folder: {path}")
    return checkpoint


def _build(
    config: RunConfig,
    folder: RunFolder,
    launched: Launched,
    *,
    checkpoint: Path | None,
    console: Console,
    profile: int | None,
) -> Run:
    set_global_generators(config.run.seed, "build")
    circle, splits = build_circle(config, checkpoint=checkpoint, launched=launched)
    reads_model = circle.reference is not None or circle.policy.has_adapter
    inputs = circle.ranks.from_first(lambda: input_hashes(config, reads_model=reads_model))
    run = Run(folder, config, circle, splits, console, inputs, profile if circle.ranks.first else None)
    for reason in splits.refused:
        run.tell(f"refused: {reason}")
    return run


def _turn(run: Run, checkpoint: Path | None, stopper: Stopper) -> RunFolder:
    _introduce(run)
    settings = run.config.rollout
    if settings.vllm is not None and settings.engine == "vllm":
        gaps = preflight(run.circle, settings.vllm.gap)
        run.tell(f"engine and policy agree: median gap {gaps[-1].median:.1e}, p99 {gaps[-1].p99:.1e} nats per token")
    tracked = open_trackers(
        run.config.run.trackers if run.ranks.first else (),
        folder=run.folder.path,
        name=run.config.run.name,
        config=run.config.model_dump(mode="json"),
        resumed_at=step_of(checkpoint) if checkpoint is not None else None,
    )
    with tracked as trackers:
        state = _resume(run, checkpoint) if checkpoint is not None else _begin(run, trackers)
        with stopper.finishing():
            _train(run, state, trackers, stopper)
    _finish(run)
    return run.folder


def _introduce(run: Run) -> None:
    """What is about to run, in three lines."""
    config, policy = run.config, run.circle.policy
    weights = run.circle.learner.weight_count
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
        run.tell(line)
    if run.ranks.world > 1:
        run.tell(f"{run.ranks.world} processes under {run.circle.learner.kind}")


def _begin(run: Run, trackers: Trackers) -> TrainState:
    """Row 0: the untouched model on validation; on the test split too, for the comparison at the end."""
    report = StepReport()
    state = first_state()
    with timed(report, "evaluate"):
        _validate(run, 0, report)
    _log(run, trackers, 0, report.row())
    _test(run, 0)
    return state


def _resume(run: Run, checkpoint: Path) -> TrainState:
    refuse_other_inputs(inputs_of(checkpoint), run.inputs, place=str(checkpoint))
    state, moments = load_checkpoint(checkpoint, render=run.circle.sharing.remember)
    scatter_moments(run.circle.learner, moments)
    run.ranks.from_first(lambda: run.folder.forget_after(state.step))
    _prune(run)
    run.tell(f"resumed at step {state.step} from {checkpoint}")
    return state


def _train(run: Run, state: TrainState, trackers: Trackers, stopper: Stopper) -> None:
    last = run.config.run.steps
    skipped = run.ranks.from_first(lambda: skipped_in_a_row(run.folder.metrics()))
    with progress(run.console, done=state.step, total=last) as show:
        turns, folder = _turns(run, state), run.folder.path / "profile"
        for turn in profiled(turns, first=state.step + 1, step=run.profile, folder=folder, tell=run.tell):
            step, report = turn.state.step, turn.report
            improved = False
            if run.config.evaluate.every and step % run.config.evaluate.every == 0:
                with timed(report, "evaluate"):
                    improved = _validate(run, step, report)
            row = report.row()
            _log(run, trackers, step, row)
            _dump(run, turn, trackers)
            for note in report.notes:
                run.tell(f"step {step}: {note}")
            every = run.config.checkpoint.every
            asked = _asked_to_stop(run, stopper)
            if improved or step == last or (every and step % every == 0) or asked is not None:
                _save(run, turn.state)
            show(step, row)
            skipped = skipped_in_a_row([row], before=skipped)
            _refuse_endless_skips(run, skipped, step)
            if asked is not None:
                saved = run.folder.checkpoints / f"step_{step}"
                raise RunStopped(f"stopped after step {step} of {last}, saved in {saved}: {HOW_TO_GO_ON}", signal=asked)


def _asked_to_stop(run: Run, stopper: Stopper) -> int | None:
    """The signal that any of the processes got: all stop after the same step."""
    asked = run.ranks.collect(lambda: stopper.asked)
    return next((number for number in asked if number is not None), None)


def _turns(run: Run, state: TrainState) -> Iterator[Turn]:
    """The steps. One that fails before it has touched the weights leaves a checkpoint of the step before it."""
    updates = _updates(run)
    try:
        for turn in train(run.circle, state, last_step=run.config.run.steps):
            state, updates = turn.state, _updates(run)
            yield turn
    except UecError:
        target = run.folder.checkpoints / f"step_{state.step}"
        if run.circle.learner.kind == "one" and state.step > 0 and not target.exists() and _updates(run) == updates:
            _save(run, state)
            run.tell(f"step {state.step + 1} failed; what was done before it is saved in {target}: {HOW_TO_GO_ON}")
        raise


def _updates(run: Run) -> int:
    """How often the optimizer has stepped, by its own count; not asked of an engine that shards or exchanges."""
    if run.circle.learner.kind != "one":
        return 0
    moments = named_moments(run.circle.optimizer, run.circle.policy.model.named_parameters())
    return max((int(value) for name, value in moments.items() if name.endswith(".step")), default=0)


def skipped_in_a_row(rows: Sequence[Mapping[str, float]], *, before: int = 0) -> int:
    """Optimizer steps skipped since the last one that was made, as the rows of the steps tell."""
    count = before
    for row in rows:
        count = 0 if row.get("update/optimizer_steps", 0) else count
        count += int(row.get("update/skipped", 0))
    return count


def _refuse_endless_skips(run: Run, skipped: int, step: int) -> None:
    if skipped >= run.config.update.max_skipped:
        raise RunError(
            f"step {step}: {skipped} optimizer steps in a row were skipped because loss or gradient was not finite "
            f"(update.max_skipped = {run.config.update.max_skipped}). The weights are those before them; the newest "
            f"checkpoint in {run.folder.checkpoints} is good. Begin a new run from it (model.path=...) with a lower "
            "update.learning_rate, or in float32."
        )


def _finish(run: Run) -> None:
    """The test split, once, with the checkpoint that validation chose or with the last; then the drawings."""
    last = run.config.run.steps
    if not _evaluated(run, "validation", last):
        _validate(run, last, StepReport())
    takes_last = run.config.evaluate.test_checkpoint == "last"
    chosen = last if takes_last else run.ranks.from_first(lambda: best_step(run.folder, run.tell))
    if run.splits.test is not None and not _evaluated(run, "test", chosen):
        if chosen != last:
            checkpoint = run.folder.checkpoints / f"step_{chosen}"
            run.circle.engine.load_weights(_loaded(run, checkpoint))
        _test(run, chosen)
    if run.ranks.first:
        write_report(run.folder)
        print_summary(run.folder, run.console)


def _loaded(run: Run, checkpoint: Path) -> Policy | None:
    """The policy of a checkpoint; None in a process that gives a server no weights."""
    learner = run.circle.learner
    if learner.outside and not run.ranks.first:
        return None
    device = "cpu" if learner.outside else run.circle.policy.device
    return build_policy(run.config.model, run.config.data.prompt, device=device, checkpoint=checkpoint)


def _validate(run: Run, step: int, report: StepReport) -> bool:
    """Evaluates on validation; returns whether it is the best so far."""

    before = run.ranks.from_first(
        lambda: [row for row in run.folder.evaluations() if row["split"] == "validation" and row["step"] < step]
    )
    evaluation = _evaluate(run, run.splits.validation, step)
    evaluation.report(report, base=next((row for row in before if row["step"] == 0), None))
    return step > 0 and all(sum(evaluation.correct) >= sum(row["correct"]) for row in before if row["step"] > 0)


def _test(run: Run, step: int) -> None:
    if run.splits.test is not None:
        _evaluate(run, run.splits.test, step)


def _evaluated(run: Run, split: str, step: int) -> bool:
    """Whether this split has been evaluated at this step: a finished run that is resumed does not do it again."""
    return run.ranks.from_first(
        lambda: any(row["split"] == split and row["step"] == step for row in run.folder.evaluations())
    )


def _evaluate(run: Run, held_out: HeldOut, step: int) -> Evaluation:
    def measure() -> Evaluation:
        return evaluate(held_out, run.circle, step=step, ranks=run.ranks)

    folder = run.config.evaluate.start_cache if step == 0 else None
    evaluation = evaluated_once(folder, run.config, held_out, measure, run.ranks)
    run.ranks.from_first(lambda: run.folder.append_evaluation(evaluation.row()))
    return evaluation


def _log(run: Run, trackers: Trackers, step: int, row: Mapping[str, float]) -> None:
    run.ranks.from_first(lambda: run.folder.append_metrics(step, row))
    trackers.log(step, row)


def _dump(run: Run, turn: Turn, trackers: Trackers) -> None:
    log, step, last = run.config.log, turn.state.step, run.config.run.steps
    if not log.rollouts_every or (step % log.rollouts_every and step != last):
        return

    def write() -> None:
        rows = sample_rows(turn.rows, log.rollouts_per_step)
        left = -(-(last - step) // log.rollouts_every)
        run.folder.write_rollouts(step, rows, budget=log.rollouts_mib * 2**20, dumps_left=left)
        trackers.completions(step, rows)

    run.ranks.from_first(write)


def _save(run: Run, state: TrainState) -> None:
    """Gathers what is sharded, by all processes together; the first one writes."""
    learner, policy = run.circle.learner, run.circle.policy
    weights = learner.gathered()
    moments = gather_moments(learner)

    def write() -> None:
        named = dict(policy.model.named_parameters()) if weights is None else weights
        refuse_broken_weights(named.items(), step=state.step)
        trainable = None
        if policy.has_adapter:
            trainable = {name: named[name] for name, p in policy.model.named_parameters() if p.requires_grad}
        save_checkpoint(
            run.folder.checkpoints / f"step_{state.step}",
            state,
            moments,
            save_weights=lambda target: save_with_card(
                policy, target, run=run.folder, step=state.step, config=run.config, state_dict=weights
            ),
            trainable=trainable,
            inputs=run.inputs,
        )

    run.ranks.from_first(write)
    _prune(run)


def _prune(run: Run) -> None:
    keep = run.config.checkpoint
    run.ranks.from_first(lambda: prune(run.folder, keep_last=keep.keep_last, keep_best=keep.keep_best))
