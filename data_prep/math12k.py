"""MATH-12k: the MATH problems (Hendrycks et al. 2021) split 12 000 / 500 as in MATH-500. Text only.

Layout: Parquet or JSON lines with `problem`, `answer`; `solution`, `subject`, `level` are kept where they are there.
"""

from __future__ import annotations

from data_prep.common import TRAINING, Converted, DatasetSpec, RawRow
from data_prep.shaping import Repairs, facts, open_sample, row_key, text_of
from data_prep.tables import TableLayout

NAME = "math12k"


def convert(raw: RawRow) -> Converted:
    """A raw row as a sample; raises `RowRefused`."""
    return open_sample(
        raw,
        name=NAME,
        key=row_key(raw),
        text=text_of(raw.fields, "problem"),
        answer=text_of(raw.fields, "answer"),
        repairs=Repairs(raw.place),
        metadata=facts(raw.fields, "solution", "subject", "level", "unique_id"),
    )


SPEC = DatasetSpec(
    convert=convert,
    sources=(TableLayout(columns=("problem", "answer")).open,),
    layouts=("the Hub id hiyouga/math12k, or a folder with train and test as Parquet or JSON lines",),
    licence="MIT (hendrycks/math)",
    citation="Dan Hendrycks et al.: Measuring Mathematical Problem Solving With the MATH Dataset. NeurIPS 2021.",
    about="text only: mathematics competitions",
    purpose=TRAINING,
    rows="12 000 train, 500 test",
    schema="hiyouga/EasyR1, verl/utils/dataset.py, commit 0243608 (prompt_key problem, answer_key answer), whose "
    "example configuration names hiyouga/math12k",
    hub_id="hiyouga/math12k",
    hub_files=("*.parquet", "*.json", "*.jsonl"),
)
