"""We-Math testmini (Qiao et al. 2024): multi-step problems and the steps that they decompose into.

Layout: Parquet (pictures in `image_path`), or `testmini.json` beside the pictures that `image_path` names. Columns:
`ID`, `question`, `option` ("A. 4; B. 5; C. ..."), `answer` (a letter), `key` (`2steps_1` ...), `question number`,
`knowledge concept`.
"""

from __future__ import annotations

from data_prep.common import EVALUATION, Converted, DatasetSpec, RawRow, RowRefused, shown
from data_prep.shaping import Repairs, choice_sample, facts, row_key, split_choices, text_of
from data_prep.tables import TableLayout

NAME = "wemath"


def convert(raw: RawRow) -> Converted:
    """A raw row as a sample; raises `RowRefused`. `metadata` keeps `ID` and `key`, which tie steps to their problem."""
    fields, repairs = raw.fields, Repairs(raw.place)
    option = text_of(fields, "option")
    before, choices = split_choices(option)
    if not choices or before:
        raise RowRefused("too_few_choices", f"option is {shown(option)}")
    return choice_sample(
        raw,
        name=NAME,
        key=row_key(raw),
        text=text_of(fields, "question"),
        choices=choices,
        letter=fields.get("answer"),
        repairs=repairs,
        metadata=facts(fields, "ID", "key", "question number", "knowledge concept"),
    )


SPEC = DatasetSpec(
    convert=convert,
    sources=(
        TableLayout(
            columns=("question", "option", "answer"),
            images=("image_path", "image"),
            files={"test": ("testmini.*", "testmini-*")},
        ).open,
    ),
    layouts=(
        "the Hub id We-Math/We-Math, or a folder with a copy of its Parquet files testmini-*.parquet",
        "a folder with testmini.json and the pictures it names",
    ),
    licence="CC BY-NC 4.0 (We-Math/We-Math)",
    citation="Runqi Qiao et al.: We-Math: Does Your Large Multimodal Model Achieve Human-like Mathematical "
    "Reasoning? ACL 2025.",
    about="school mathematics with a picture, problems and their steps; the last choice is often 'No correct answer'",
    purpose=EVALUATION,
    rows="1 740 test (testmini)",
    schema="We-Math/We-Math (README, fields of a record); Hub We-Math/We-Math (columns)",
    hub_id="We-Math/We-Math",
    hub_files=("*testmini*",),
)
