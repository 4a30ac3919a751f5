"""What all commands share: faults are told without a traceback, and options that would not be read are refused."""

from __future__ import annotations

import functools
import logging
import os
import warnings
from collections.abc import Callable, Collection
from typing import Any

import typer
from rich.console import Console

from uec_vlm.errors import ConfigError, LeftOut, UecError


def plainly(command: Callable[..., None]) -> Callable[..., None]:
    """What the user can mend is printed without a traceback; exit status 2."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        _silence_libraries()
        try:
            command(*args, **kwargs)
        except UecError as error:
            _complain(str(error))
            raise typer.Exit(error.status) from None
        except (FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
            _complain(f"{error.filename}: {error.strerror}. Give another path (run.dir=..., --out).")
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            goes_on = "; a run goes on from its newest checkpoint with --resume auto"
            _complain(f"interrupted{goes_on if command.__name__ == 'train' else ''}")
            raise typer.Exit(130) from None

    return wrapped


def _complain(text: str) -> None:
    Console(stderr=True).print(f"uec-vlm: {text}", style="red", markup=False, highlight=False, soft_wrap=True)


def refuse_options(context: typer.Context, unread: Collection[str], instead: str) -> None:
    """Raise ConfigError if one of the options of these parameters is on the command line."""
    given = [
        param.opts[0] for param in context.command.params if param.name in unread and _is_given(context, param.name)
    ]
    if given:
        raise ConfigError(f"{', '.join(given)}: would not be read. {instead}")


def _silence_libraries() -> None:
    """The libraries' own bars and start-up notes would bury ours; what the user set is left alone."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    logging.getLogger("DeepSpeed").addFilter(lambda record: "Setting accelerator to CPU" not in record.getMessage())
    warnings.formatwarning = _told_once(warnings.formatwarning)


def _told_once(others: Callable[..., str]) -> Callable[..., str]:
    """How warnings are written: a `LeftOut` is one plain line, the first time; else `others`."""
    told: set[str] = set()

    def formatted(message: Warning | str, category: type[Warning], *place: object, **line: object) -> str:
        if category is not LeftOut:
            return others(message, category, *place, **line)
        text = f"uec-vlm: {message}\n"
        known = text in told
        told.add(text)
        return "" if known else text

    return formatted


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
