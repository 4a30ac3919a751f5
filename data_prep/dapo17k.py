"""DAPO-Math-17k (Yu et al. 2025): competition problems with integer answers. Text only.

Layout: one Parquet file with `prompt` (a list with one user message: the problem between two sentences of instruction),
`reward_model` (`ground_truth`), `data_source`, `ability`, `extra_info`. The published file repeats each problem a
hundred times; the id is made of the text, so the repetitions are refused as `duplicate_id`.
"""

from __future__ import annotations

import hashlib
from typing import Any

from data_prep.common import TRAINING, Converted, DatasetSpec, RawRow, RowRefused, shown
from data_prep.shaping import Repairs, facts, open_sample, text_of
from data_prep.tables import TableLayout

NAME = "dapo17k"
BEFORE = (
    "Solve the following math problem step by step. The last line of your response should be of the form Answer: "
    "$Answer (without quotes) where $Answer is the answer to the problem."
)
AFTER = 'Remember to put your answer on its own line after "Answer:".'


def convert(raw: RawRow) -> Converted:
    """A raw row as a sample without the instruction sentences (the prompt's wording is set in training)."""
    text = _content(raw.fields.get("prompt")).strip().removeprefix(BEFORE).removesuffix(AFTER).strip()
    graded = raw.fields.get("reward_model")
    if not isinstance(graded, dict):
        raise RowRefused("missing_field", f"reward_model is {shown(graded)}")
    return open_sample(
        raw,
        name=NAME,
        key=hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16],
        text=text,
        answer=text_of(graded, "ground_truth"),
        repairs=Repairs(raw.place),
        metadata=facts(raw.fields, "data_source", "ability"),
    )


def _content(prompt: Any) -> str:
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], dict):
        return text_of(prompt[0], "content")
    raise RowRefused("missing_field", f"prompt is {shown(prompt)}, a list with one message is needed")


SPEC = DatasetSpec(
    convert=convert,
    sources=(TableLayout(columns=("prompt", "reward_model"), files={"train": ("dapo-math-17k*", "train*")}).open,),
    layouts=("the Hub id BytedTsinghua-SIA/DAPO-Math-17k, or a folder with a copy of data/dapo-math-17k.parquet",),
    licence="Apache-2.0 (Hub card)",
    citation="Qiying Yu et al.: DAPO: An Open-Source LLM Reinforcement Learning System at Scale. arXiv 2503.14476, "
    "2025.",
    about="text only: mathematics competitions, integer answers",
    purpose=TRAINING,
    rows="17 398 train (1 791 700 with the repetitions)",
    schema="Hub BytedTsinghua-SIA/DAPO-Math-17k (columns); open-r1/DAPO-Math-17k-Processed, create_dataset.py, 866c0f0",
    hub_id="BytedTsinghua-SIA/DAPO-Math-17k",
)
