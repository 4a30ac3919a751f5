"""Writes the reference pages that come from the code: `python docs/generate.py`. A test compares them with the code."""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from data_prep.reasons import NOTES, REFUSALS, REPAIRS
from data_prep.registry import DATASETS
from uec_vlm.config import MixtureData, RunConfig, SftConfig
from uec_vlm.metrics import markdown_table
from uec_vlm.objective.tables import written

ROOT = Path(__file__).resolve().parents[1]


def metrics_page() -> str:
    """`docs/metrics.md`."""
    return (
        "# Metrics\n\nThe names in `metrics.jsonl` and TensorBoard, from `uec_vlm/metrics.py`. A `*` stands for one "
        "word; a mean is over everything in the step, weighted by what it counts.\n\n" + markdown_table() + "\n"
    )


def keys_page() -> str:
    """`docs/configuration.md`."""
    parts = [
        "# Configuration keys",
        "Generated from `uec_vlm/config.py`. The keys of `objective` are in [the objective](objective.md#the-entries); "
        "what the presets hold is in `configs/presets/`.",
    ]
    for title, kind in (("Training (`uec-vlm train`, `eval`)", RunConfig), ("Supervised (`uec-vlm sft`)", SftConfig)):
        parts += [f"## {title}", *_sections(kind)]
    return "\n\n".join(parts) + "\n"


def _sections(kind: type[BaseModel]) -> list[str]:
    """One part per section: what it is for, then its keys."""
    parts = []
    for name, field in kind.model_fields.items():
        inner = _models(field.annotation)
        rows = _rows_of(name, field, "")
        parts += [
            f"### {name}",
            *_explained(name, inner),
            "| key | type | default |\n|---|---|---|\n" + "\n".join(rows),
        ]
    return parts


def _explained(name: str, kinds: Sequence[type[BaseModel]], *, inside: bool = False) -> list[str]:
    """The docstrings of a section and of those inside it, each behind the place that it stands for."""
    parts = []
    for kind in kinds:
        parts += [f"`{name}`: {_listed(kind)}" if inside else _listed(kind)]
        for inner, field in kind.model_fields.items():
            if inner not in _LIKE_TRAIN:
                parts += _explained(f"{name}.{inner}", _models(field.annotation), inside=True)
    return parts


def _listed(kind: type[BaseModel]) -> str:
    """The docstring of a section; what it says of each key is an item of a list."""
    text = " ".join((inspect.getdoc(kind) or "").split())
    keys = "|".join(kind.model_fields)
    items = re.split(rf"(?:^|(?<=[.)] ))((?:{keys})(?:, (?:{keys}))*): ", text)
    listed = [
        f"- `{names.replace(', ', '`, `')}`: {what.strip()}"
        for names, what in zip(items[1::2], items[2::2], strict=True)
    ]
    return "\n".join([items[0].strip(), *([""] if listed else []), *listed])


_LIKE_TRAIN = ("validation", "test", "source")  # sources of problems as `data.train` is one


def _models(annotation: Any) -> list[type[BaseModel]]:
    return [part for part in _parts(annotation) if isinstance(part, type) and issubclass(part, BaseModel)]


def _rows(kind: type[BaseModel], prefix: str) -> list[str]:
    return [row for name, field in kind.model_fields.items() for row in _rows_of(name, field, prefix)]


def _rows_of(name: str, field: FieldInfo, prefix: str) -> list[str]:
    """The rows of one key; of a section, those of the keys inside it."""
    key = f"{prefix}{name}"
    inner = _models(field.annotation)
    default = "required" if field.is_required() else _shown(field.get_default(call_default_factory=True))
    if not inner:
        return [f"| `{key}` | {_type(field.annotation, field.metadata)} | {default} |"]
    if name in _LIKE_TRAIN:
        mixture = ", but no mixture" if MixtureData not in inner else ""
        return [f"| `{key}` | as `data.train`{mixture} | {default} |"]
    if len(inner) == 1:
        section = [f"| `{key}` | null, or a section | {default} |"] if default == "`null`" else []
        return [*section, *_rows(inner[0], f"{key}.")]
    rows = []
    for part in inner:
        rows += [f"| `{key}` | {part.__name__}: {(part.__doc__ or '').splitlines()[0]} | {default} |"]
        rows += [row for row in _rows(part, f"{key}.") if ".kind`" not in row]
    return rows


