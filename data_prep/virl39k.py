"""ViRL39K (VL-Rethinker, Wang et al. 2025): 38 870 verifiable problems on pictures, some with several, some with none.

Layout: `39Krelease.parquet` beside `images.zip` (or `images/`). Columns: `question` (with `<image>`), `answer`
(`\boxed{...}`), `image` (a list of paths), `category`, `source`, `qid`, `PassRate_32BTrained`, `PassRate_7BBase`.
"""

from __future__ import annotations

from data_prep.common import TRAINING, Converted, DatasetSpec, RawRow
from data_prep.shaping import Repairs, answered_sample, facts, plain_key, text_of, unboxed
from data_prep.tables import TableLayout

NAME = "virl39k"


def convert(raw: RawRow) -> Converted:
    """A raw row as a sample; raises `RowRefused`. `metadata` keeps the pass rates, for a choice by difficulty."""
    repairs = Repairs(raw.place)
    return answered_sample(
        raw,
        name=NAME,
        key=plain_key(raw.fields.get("qid"), raw, repairs),
        text=text_of(raw.fields, "question"),
        answer=unboxed(text_of(raw.fields, "answer")),
        repairs=repairs,
        metadata=facts(raw.fields, "category", "source", "PassRate_32BTrained", "PassRate_7BBase"),
    )


SPEC = DatasetSpec(
    convert=convert,
    sources=(
        TableLayout(columns=("question", "answer"), images=("image",), files={"train": ("39Krelease*", "train*")}).open,
    ),
    layouts=("the Hub id TIGER-Lab/ViRL39K, or a folder with 39Krelease.parquet and images.zip (or images/)",),
    licence="MIT (Hub card)",
    citation="Haozhe Wang et al.: VL-Rethinker: Incentivizing Self-Reflection of Vision-Language Models with "
    "Reinforcement Learning. arXiv 2504.08837, 2025.",
    about="mathematics, sciences, charts and spatial problems with none, one or several pictures",
    purpose=TRAINING,
    rows="38 870 train",
    schema="Hub TIGER-Lab/ViRL39K, revision 812ec61 (39Krelease.parquet); its card as copied in vasuverma/mlp, a4d3bf0",
    hub_id="TIGER-Lab/ViRL39K",
    hub_files=("39Krelease.parquet", "images.zip"),
)
