"""MATH-Vision (Wang et al. 2024): competition problems with a picture, five choices or an open answer.

Layout: Parquet (`data/test-*.parquet`, `data/testmini-*.parquet`, pictures in `decoded_image`), or `test.jsonl` /
`rows.jsonl` beside `images/`. Columns: `id`, `question` (with `<image1>`), `options`, `answer` (a letter where there
are options), `solution`, `level`, `subject`, `image`. testmini is a part of test.
"""

from __future__ import annotations

import re

from data_prep.common import EVALUATION, Converted, DatasetSpec, RawRow
from data_prep.shaping import Repairs, choice_sample, facts, open_sample, plain_key, text_of
from data_prep.tables import TableLayout
from uec_vlm.records import IMAGE_PLACEHOLDER

NAME = "mathvision"
_TAG = re.compile(r"(?:\\n)?<image\d*>")  # some texts have the two characters \n before the tag


def convert(raw: RawRow) -> Converted:
    """A raw row as a sample; raises `RowRefused`. One file holds all pictures of a problem, so one tag is kept."""
    fields, repairs = raw.fields, Repairs(raw.place)
    text = text_of(fields, "question")
    before, *rest = _TAG.split(text)
    if rest:
        text = before + IMAGE_PLACEHOLDER + "".join(rest)
        if len(rest) > 1:
            repairs.add("extra_image_tags", detail=f"{len(rest)} tags")
    key = plain_key(fields.get("id"), raw, repairs)
    metadata = facts(fields, "level", "subject", "solution")
    if fields.get("options"):
        return choice_sample(
            raw,
            name=NAME,
            key=key,
            text=text,
            choices=fields["options"],
            letter=fields.get("answer"),
            repairs=repairs,
            metadata=metadata,
        )
    answer = text_of(fields, "answer")
    return open_sample(raw, name=NAME, key=key, text=text, answer=answer, repairs=repairs, metadata=metadata)


SPEC = DatasetSpec(
    convert=convert,
    sources=(
        TableLayout(
            columns=("question", "options", "answer"),
            images=("decoded_image", "image"),
            files={"validation": ("testmini-*", "testmini.*"), "test": ("test-*", "test.*", "rows.jsonl")},
        ).open,
    ),
    layouts=(
        "the Hub id MathLLMs/MathVision, or a folder with a copy of its Parquet files (test; testmini as validation)",
        "a folder with test.jsonl, testmini.jsonl or rows.jsonl and images/ or images.zip",
    ),
    licence="MIT (Hub card)",
    citation="Ke Wang et al.: Measuring Multimodal Mathematical Reasoning with MATH-Vision Dataset. NeurIPS 2024.",
    about="mathematics competitions with a picture",
    purpose=EVALUATION,
    rows="304 validation (testmini, a part of test), 3 040 test",
    schema="Hub MathLLMs/MathVision, revision b223f3c (dataset card)",
    hub_id="MathLLMs/MathVision",
)
