"""Whatever a record holds, it becomes a row that can be written or is refused by name: no other exception."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_prep.common import Converted, Event, Ledger, RawRow, RowRefused
from data_prep.intergps import parse_record
from data_prep.prepare import accept
from data_prep.registry import DATASETS
from data_prep.sources import open_source
from data_prep.write import SCHEMA, as_row
from tests.unit.data_prep.test_formalgeo import line
from tests.unit.data_prep.world import diagram, record

IMAGE = diagram(1)
TEXTS = st.text(st.characters(codec=None), max_size=30) | st.sampled_from(
    ["A", "b", "<image>", "\x0crac{1}{2}", "7", "\ud800", ""]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
GOLDEN = Path(__file__).resolve().parents[2] / "golden"


def first_record(name: str) -> tuple[str, dict[str, Any]]:
    """The first golden record of a data set whose layout is a table."""
    source = open_source(name, DATASETS[name], str(GOLDEN / name / "source"))
    raw = next(iter(source.read(source.splits[0])))
    assert isinstance(raw, RawRow)
    return raw.layout, dict(raw.fields)


RECORDS = {
    **{name: first_record(name) for name in DATASETS if not name.startswith("geometry3k")},
    "geometry3k": ("intergps", record(1)),
    "geometry3k_formalgeo": ("formalgeo", line(1)),
}


def outcome(name: str, raw: RawRow) -> Converted | None:
    """Accept the row as `prepare` does, file its events and build the columns; None if it is refused by name."""
    import pyarrow as pa

    ledger = Ledger()
    try:
        converted = accept(DATASETS[name], raw, set(), None)
    except RowRefused as refused:
        ledger.enter(Event(raw.place, refused.reason, refused.detail))
        json.dumps(refused.detail)
        return None
    for event in converted.events:
        ledger.enter(event)
    table = pa.Table.from_pylist([as_row(converted.sample)], schema=SCHEMA)
    assert table.num_rows == 1
    return converted


@pytest.mark.parametrize("name", sorted(RECORDS))
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_record_with_any_values(name: str, data: st.DataObject) -> None:
    layout, good = RECORDS[name]
    changed = data.draw(st.dictionaries(st.sampled_from(sorted(good)), VALUES, max_size=4))
    outcome(name, RawRow("train", "train/1", layout, {**good, **changed}, (IMAGE,)))


@given(problem=TEXTS, answer=TEXTS)
@settings(max_examples=150, deadline=None)
def test_hub_row_with_any_texts(problem: str, answer: str) -> None:
    outcome("geometry3k", RawRow("test", "test/00001", "hub", {"problem": problem, "answer": answer}, (IMAGE,)))


def test_the_unchanged_records_are_accepted() -> None:
    for name, (layout, good) in RECORDS.items():
        images = () if name in ("math12k", "gsm8k", "dapo17k") else (IMAGE,)
        assert outcome(name, RawRow("train", "train/1", layout, good, images)) is not None


@given(st.binary(max_size=80))
@example(b"[" * 100_000)
@example(b'{"a":' * 50_000)
@example(b'{"id": ' + b"9" * 5000 + b"}")
@example(b"\xff\xfe{}")
@example(b"null")
def test_any_bytes_are_an_object_or_refused(data: bytes) -> None:
    try:
        parsed: Any = parse_record(data)
    except RowRefused as refused:
        assert refused.reason == "broken_record"
    else:
        assert isinstance(parsed, dict)