def _parts(annotation: Any) -> list[Any]:
    arguments = getattr(annotation, "__args__", ())
    return [part for argument in arguments for part in _parts(argument)] if arguments else [annotation]


def _type(annotation: Any, bounds: Sequence[Any] = ()) -> str:
    """A type in words: `int ≥ 1 or null`, `one of sdpa, eager`."""
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        return _type(inner, [item for info in metadata for item in getattr(info, "metadata", [info])])
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(str(value) for value in get_args(annotation))
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join("null" if part is NoneType else _type(part) for part in get_args(annotation))
    if get_origin(annotation) is tuple:
        return "list of " + _type(get_args(annotation)[0])
    limits = [f"{sign} {getattr(item, name)}" for item in bounds for name, sign in _BOUNDS if hasattr(item, name)]
    return " ".join([getattr(annotation, "__name__", str(annotation)), *limits])


_BOUNDS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))


def _shown(default: Any) -> str:
    if isinstance(default, BaseModel):
        return "see below"
    if isinstance(default, tuple):
        return f"`[{', '.join(map(str, default))}]`"
    return f"`{written(default)}`"


def families_section() -> str:
    """The README's table of model families, from the declarations of the suite that tests them."""
    sys.path.insert(0, str(ROOT))
    from tests.contracts.family_suite import families_table

    return families_table()


def with_section(text: str, name: str, body: str) -> str:
    """The text with what stands between `<!-- NAME -->` and `<!-- /NAME -->` replaced."""
    before, _, rest = text.partition(f"<!-- {name} -->\n")
    _, _, after = rest.partition(f"<!-- /{name} -->")
    return f"{before}<!-- {name} -->\n{body}\n<!-- /{name} -->{after}"


def data_page() -> str:
    """`docs/data.md`: the registry of data sets."""
    sets = "\n".join(
        f"| `{name}` | {spec.purpose} | {spec.about} | {spec.rows} | {spec.licence} | "
        f"{f'`{spec.hub_id}`' if spec.hub_id else 'local files'} |"
        for name, spec in DATASETS.items()
    )
    sources = "\n".join(
        f"- `{name}`: {spec.citation} Layout: {'; '.join(spec.layouts)}. Columns from: {spec.schema}."
        for name, spec in DATASETS.items()
    )
    return _DATA_PAGE.format(sets=sets, sources=sources, reasons="\n".join(_reasons()))


def _reasons() -> list[str]:
    kinds = (("refused", REFUSALS), ("repaired", REPAIRS), ("noted", NOTES))
    return [f"| `{name}` | {kind} | {meaning} |" for kind, names in kinds for name, meaning in names.items()]


_DATA_PAGE = """# Data

Generated from `data_prep/registry.py` and `data_prep/reasons.py`. `python -m data_prep NAME --source SOURCE --out DIR`
writes a Parquet file for each split that the set has (`DIR/{{train,validation,test}}.parquet`) and `DIR/manifest.json`.
Training requires a `data.validation`: where a set has none, put rows of `train` aside with `python -m data_prep own`
and a `split` column, or validate on another set. `SOURCE` is the Hub id (`ID@COMMIT` pins a
revision), or a folder with the set's own files; `python -m data_prep NAME --help` lists the layouts. Every gold is
graded by the verifier first, and every row that was repaired or refused is named in the manifest. Your own files:
[your_own_data.md](your_own_data.md).

A set that is for *evaluation only* is refused as `data.train`, unless `data.train.force: true`.

| name | purpose | what | rows as published | licence | Hub |
|---|---|---|---|---|---|
{sets}

Licences are as their sources state them; look before you use a set.

## Sources

{sources}

## What a manifest may say of a row

| reason | what happened | meaning |
|---|---|---|
{reasons}
"""

PAGES = {"docs/metrics.md": metrics_page, "docs/configuration.md": keys_page, "docs/data.md": data_page}
README_SECTIONS = {"families": families_section}

if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    for path, page in PAGES.items():
        (ROOT / path).write_text(page(), encoding="utf-8")
    readme = ROOT / "README.md"
    for name, section in README_SECTIONS.items():
        readme.write_text(with_section(readme.read_text(encoding="utf-8"), name, section()), encoding="utf-8")
