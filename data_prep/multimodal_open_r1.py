"""multimodal-open-r1-8k-verified (LMMs-Lab 2025): Geo170K and Math360K problems with a verified solution.

Layout: Parquet with `image`, `problem`, `solution` ("<think>...</think> <answer>...</answer>"), `original_question`,
`original_answer`.
"""

from __future__ import annotations

from data_prep.common import TRAINING, Converted, DatasetSpec, RawRow, RowRefused, shown
from data_prep.shaping import Repairs, answered_sample, facts, row_key, tagged_answer, text_of
from data_prep.tables import TableLayout

NAME = "multimodal_open_r1"


def convert(raw: RawRow) -> Converted:
    """A raw row as a sample; raises `RowRefused`. `metadata["solution"]` keeps the worked solution."""
    solution = text_of(raw.fields, "solution")
    answer = tagged_answer(solution)
    if answer == solution:
        raise RowRefused("missing_field", f"solution has no <answer>: {shown(solution)}")
    return answered_sample(
        raw,
        name=NAME,
        key=row_key(raw),
        text=text_of(raw.fields, "problem"),
        answer=answer,
        repairs=Repairs(raw.place),
        metadata=facts(raw.fields, "solution", "original_question", "original_answer"),
    )


SPEC = DatasetSpec(
    convert=convert,
    sources=(TableLayout(columns=("problem", "solution"), images=("image",)).open,),
    layouts=(
        "the Hub id lmms-lab/multimodal-open-r1-8k-verified, or a folder with a copy of its Parquet files "
        "train-*.parquet",
    ),
    licence="none stated (Hub card)",
    citation="LMMs-Lab: Multimodal Open R1, lmms-lab/multimodal-open-r1-8k-verified, 2025.",
    about="mathematics with a picture, worked solutions",
    purpose=TRAINING,
    rows="7 689 train",
    schema="Hub lmms-lab/multimodal-open-r1-8k-verified, revision e3c8f3a; read by huggingface/trl, "
    "examples/scripts/grpo_vlm.py",
    hub_id="lmms-lab/multimodal-open-r1-8k-verified",
)
