"""The command line: `uec-vlm COMMAND`. Heavy libraries are loaded inside the commands that need them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from typer.core import TyperCommand

from uec_vlm.cli_support import plainly, refuse_options
from uec_vlm.errors import ConfigError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Reinforcement-learning fine-tuning of vision-language models with UEC-RL.",
)
_console = Console()

ConfigPath = Annotated[Path, typer.Argument(help="A YAML file, for example configs/quickstart.yaml.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="KEY=VALUE, for example run.seed=1 update.learning_rate=1e-6.")
]
ArmName = Annotated[str | None, typer.Option("--arm", help="Where CONFIG is a study: look at this arm's first run.")]
RunPath = Annotated[Path, typer.Argument(help="A run folder, for example runs/quickstart.")]


class _Train(TyperCommand):
    """`train`, whose `--resume` may stand alone: it means `--resume newest` then."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put in the word that is left out."""
        whole: list[str] = []
        for place, word in enumerate(args):
            alone = word == "--resume" and not _says_how(args[place + 1 : place + 2])
            whole += [word, "newest"] if alone else [word]
        return super().parse_args(ctx, whole)


def _says_how(following: list[str]) -> bool:
    """Whether what follows `--resume` is meant for it, right or not: no option, no override and no file."""
    return any(
        not (word.startswith("-") or "=" in word or Path(word).suffix or Path(word).is_file()) for word in following
    )


@app.command(cls=_Train)
@plainly
def train(
    config: ConfigPath,
    overrides: Overrides = None,
    resume: Annotated[
        Literal["newest", "auto"] | None,
        typer.Option(
            help="Continue the run in run.dir: newest (or no word) from its newest whole checkpoint, auto also anew "
            "where it has none yet."
        ),
    ] = None,
    profile: Annotated[
        int | None, typer.Option(min=1, help="Number of a step whose profiler trace is written to RUN/profile.")
    ] = None,
) -> None:
    """Train a policy with reinforcement learning and write a run folder.

    Example: `uec-vlm train configs/quickstart.yaml run.seed=1 run.dir=runs/seed1`
    """
    from uec_vlm.config import load_config

    settings = load_config(config, overrides or ())  # before torch is imported: a mistyped key is told at once
    from uec_vlm.trainer.ranks import ended_in_peace
    from uec_vlm.trainer.run import run_training

    with ended_in_peace():
        run_training(settings, resume=resume, console=_console, profile=profile)


@app.command()
@plainly
def sft(config: ConfigPath, overrides: Overrides = None) -> None:
    """Fine-tune on worked solutions: the cold start before reinforcement learning.

    Example: `uec-vlm sft configs/sft_geometry3k_starter.yaml sft.steps=50`
    """
    from uec_vlm.config import load_sft_config

    settings = load_sft_config(config, overrides or ())
    from uec_vlm.trainer.sft_command import run_sft

    run_sft(settings, console=_console)


_OF_DATA_SETS = (
    "config", "mode", "samples", "temperature", "max_new_tokens", "limit", "engine", "seed", "out", "against",
)  # fmt: skip


@app.command("eval")
@plainly
def evaluate(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="A model folder, a Hub id, starter; or a training configuration.")],
    datasets: Annotated[
        list[str] | None,
        typer.Argument(
            help="Parquet files, prepared folders, or splits of --config; KEY=VALUE behind a configuration."
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Training configuration (default: that of the model's run).")
    ] = None,
    mode: Annotated[str | None, typer.Option(help="open, or choices: the choices are listed with letters.")] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Completions of each problem.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0.0, help="Of sampling; 0 is greedy.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(min=1)] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Problems at most of each data set.")] = None,
    engine: Annotated[str | None, typer.Option(help="Rollout engine (default: the configuration's).")] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the result; given again, the evaluation goes on.")] = None,
    against: Annotated[Path | None, typer.Option(help="Another result: a paired test is made.")] = None,
    checkpoint: Annotated[str | None, typer.Option("--model", help="With a configuration: another model.")] = None,
    split: Annotated[str, typer.Option(help="With a configuration: validation or test.")] = "validation",
) -> None:
    """Evaluate a model on data sets with the prompt, pixel limits and grader of its training; goes on where it stopped.

    Example: `uec-vlm eval runs/quickstart/checkpoints/step_40 test data/geometry3k --against evaluations/base`

    With a configuration in place of the model: its validation or test split, briefly.
    Example: `uec-vlm eval configs/quickstart.yaml --model runs/quickstart/checkpoints/step_40`
    """
    from uec_vlm.config import load_config

    if model.endswith((".yaml", ".yml")):
        from uec_vlm.trainer.evaluate_command import run_evaluation

        refuse_options(
            context, _OF_DATA_SETS, "Behind a configuration, write KEY=VALUE; or name a model and data sets."
        )
        run_evaluation(load_config(model, datasets or ()), model=checkpoint, split=split, console=_console)
        return
    from uec_vlm.trainer.evaluate_datasets import evaluate_datasets
    from uec_vlm.trainer.evaluation_config import EvalOptions

    refuse_options(context, ("checkpoint", "split"), "They go with a configuration.")
    if not datasets:
        raise ConfigError("no data set: give Parquet files, prepared folders, or splits of the training configuration.")
    options = EvalOptions(
        mode=mode,
        samples=samples,
        temperature=temperature,
        max_new_tokens=max_new_tokens,
        limit=limit,
        engine=engine,
        seed=seed,
        out=out,
        against=against,
    )
    evaluate_datasets(model, datasets, config=config, options=options, console=_console)


