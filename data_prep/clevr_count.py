"""CLEVR counting (CLEVR-70k-Counting of the R1-V project): how many objects a rendered scene has.

Layout: Parquet with `image`, `problem`, `solution` ("<answer> 3 </answer>").
"""

from __future__ import annotations

from data_prep.common import TRAINING, Converted, DatasetSpec, RawRow
from data_prep.shaping import Repairs, open_sample, row_key, tagged_answer, text_of
from data_prep.tables import TableLayout

NAME = "clevr_count"


def convert(raw: RawRow) -> Converted:
    """A raw row as a sample; raises `RowRefused`."""
    return open_sample(
        raw,
        name=NAME,
        key=row_key(raw),
        text=text_of(raw.fields, "problem"),
        answer=tagged_answer(text_of(raw.fields, "solution")),
        repairs=Repairs(raw.place),
        metadata={},
    )


SPEC = DatasetSpec(
    convert=convert,
    sources=(TableLayout(columns=("problem", "solution"), images=("image",)).open,),
    layouts=(
        "the Hub id leonardPKU/clevr_cogen_a_train, or a folder with a copy of its Parquet files train-*.parquet",
    ),
    licence="none stated (Hub card); CLEVR itself is CC BY 4.0",
    citation="Liang Chen et al.: R1-V, 2025; Justin Johnson et al.: CLEVR: A Diagnostic Dataset for Compositional "
    "Language and Elementary Visual Reasoning. CVPR 2017.",
    about="counting the objects of a rendered scene",
    purpose=TRAINING,
    rows="70 000 train",
    schema="Hub leonardPKU/clevr_cogen_a_train, revision d5a8da6; read by Deep-Agent/R1-V, "
    "src/r1-v/src/open_r1/grpo.py, commit 3c16cd3",
    hub_id="leonardPKU/clevr_cogen_a_train",
)
