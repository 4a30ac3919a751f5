"""MathVista testmini (Lu et al. 2024): 1 000 problems on pictures of every kind. The answers of `test` are not public.

Layout: Parquet (`data/testmini-*.parquet`, pictures in `decoded_image`), or `testmini.json` / `annot_testmini.json`
beside `images/`. Columns: `pid`, `question`, `choices`, `answer` (a text: the right choice's), `question_type`
(`multi_choice`, `free_form`), `answer_type`, `precision`, `unit`, `metadata`.
"""

from __future__ import annotations

from data_prep.common import EVALUATION, Converted, DatasetSpec, RawRow, RowRefused, shown
from data_prep.shaping import LETTERS, Repairs, choice_sample, facts, open_sample, plain_key, text_of
from data_prep.tables import TableLayout

NAME = "mathvista"


def convert(raw: RawRow) -> Converted:
    """A raw row as a sample; raises `RowRefused`. `metadata` keeps `precision`, `unit` and the source's own facts."""
    fields, repairs = raw.fields, Repairs(raw.place)
    text, answer = text_of(fields, "question"), text_of(fields, "answer")
    key = plain_key(fields.get("pid"), raw, repairs)
    stated = fields["metadata"] if isinstance(fields.get("metadata"), dict) else {}
    metadata = {
        **facts(fields, "question_type", "answer_type", "precision", "unit"),
        **facts(stated, "source", "task", "context", "category", "grade", "language", "skills"),
    }
    choices = fields.get("choices")
    if not choices:
        return open_sample(raw, name=NAME, key=key, text=text, answer=answer, repairs=repairs, metadata=metadata)
    if not isinstance(choices, list) or answer not in choices[: len(LETTERS)]:
        raise RowRefused("answer_not_a_choice", f"answer {shown(answer)}, choices {shown(choices)}")
    return choice_sample(
        raw,
        name=NAME,
        key=key,
        text=text,
        choices=choices,
        letter=LETTERS[choices.index(answer)],
        repairs=repairs,
        metadata=metadata,
    )


SPEC = DatasetSpec(
    convert=convert,
    sources=(
        TableLayout(
            columns=("question", "answer", "choices"),
            images=("decoded_image", "image"),
            files={"test": ("testmini-*", "testmini.*", "annot_testmini.json")},
        ).open,
    ),
    layouts=(
        "the Hub id AI4Math/MathVista, or a folder with a copy of its data/testmini-*.parquet",
        "a folder with testmini.json (or annot_testmini.json) and images/ or images.zip",
    ),
    licence="CC BY-SA 4.0 (Hub card); pictures and questions under their sources' licences",
    citation="Pan Lu et al.: MathVista: Evaluating Mathematical Reasoning of Foundation Models in Visual Contexts. "
    "ICLR 2024.",
    about="mathematics on pictures of every kind: geometry, charts, tables, photographs",
    purpose=EVALUATION,
    rows="1 000 test (testmini)",
    schema="Hub AI4Math/MathVista, revision 2b6ad69 (dataset card); lupantech/MathVista, data/testmini.json",
    hub_id="AI4Math/MathVista",
    hub_files=("data/testmini-*.parquet",),
)