@app.command()
@plainly
def predict(
    model: Annotated[str, typer.Argument(help="A model folder, a Hub id, or the word starter.")],
    image: Annotated[Path, typer.Argument(help="A picture file.")],
    question: Annotated[str, typer.Argument(help="The question, for example 'Find x.'")],
    gold: Annotated[str | None, typer.Option(help="The right answer; then the verdict is shown.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(min=1, help="Default: as in the model's run, else 256.")] = None,
) -> None:
    """Answer one question about one picture, greedily, and show the verdict.

    Example: `uec-vlm predict starter diagram.png 'Find x.' --gold 12`
    """
    from uec_vlm.trainer.predict import run_prediction

    run_prediction(model, image, question, gold=gold, max_new_tokens=max_new_tokens, console=_console)


@app.command()
@plainly
def verify(
    file: Annotated[Path, typer.Argument(help="JSON Lines: response, gold, and perhaps choices, question, expected.")],
    examples: Annotated[int, typer.Option(min=0, help="Disagreements to show.")] = 5,
) -> None:
    """Grade a file of completions: a table by reason, with examples of disagreements.

    Example: `uec-vlm verify completions.jsonl --examples 10`
    """
    from uec_vlm.verifier import verify_command

    verify_command(file, examples)


@app.command()
@plainly
def report(
    context: typer.Context,
    run: RunPath,
    out: Annotated[Path | None, typer.Option(help="Write only the page, into this file.")] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Show the page of a running run; Ctrl-C ends it.")] = False,
    host: Annotated[str, typer.Option(help="Address to serve on; who reaches it can read the run.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve on; 0 takes a free one.")] = 8765,
) -> None:
    """Print the summary of a run, and write its page and pictures into RUN/report.

    The page is one file that needs no network: health, curves, a difficulty map, the rollouts beside their pictures.

    Example: `uec-vlm report runs/quickstart --out page.html`
    """
    from uec_vlm.reports.summary import print_summary, write_report
    from uec_vlm.runlog import read_run

    if serve:
        refuse_options(context, ("out",), "--serve writes nothing; leave one of them out.")
    else:
        refuse_options(context, ("host", "port"), "They go with --serve.")
    folder = read_run(run)
    if serve:
        _serve(run, host, port)
    elif out is not None:
        from uec_vlm.reports import load_measured, write_page

        _console.print(str(write_page(load_measured(run), out)), highlight=False, soft_wrap=True)
    else:
        write_report(folder)
        print_summary(folder, _console)


@app.command()
@plainly
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders; those that differ in their seed only are one line.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("comparison.html"),
) -> None:
    """Compare runs: mean and spread over seeds at equal steps, tokens and updates, and paired differences.

    Example: `uec-vlm compare runs/grpo_0 runs/grpo_1 runs/uec_0 runs/uec_1 --out comparison.html`
    """
    from uec_vlm.reports import load_groups, write_comparison
    from uec_vlm.reports.summary import print_comparison

    groups = load_groups(runs)
    print_comparison(groups, _console)
    _console.print(str(write_comparison(groups, out)), highlight=False, soft_wrap=True)


def _serve(run: Path, host: str, port: int) -> None:
    from uec_vlm.reports.serve import make_server

    server = make_server(run, host=host, port=port)
    _console.print(f"http://{host}:{server.server_port}/ shows {run}; Ctrl-C ends it", highlight=False, soft_wrap=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        _console.print("ended", highlight=False)
    finally:
        server.server_close()


def _of_arm(config: Path, arm: str | None, overrides: Sequence[str]) -> tuple[Path, Sequence[str]]:
    """The configuration that is looked at, and what is laid over it: that of an arm where CONFIG is a study."""
    if arm is None:
        return config, overrides
    from uec_vlm.study.runner import first_run

    base, pairs = first_run(config, arm)
    return base, (*pairs, *overrides)


@app.command()
@plainly
def doctor(
    config: ConfigPath,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    processes: Annotated[int, typer.Option(min=1, help="Processes that the run will be started with.")] = 1,
    rows: Annotated[int | None, typer.Option(min=1, help="Rows to read of each split (default: all).")] = None,
    load: Annotated[bool, typer.Option("--load", help="Try the engine even if the model is large.")] = False,
    arm: ArmName = None,
) -> None:
    """Look for what would stop or spoil a run, without a GPU; exit status 1 if there is an error.

    Example: `uec-vlm doctor configs/quickstart.yaml --processes 2`
    """
    config, pairs = _of_arm(config, arm, overrides or ())
    from uec_vlm.preflight.doctor import Options, examine

    found = examine(config, pairs, Options(processes=processes, rows=rows, load=load))
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=2, ensure_ascii=False))
    else:
        found.print(_console)
    if not found.healthy:
        raise typer.Exit(1)


