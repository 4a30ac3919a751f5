"""GeoQA+ (Cao and Xiao 2022) in its Hub form: columns `images`, `problem`, `answer`.

The authors publish Python pickles, which run code when they are read; those are not opened.
"""

from __future__ import annotations

from data_prep.common import TRAINING, Converted, DatasetSpec, RawRow
from data_prep.shaping import Repairs, answered_sample, row_key, text_of
from data_prep.tables import TableLayout

NAME = "geoqa_plus"


def convert(raw: RawRow) -> Converted:
    """A raw row as a sample; raises `RowRefused`."""
    return answered_sample(
        raw,
        name=NAME,
        key=row_key(raw),
        text=text_of(raw.fields, "problem"),
        answer=text_of(raw.fields, "answer"),
        repairs=Repairs(raw.place),
        metadata={},
    )


SPEC = DatasetSpec(
    convert=convert,
    sources=(TableLayout(columns=("problem", "answer"), images=("images",)).open,),
    layouts=(
        "the Hub id Yuting6/geoqa_plus, or a folder with a copy of its Parquet files train-*.parquet, test-*.parquet "
        "(the authors' pickles are not read: a pickle can run any code)",
    ),
    licence="none stated (Hub card, SCNU203/GeoQA-Plus)",
    citation="Jie Cao, Jing Xiao: An Augmented Benchmark Dataset for Geometric Question Answering through Dual "
    "Parallel Text Encoding. COLING 2022.",
    about="plane geometry with a diagram, open answers or choices in the text",
    purpose=TRAINING,
    rows="6 027 train, 1 000 test",
    schema="Hub Yuting6/geoqa_plus, revision 5bfcaeb (dataset card)",
    hub_id="Yuting6/geoqa_plus",
)
