"""MathVerse testmini (Zhang et al. 2024): each problem in five versions that move the text into the picture.

Layout: `testmini.parquet`, or `testmini.json` beside the folders of pictures or `images.zip`. Columns: `sample_index`,
`problem_index`, `problem_version`, `question` (empty in "Vision Only"; choices as lines `A:60°` after `Choices:`),
`answer`, `question_type` (`multi-choice`, `free-form`), `metadata`, `question_for_eval` (the text of every version).
"""

from __future__ import annotations

from data_prep.common import EVALUATION, Converted, DatasetSpec, RawRow
from data_prep.shaping import Repairs, choice_sample, facts, open_sample, plain_key, split_choices, text_of
from data_prep.tables import TableLayout

NAME = "mathverse"
IN_PICTURE = "Answer the question in the picture."


def convert(raw: RawRow) -> Converted:
    """A raw row as a sample; raises `RowRefused`.

    "Vision Only" problems have the text `IN_PICTURE` and are noted as `question_in_picture`; the choices of a
    multiple-choice problem are kept in every version.
    """
    fields, repairs = raw.fields, Repairs(raw.place)
    stated = fields["metadata"] if isinstance(fields.get("metadata"), dict) else {}
    metadata = {
        **facts(fields, "problem_index", "problem_version", "question_type"),
        **facts(stated, "source", "subject", "subfield"),
    }
    key = plain_key(fields.get("sample_index"), raw, repairs)
    text, choices = split_choices(text_of(fields, "question"))
    if not choices and isinstance(fields.get("question_for_eval"), str):
        choices = split_choices(fields["question_for_eval"])[1]
    if not text.strip():
        repairs.add("question_in_picture")
        text = IN_PICTURE
    answer = text_of(fields, "answer")
    if fields.get("question_type") != "multi-choice":
        return open_sample(raw, name=NAME, key=key, text=text, answer=answer, repairs=repairs, metadata=metadata)
    return choice_sample(
        raw, name=NAME, key=key, text=text, choices=choices, letter=answer, repairs=repairs, metadata=metadata
    )


SPEC = DatasetSpec(
    convert=convert,
    sources=(
        TableLayout(
            columns=("question", "answer", "question_type"),
            images=("image",),
            files={"test": ("testmini.*", "testmini-*")},
        ).open,
    ),
    layouts=(
        "the Hub id AI4Math/MathVerse, or a folder with a copy of its testmini.parquet",
        "a folder with testmini.json and the pictures it names, unpacked or in images.zip",
    ),
    licence="MIT (Hub card)",
    citation="Renrui Zhang et al.: MathVerse: Does Your Multi-modal LLM Truly See the Diagrams in Visual Math "
    "Problems? ECCV 2024.",
    about="plane and solid geometry and functions, five versions of each problem",
    purpose=EVALUATION,
    rows="3 940 test (testmini)",
    schema="Hub AI4Math/MathVerse, revision 268dfc5; read by EvolvingLMMs-Lab/lmms-eval, tasks/mathverse/utils.py",
    hub_id="AI4Math/MathVerse",
    hub_files=("testmini.parquet",),
)
