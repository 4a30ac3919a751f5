"""The command line: `python -m data_prep NAME --source SOURCE --out DIR`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from data_prep.common import DatasetSpec
from data_prep.prepare import GradeCheck, prepare
from data_prep.registry import DATASETS
from data_prep.sources import open_source
from uec_vlm.errors import UecError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Prepare data sets: one command per data set, each writing Parquet files of the project's schema and a "
    "manifest.\n\nExample: python -m data_prep geometry3k --source downloads/geometry3k --out data/geometry3k",
)


@app.callback()
def _commands() -> None:
    """Make each data set a command of its own, also while there is only one."""


SourceOption = Annotated[str, typer.Option("--source", help="Where the data set is: see the layouts above.")]
OutOption = Annotated[
    Path, typer.Option("--out", help="Folder to write {train,validation,test}.parquet and manifest.json to.")
]
GradeOption = Annotated[
    bool,
    typer.Option("--grade-check/--no-grade-check", help="Refuse rows whose gold our verifier does not grade as right."),
]


def _command(name: str, spec: DatasetSpec) -> Callable[[str, Path, bool], None]:
    def run(source: SourceOption, out: OutOption, grade_check: GradeOption = True) -> None:
        manifest = prepare(name, spec, open_source(name, spec, source), out, grade_check=_grade_check(grade_check))
        typer.echo(summary(manifest, out))

    layouts = "\n\n".join(f"- {layout}" for layout in spec.layouts)
    run.__doc__ = (
        f"Prepare {name}: {spec.about} ({spec.purpose}).\n\nSOURCE is one of:\n\n{layouts}\n\n"
        f"Licence: {spec.licence}.\n\nExample: python -m data_prep {name} --source downloads/{name} --out data/{name}"
    )
    return run


def _grade_check(wanted: bool) -> GradeCheck | None:
    if not wanted:
        return None
    from data_prep.grade import grade_check

    return grade_check


for _name, _spec in DATASETS.items():
    app.command(_name, short_help=_spec.about)(_command(_name, _spec))


@app.command("own", short_help="your own JSON lines, CSV, Parquet or Hub data, with a mapping of columns in YAML")
def own_command(
    mapping: Annotated[Path, typer.Option("--mapping", help="YAML file that says which column is what.")],
    source: SourceOption,
    out: OutOption,
    grade_check: GradeOption = True,
) -> None:
    """Prepare your own data: a table whose columns are named in a YAML file.

    SOURCE is a .parquet, .jsonl, .json, .csv or .tsv file, a folder of them (train.csv, test.csv ...), or a Hub id
    (user/name, user/name@COMMIT). The YAML file needs `problem: COLUMN` and `answer: COLUMN`; it may have `images`,
    `choices`, `id`, `split`, `metadata`, `name`, `purpose`, `licence`, `citation` (docs/your_own_data.md).

    Example: python -m data_prep own --mapping mapping.yaml --source problems.csv --out data/mine
    """
    from data_prep.own import load_mapping, open_own_source, own_spec

    mapped = load_mapping(mapping)
    opened = open_own_source(mapped, source)
    for line in opened.told:
        typer.echo(line)
    manifest = prepare(mapped.name, own_spec(mapped), opened, out, grade_check=_grade_check(grade_check))
    typer.echo(summary(manifest, out))


@app.command("export", short_help="write a prepared folder as TRL, verl or EasyR1 read it")
def export_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that was prepared: {train,...}.parquet.")],
    form: Annotated[str, typer.Option("--format", help="trl, verl or easyr1.")],
    out: OutOption,
    template: Annotated[str, typer.Option("--template", help="The prompt; {problem} stands for the question.")] = (
        "{problem}"
    ),
    list_choices: Annotated[
        bool, typer.Option("--list-choices/--no-choices", help="Add the lettered choices to the question.")
    ] = False,
) -> None:
    """Write a prepared folder as another trainer reads it.

    The reward functions that fit are uec_vlm.integrations.trl, .verl and .easyr1.

    Example: python -m data_prep export data/geometry3k --format verl --out data/geometry3k_verl
    """
    from data_prep.export import export

    typer.echo(f"{form}: written to {export(folder, form, out, template=template, list_choices=list_choices)}")


@app.command("audit", short_help="duplicates, leakage into evaluation sets, statistics; a page with tables and plots")
def audit_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that was prepared: {train,...}.parquet.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write audit.json and audit.html to.")],
    against: Annotated[
        list[Path] | None,
        typer.Option("--against", help="Another prepared folder, such as an evaluation set; repeatable."),
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option("--tokenizer", help="Model folder or Hub id whose tokenizer counts the text's tokens.")
    ] = None,
    min_pixels: Annotated[int, typer.Option("--min-pixels", min=1, help="As in data.prompt of the training.")] = 3136,
    max_pixels: Annotated[int, typer.Option("--max-pixels", min=1, help="As in data.prompt.")] = 1_003_520,
) -> None:
    """Look for repeated and leaking problems in a prepared folder, and describe what it holds.

    Rows are compared within a split, across the splits, and with the folders given with --against: by the exact
    picture, by its perceptual hash (scaled or re-encoded pictures), by the text and by its words (reworded texts).
    Needs the extra `audit`: pip install "uec-vlm[audit]".

    Example: python -m data_prep audit data/geometry3k --against data/mathvista --out audits/geometry3k
    """
    from data_prep.audit_data import audit
    from data_prep.audit_page import write_audit
    from data_prep.statistics import image_token_counter, token_counter

    counter = image_token_counter(min_pixels=min_pixels, max_pixels=max_pixels)
    tokens = token_counter(tokenizer) if tokenizer is not None else None
    found = audit(folder, against or [], image_tokens=counter, tokens=tokens)
    for line in found.lines():
        typer.echo(line)
    typer.echo(str(write_audit(found, out)))


@app.command("audit-answers", short_help="list golds that cannot be graded, choices that collide, and rounded golds")
def audit_answers_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that was prepared: {train,...}.parquet.")],
    show: Annotated[int, typer.Option("--show", min=0, help="Rows to print of each kind; all are counted.")] = 10,
) -> None:
    """List what to know of the golds of a prepared data set, by kind.

    Golds that the verifier does not read or does not grade as right, choices that it cannot tell apart, and golds that
    are rounded.

    Example: python -m data_prep audit-answers data/geometry3k
    """
    from data_prep.audit import audit_answers

    for line in audit_answers(folder).lines(examples=show):
        typer.echo(line)


def summary(manifest: dict[str, Any], out: Path) -> str:
    """The manifest in a few lines for the terminal."""
    lines = [f"{manifest['dataset']} from {manifest['source']['layout']}: written to {out}"]
    for split, count in manifest["splits"].items():
        lines.append(
            f"  {split}: {count['rows_written']} rows written of {count['rows_read']}, {count['rows_refused']} refused"
        )
    for kind in ("refused", "repaired", "noted"):
        for reason, account in manifest[kind].items():
            rows = ", ".join(event["row"] for event in account["rows"][:5]) + (" ..." if account["count"] > 5 else "")
            lines.append(f"  {kind} {account['count']} x {reason}: {account['meaning']} ({rows})")
    for pair, shared in manifest["leakage"]["across"].items():
        if shared["rows_sharing_image"]:
            lines.append(
                f"  leakage {pair}: {shared['rows_sharing_image']} rows share a picture, "
                f"{shared['rows_sharing_image_and_text']} of them the text too"
            )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; what the user can mend is told without a traceback, with exit code 2."""
    try:
        app(arguments, prog_name="python -m data_prep")
    except (UecError, OSError) as error:  # an OSError here is a full disk or a folder that may not be written
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