@app.command()
@plainly
def plan(
    config: ConfigPath,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
    processes: Annotated[int, typer.Option(min=1, help="Plan for 1, 2, 4 ... up to so many processes.")] = 8,
    config_json: Annotated[
        Path | None, typer.Option(help="The model's config.json, where its folder is not at hand.")
    ] = None,
    calibrate: Annotated[
        int, typer.Option(min=0, help="Time so many real steps here, and predict the run's time from them.")
    ] = 0,
    arm: ArmName = None,
) -> None:
    """Predict a run's tokens, the memory of each process, and with --calibrate its time.

    Example: `uec-vlm plan configs/quickstart.yaml --processes 2 --calibrate 3`
    """
    from uec_vlm.config import load_config

    settings = load_config(*_of_arm(config, arm, overrides or ()))
    from uec_vlm.preflight.calibrate import calibrate as measure
    from uec_vlm.preflight.plan import make_plan

    pace = measure(settings, steps=calibrate) if calibrate else None
    made = make_plan(settings, config_json=config_json, processes=processes, pace=pace)
    if as_json:
        typer.echo(json.dumps(made.to_json(), indent=2, ensure_ascii=False))
    else:
        made.print(_console)


@app.command()
@plainly
def study(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A study file, for example configs/study/geosynth.yaml.")],
    jobs: Annotated[int, typer.Option(min=1, help="Runs at once.")] = 1,
    only: Annotated[list[str] | None, typer.Option(help="Only this arm; may be given several times.")] = None,
    page: Annotated[
        Path | None, typer.Option(help="Renew the tables of this page from the results; run nothing.")
    ] = None,
    repeat: Annotated[str | None, typer.Option(help="Run this finished cell again and compare all numbers.")] = None,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Sum up the runs that are not done, as far as they came; run nothing.")
    ] = False,
) -> None:
    """Run every algorithm and seed of a study that is not done yet, several at once, and sum them up.

    Example: `uec-vlm study configs/study/geosynth.yaml --jobs 2`, then `... --page docs/results.md`
    """
    from uec_vlm.study.page import renew_page
    from uec_vlm.study.plan import load_study
    from uec_vlm.study.runner import keep_unfinished, repeat_cell, run_study

    aside = {"page": page, "repeat": repeat, "unfinished": unfinished}
    for name in (name for name, value in aside.items() if value):
        refuse_options(context, ({"only", "jobs"} | aside.keys()) - {name}, f"--{name} goes alone.")
    if page is not None:
        renew_page(load_study(file), page)
    elif repeat is not None:
        repeat_cell(file, repeat, console=_console)
    elif unfinished:
        keep_unfinished(file, console=_console)
    else:
        run_study(file, jobs=jobs, only=only or (), console=_console)


@app.command()
@plainly
def push(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint, e.g. runs/quickstart/checkpoints/step_40.")],
    repo: Annotated[str, typer.Option(help="USER/NAME on the Hub; it is made if it is not there.")],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
) -> None:
    """Upload a checkpoint with its model card to the Hub. Nothing is uploaded by any other command.

    Example: `uec-vlm push runs/quickstart/checkpoints/step_40 --repo me/geometry --private`
    """
    from uec_vlm.trainer.export import push as upload

    _console.print(f"uploaded: {upload(checkpoint, repo=repo, private=private)}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    app()
