"""GSM8K (Cobbe et al. 2021): grade-school word problems; the gold stands after `####` in the worked answer. Text only.

Layout: Parquet (`main/train-*.parquet`, `main/test-*.parquet`) or `train.jsonl`, `test.jsonl`, with `question`,
`answer`.
"""

from __future__ import annotations

from data_prep.common import TRAINING, Converted, DatasetSpec, RawRow, RowRefused, shown
from data_prep.shaping import Repairs, open_sample, row_key, text_of
from data_prep.tables import TableLayout

NAME = "gsm8k"


def convert(raw: RawRow) -> Converted:
    """A raw row as a sample; raises `RowRefused`. `metadata["solution"]` is the text before `####`."""
    worked = text_of(raw.fields, "answer")
    solution, mark, gold = worked.rpartition("####")
    if not mark:
        raise RowRefused("missing_field", f"answer has no ####: {shown(worked)}")
    return open_sample(
        raw,
        name=NAME,
        key=row_key(raw),
        text=text_of(raw.fields, "question"),
        answer=gold.strip(),
        repairs=Repairs(raw.place),
        metadata={"solution": solution.strip()},
    )


SPEC = DatasetSpec(
    convert=convert,
    sources=(TableLayout(columns=("question", "answer"), folders=(".", "main", "data")).open,),
    layouts=("the Hub id openai/gsm8k, or a folder with train and test as Parquet (also in main/) or JSON lines",),
    licence="MIT (openai/grade-school-math)",
    citation="Karl Cobbe et al.: Training Verifiers to Solve Math Word Problems. arXiv 2110.14168, 2021.",
    about="text only: grade-school word problems",
    purpose=TRAINING,
    rows="7 473 train, 1 319 test",
    schema="Hub openai/gsm8k, revision 24cabd4 (dataset card, config main)",
    hub_id="openai/gsm8k",
    hub_files=("main/*.parquet",),
)
