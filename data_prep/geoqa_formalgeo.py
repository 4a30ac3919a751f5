"""GeoQA problems as FormalGeo7k (Zhang et al. 2023) re-annotated them: Chinese text, exact open answers.

Layout: a folder with `rows.jsonl` (`problem_id`, `source`, `problem_text_cn`, `problem_answer`, `goal_cdl`,
`problem_level`, `image`) and the pictures that `image` names. The English text has lost its numbers (`N_0`).
"""

from __future__ import annotations

from data_prep.common import TRAINING, Converted, DatasetSpec, RawRow
from data_prep.geometry3k_formalgeo import exact_answer
from data_prep.shaping import Repairs, facts, open_sample, plain_key, text_of
from data_prep.tables import TableLayout

NAME = "geoqa_formalgeo"


def convert(raw: RawRow) -> Converted:
    r"""A raw row as a sample; raises `RowRefused`. `2*sqrt(3)` becomes `2\sqrt{3}`."""
    repairs = Repairs(raw.place)
    answer, _ = exact_answer(text_of(raw.fields, "problem_answer"))
    return open_sample(
        raw,
        name=NAME,
        key=plain_key(raw.fields.get("problem_id"), raw, repairs),
        text=text_of(raw.fields, "problem_text_cn"),
        answer=answer,
        repairs=repairs,
        metadata={
            "language": "chinese",
            "exact": raw.fields["problem_answer"],
            **facts(raw.fields, "source", "problem_level", "goal_cdl"),
        },
    )


SPEC = DatasetSpec(
    convert=convert,
    sources=(
        TableLayout(
            columns=("problem_text_cn", "problem_answer"), images=("image",), files={"train": ("rows.jsonl",)}
        ).open,
    ),
    layouts=("a folder with rows.jsonl (FormalGeo7k's annotation of GeoQA) and its images/",),
    licence="MIT (FormalGeo)",
    citation="Xiaokai Zhang et al.: FormalGeo: An Extensible Formalized Framework for Olympiad Geometric Problem "
    "Solving. arXiv 2310.18021, 2023.",
    about="GeoQA's plane geometry in Chinese, exact open answers",
    purpose=TRAINING,
    rows="as many as rows.jsonl has",
    schema="FormalGeo7k (BitSecret/FormalGeo), problems/*.json as rows",
)
