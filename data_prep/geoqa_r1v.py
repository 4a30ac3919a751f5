"""GEOQA_R1V_Train_8K (the R1-V project): GeoQA problems in English, with the gold in an `<answer>` tag.

Layout: Parquet with `image`, `problem`, `solution` ("<answer> 145° </answer>").
"""

from __future__ import annotations

from data_prep.common import TRAINING, Converted, DatasetSpec, RawRow
from data_prep.shaping import Repairs, answered_sample, row_key, tagged_answer, text_of
from data_prep.tables import TableLayout

NAME = "geoqa_r1v"


def convert(raw: RawRow) -> Converted:
    """A raw row as a sample; raises `RowRefused`."""
    return answered_sample(
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
    layouts=("the Hub id leonardPKU/GEOQA_R1V_Train_8K, or a folder with a copy of its Parquet files train-*.parquet",),
    licence="none stated on its Hub page (revision 9a9df3e); others list it as Apache-2.0",
    citation="Liang Chen et al.: R1-V: Reinforcing Super Generalization Ability in Vision-Language Models. 2025; "
    "Jiaqi Chen et al.: GeoQA: A Geometric Question Answering Benchmark. Findings of ACL 2021.",
    about="plane geometry with a diagram, open answers",
    purpose=TRAINING,
    rows="8 031 train",
    schema="Hub leonardPKU/GEOQA_R1V_Train_8K, revision 9a9df3e; read by Deep-Agent/R1-V, "
    "src/r1-v/src/open_r1/grpo.py, commit 3c16cd3",
    hub_id="leonardPKU/GEOQA_R1V_Train_8K",
)
