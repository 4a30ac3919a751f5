"""Lists of settings are written out in four places: each name in them is one that the configuration has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from uec_vlm.config import RunConfig
from uec_vlm.reports import compare
from uec_vlm.study import plan
from uec_vlm.trainer import resume, untouched


def keys_of(section: type[BaseModel], above: str = "") -> Iterator[str]:
    """The dotted keys of a section and of all sections below it, the sections themselves too."""
    for name, field in section.model_fields.items():
        yield above + name
        for below in _sections_in(field.annotation):
            yield from keys_of(below, f"{above}{name}.")


def _sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _sections_in(part)


def dotted(sections: Mapping[str, tuple[str, ...]]) -> list[str]:
    return [f"{section}.{name}" for section, names in sections.items() for name in names]


@pytest.mark.parametrize(
    "listed",
    [resume._MAY_CHANGE, compare._APART, dotted(plan._NO_MATTER), dotted(untouched._NO_PART), untouched._PARTS],
    ids=["resume", "compare", "study", "evaluated once", "its parts"],
)
def test_a_list_of_settings_names_only_settings(listed: tuple[str, ...]) -> None:
    unknown = set(listed) - set(keys_of(RunConfig))
    assert not unknown
