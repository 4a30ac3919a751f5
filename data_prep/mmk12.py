"""MMK12 (MM-Eureka, Meng et al. 2025): school problems with a picture; open golds to train on, letters to test on.

Layout: Parquet with `id`, `question` (the choices of the test split stand in it as lines `A. ...`), `answer`,
`subject`, `image`.
"""

from __future__ import annotations

from data_prep.common import TRAINING, Converted, DatasetSpec, RawRow
from data_prep.shaping import Repairs, answered_sample, facts, plain_key, text_of
from data_prep.tables import TableLayout

NAME = "mmk12"


def convert(raw: RawRow) -> Converted:
    """A raw row as a sample; raises `RowRefused`."""
    repairs = Repairs(raw.place)
    return answered_sample(
        raw,
        name=NAME,
        key=plain_key(raw.fields.get("id"), raw, repairs),
        text=text_of(raw.fields, "question"),
        answer=text_of(raw.fields, "answer"),
        repairs=repairs,
        metadata=facts(raw.fields, "subject"),
    )


SPEC = DatasetSpec(
    convert=convert,
    sources=(TableLayout(columns=("question", "answer"), images=("image",)).open,),
    layouts=(
        "the Hub id FanqingM/MMK12, or a folder with a copy of its Parquet files train-*.parquet, test-*.parquet",
    ),
    licence="its Hub card could not be read here; copies and lists of others say Apache-2.0",
    citation="Fanqing Meng et al.: MM-Eureka: Exploring the Frontiers of Multimodal Reasoning with Rule-based "
    "Reinforcement Learning. arXiv 2503.07365, 2025.",
    about="K-12 mathematics (train) and sciences (test) with a picture",
    purpose=TRAINING,
    rows="15 616 train, 2 000 test",
    schema="Hub FanqingM/MMK12 (data/*.parquet); read by EvolvingLMMs-Lab/lmms-eval, tasks/mmk12",
    hub_id="FanqingM/MMK12",
)
