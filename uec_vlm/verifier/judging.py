"""A completion and a gold in, a verdict out."""

from __future__ import annotations

import re
from collections.abc import Sequence

from uec_vlm.records import Verdict
from uec_vlm.verifier.extract import gold_text
from uec_vlm.verifier.grading import decide, read
from uec_vlm.verifier.limits import Work
from uec_vlm.verifier.numeric import real_value
from uec_vlm.verifier.policy import DEFAULT_POLICY, Policy
from uec_vlm.verifier.spelling import plain
from uec_vlm.verifier.values import Context, split_unit


def judge(
    response: str,
    gold: str,
    choices: Sequence[str] | None = None,
    *,
    question: str | None = None,
    finish_reason: str | None = None,
    policy: Policy = DEFAULT_POLICY,
) -> Verdict:
    """Grade the answer of `response` against `gold`. Total and safe on every string."""
    outcome = decide(response, gold, choices, question=question, finish_reason=finish_reason, policy=policy)
    return Verdict(outcome.correct, outcome.reason, outcome.extracted)


def normalise_answer(text: str) -> str:
    """The canonical spelling of a gold; a text that cannot be parsed comes back stripped."""
    squeezed = re.sub(r"\s+", " ", plain(text)).strip()
    squeezed = re.sub(r"\s*([{}])\s*", r"\1", squeezed)
    return re.sub(r"(?<![\\A-Za-z])sqrt(?=[\s{])", r"\\sqrt", squeezed)


def answer_value(text: str) -> float | None:
    """The gold as a number, or None where it has none."""
    from uec_vlm.verifier.compare import stated_values

    for tree in read(gold_text(text))[0]:
        for value in stated_values(tree, Context(work=Work())):
            return real_value(split_unit(value)[0])
    return None
