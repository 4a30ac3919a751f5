"""Typed sections, and YAML read into them: unknown keys are refused, every fault becomes a line with its remedy."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from uec_vlm.errors import ConfigError

C = TypeVar("C", bound="Section")

Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0.0, le=1.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Decay = Annotated[float, Field(ge=0.0, lt=1.0)]
Temperature = Annotated[float, Field(gt=0.0, le=5.0)]

# Values of `kind` by which pydantic names the places inside a data source; they are no keys of the file.
_KINDS = ("geosynth", "parquet", "mixture")

_ONE_RUN = "the configuration of one reinforcement-learning run: `uec-vlm train` runs it"
# The section by which a file of each kind is known, and what the file is for.
_FILES = {
    "arms": "a study of several runs: `uec-vlm study` runs it, `uec-vlm plan` and `doctor` look at one with --arm",
    "sft": "the configuration of a supervised run: `uec-vlm sft` runs it",
    "objective": _ONE_RUN,
    "algorithm": _ONE_RUN,
}
_LONGEST_VALUE = 120

_MERGE = "tag:yaml.org,2002:merge"


class Section(BaseModel):
    """What all sections share: frozen, and a key that does not exist is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _no_truth_value_for_a_number(cls, tree: Any) -> Any:
        """Python takes true for 1 and pydantic with it: `steps: true` would run one step."""
        given = tree if isinstance(tree, Mapping) else {}
        wrong = [name for name, field in cls.model_fields.items() if _is_misplaced(given.get(name), field.annotation)]
        if wrong:
            reason = PydanticCustomError("truth_value", "a truth value stands where a number is wanted; write one")
            raise ValidationError.from_exception_data(
                cls.__name__, [{"type": reason, "loc": (name,), "input": given[name]} for name in wrong]
            )
        return tree


def parse_section(tree: dict[str, Any], kind: type[C], *, place: str) -> C:
    """Validates a nested dict; every fault becomes one line with key, value, reason and remedy.

    place: what the dict was read from. A file that is meant for another command is refused by that name.
    """
    _refuse_other_file(tree, kind, place)
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        lines = [_explain(dict(fault), kind) for fault in error.errors()]
        raise ConfigError(f"{place} is refused:\n" + "\n".join(f"  {line}" for line in lines)) from None


def _refuse_other_file(tree: Mapping[str, Any], kind: type[BaseModel], place: str) -> None:
    own = _FILES.keys() & kind.model_fields.keys()
    if not own or own & tree.keys():
        return
    for key, what in _FILES.items():
        if key in tree:
            raise ConfigError(f"{place} is {what}.")


def dump_config(config: Section) -> str:
    """The resolved configuration as YAML, defaults included."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lays one nested dict over another. A mapping that names another `name` replaces the whole mapping below it.

    Not so in the section `run`, whose name is only what the run is called.
    """
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            same = key == "run" or "name" not in value or value["name"] == old.get("name")
            same = same and ("kind" not in value or value["kind"] == old.get("kind"))
            merged[key] = merge(old, value) if same else dict(value)
        else:
            merged[key] = value
    return merged


def with_overrides(tree: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A nested dict with `KEY=VALUE` pairs laid over it; the values are YAML."""
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise ConfigError(f"'{override}' is no override; write KEY=VALUE, for example run.seed=1.")
        nested: Any = _yaml_value(override, text)
        for part in reversed(key.split(".")):
            nested = {part: nested}
        tree = merge(tree, nested)
    return tree


def _yaml_value(override: str, text: str) -> Any:
    try:
        return yaml.load(text, _StrictLoader) if text else None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(
            f"'{override}': what follows the = is no YAML ({str(error).splitlines()[0]}). Put text with special "
            "characters into quotes of its own: KEY='\"...\"'."
        ) from None


class _StrictLoader(yaml.SafeLoader):
    """Plain YAML in which no key stands twice in one mapping: of two values, one would be lost."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Compare the keys as they are written, before `<<` brings in others, which they may replace."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            if (key.tag, key.value) in lines:
                raise yaml.YAMLError(
                    f"line {key.start_mark.line + 1}: the key '{key.value}' was given in line "
                    f"{lines[key.tag, key.value]} already, and one of the two would be lost; make them one"
                )
            lines[key.tag, key.value] = key.start_mark.line + 1
        return node


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file of keys with values; ConfigError where there is none or it is something else."""
    if not path.is_file():
        raise ConfigError(
            f"{path}: there is no such configuration file; configs/README.md lists those that are shipped."
        )
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _StrictLoader)
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path} line {line}: byte 0x{error.object[error.start]:02x} is no UTF-8; save the file as UTF-8 text."
        ) from None
    except (yaml.YAMLError, ValueError) as error:  # a ValueError is a date that does not exist
        raise ConfigError(f"{path} is not valid YAML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} holds {type(tree).__name__}, not keys with values.")
    return tree


def _short(value: Any) -> str:
    """The value as it is, or its beginning where it is a whole section."""
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _explain(fault: dict[str, Any], kind: type[BaseModel]) -> str:
    where = [part for part in fault["loc"] if part not in _KINDS]
    key = ".".join(str(part) for part in where) or "the configuration"
    if fault["type"] == "extra_forbidden":
        known = _keys_at(kind, where[:-1])
        close = difflib.get_close_matches(str(where[-1]), known, n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        return f"{key} = {_short(fault['input'])}: there is no such key; {hint}accepted here: {known}."
    message = str(fault["msg"]).removeprefix("Value error, ")
    if fault["type"] == "missing":
        return f"{key}: is missing and has no default; add it."
    if fault["type"] == "value_error":
        return f"{key}: {message}."
    if fault["type"].startswith("union_tag"):
        return f"{key}.kind: says which kind of data it is; set it to one of {', '.join(_KINDS)}."
    if fault["type"] in ("tuple_type", "list_type"):
        message = f"should be a list; for one entry: [{fault['input']}]"
    elif fault["type"] in ("model_type", "model_attributes_type", "dict_type"):
        message = f"should be a section of keys with values; accepted in it: {_keys_at(kind, where)}"
    return f"{key} = {fault['input']!r}: {message}."


def _kinds_in(annotation: Any) -> set[Any]:
    """The plain types that an annotation is made of; for a Literal those of its values."""
    parts = get_args(annotation)
    if get_origin(annotation) is Literal:
        return {type(part) for part in parts}
    return set().union(*map(_kinds_in, parts)) if parts else {annotation}


def _is_misplaced(value: Any, annotation: Any) -> bool:
    """Whether a truth value stands, or is listed, where numbers are wanted."""
    kinds = _kinds_in(annotation) if _has_bool(value) else set()
    return bool(kinds & {int, float}) and not kinds & {bool, Any}


def _has_bool(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_has_bool, value))
    return isinstance(value, bool) or (isinstance(value, Mapping) and any(map(_has_bool, value.values())))


def _keys_at(kind: type[BaseModel], where: Sequence[Any]) -> list[str]:
    for part in where:
        field = kind.model_fields.get(str(part))
        annotation = field.annotation if field else None
        options = [annotation, *getattr(annotation, "__args__", ())]
        options = [o for o in options if isinstance(o, type) and issubclass(o, BaseModel)]
        if not options:
            return []
        kind = options[0]
    return sorted(kind.model_fields)
