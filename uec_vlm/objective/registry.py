"""Binding a name and settings of the configuration to a function of a registry.

A function's keyword-only parameters are its settings: their annotations carry the types and ranges, their defaults
are the defaults. So an algorithm needs no configuration class of its own.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from uec_vlm.errors import ConfigError

Record = TypeVar("Record")


def bind(
    registry: Mapping[str, Callable[..., Any]],
    name: str,
    settings: Mapping[str, object],
    *,
    place: str,
    also_accepted: Collection[str] = (),
) -> Callable[..., Any]:
    """The function called `name`, with its keyword-only settings checked and filled in.

    place: dotted key of the section, for messages. also_accepted: keys of the section that others read (they only
    appear in the message). Raises ConfigError for an unknown name or setting, a wrong type or a value out of range.
    """
    if name not in registry:
        raise ConfigError(
            f"{place}.name = {name!r}: no such entry{nearest(name, registry)}; choose one of {sorted(registry)}."
        )
    function = registry[name]
    parameters = {
        key: parameter
        for key, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    hints = get_type_hints(inspect.unwrap(function), include_extras=True)
    _refuse_unknown(settings, [*parameters, *also_accepted], owner=name, place=place)
    bound: dict[str, Any] = {}
    for key, parameter in parameters.items():
        if key in settings:
            bound[key] = checked(settings[key], hints[key], owner=name, place=f"{place}.{key}")
        elif parameter.default is inspect.Parameter.empty:
            raise ConfigError(f"{place}.{key} is missing: {name!r} has no default for it; give it a value.")
        else:
            bound[key] = parameter.default
    return functools.partial(function, **bound)


def make_record(cls: type[Record], settings: Mapping[str, object], *, place: str) -> Record:
    """A frozen dataclass from settings, checked like the keyword-only parameters of a function."""
    known = {item.name: item for item in fields(cls)}  # type: ignore[arg-type]
    hints = get_type_hints(cls, include_extras=True)
    _refuse_unknown(settings, list(known), owner=cls.__name__, place=place)
    values: dict[str, Any] = {}
    for key, item in known.items():
        if key in settings:
            values[key] = checked(settings[key], hints[key], owner=cls.__name__, place=f"{place}.{key}")
        elif item.default is MISSING and item.default_factory is MISSING:
            raise ConfigError(f"{place}.{key} is missing: it has no default; give it a value.")
    return cls(**values)


def checked(value: object, annotation: Any, *, owner: str, place: str) -> Any:
    """The value in the annotated type and range; ConfigError otherwise. A bool is no number, `'1e-5'` is one."""
    reason = ""
    if isinstance(value, bool) and not _accepts_bool(annotation):
        reason = "a truth value stands where a number or a name is wanted"
    else:
        try:
            return TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True)).validate_python(value)
        except ValidationError as error:
            reason = "; ".join(dict.fromkeys(str(item["msg"]) for item in error.errors()))
    raise ConfigError(f"{place} = {value!r}: {reason} (a setting of {owner!r}). Give it a value of that kind.")


def named_section(section: object, *, place: str) -> tuple[str, dict[str, object]]:
    """Name and settings of a section: either a bare name or a mapping with the key `name`."""
    if isinstance(section, str):
        return section, {}
    if not isinstance(section, Mapping) or not isinstance(section.get("name"), str):
        raise ConfigError(
            f"{place} = {section!r}: it must be a name, or a mapping of 'name' and the settings of that entry."
        )
    return str(section["name"]), {str(key): value for key, value in section.items() if key != "name"}


def takes(function: Callable[..., Any], parameter: str) -> bool:
    """Whether a function has a parameter of that name (a loss that asks for the `context` of the step, say)."""
    return parameter in inspect.signature(function).parameters


def unbound(function: Callable[..., Any]) -> Callable[..., Any]:
    """The entry itself, without the settings that `bind` filled in."""
    return function.func if isinstance(function, functools.partial) else function


def settings_of(function: Callable[..., Any]) -> dict[str, object]:
    """The settings that `bind` filled in, defaults included (what a resolved configuration shows)."""
    return dict(function.keywords) if isinstance(function, functools.partial) else {}


def _accepts_bool(annotation: Any) -> bool:
    return annotation is bool or any(_accepts_bool(part) for part in get_args(annotation))


def _refuse_unknown(settings: Mapping[str, object], accepted: Collection[str], *, owner: str, place: str) -> None:
    for key, value in settings.items():
        if key not in accepted:
            raise ConfigError(
                f"{place}.{key} = {value!r}: no such setting{nearest(key, accepted)}; "
                f"{owner!r} accepts {sorted(accepted)}."
            )


def nearest(word: object, known: Collection[str]) -> str:
    """A hint at the known name that is spelled most alike, or nothing."""
    close = difflib.get_close_matches(str(word), list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
