"""A completion and a gold in, a verdict out (first version)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from uec_vlm.records import Verdict
from uec_vlm.verifier.answers import names_in, readings, sentence
from uec_vlm.verifier.compare import same_value
from uec_vlm.verifier.extract import extract, gold_text
from uec_vlm.verifier.limits import LimitError, ParseError
from uec_vlm.verifier.nodes import Name, Node, Quantity, Rel, Words
from uec_vlm.verifier.numeric import real_value
from uec_vlm.verifier.policy import DEFAULT_POLICY, Policy
from uec_vlm.verifier.spelling import plain

_LETTER = re.compile(r"\(?([A-Ja-j])\)?[.:)]?")


def judge(
    response: str,
    gold: str,
    choices: Sequence[str] | None = None,
    *,
    question: str | None = None,
    finish_reason: str | None = None,
    policy: Policy = DEFAULT_POLICY,
) -> Verdict:
    """Grade the answer of `response` against `gold`."""
    found = extract(response, finish_reason=finish_reason, policy=policy)
    if found.how == "none" or not found.text:
        return Verdict(False, "truncated" if found.cut else "no_answer", None)
    answer = found.text
    gold = gold_text(gold)
    if _squeeze(answer) == _squeeze(gold):
        return Verdict(True, "exact", answer)
    if choices:
        letters = "ABCDEFGHIJ"[: len(choices)]
        if len(gold.strip()) == 1 and gold.strip() in letters:
            gold = choices[letters.index(gold.strip())]
        picked = _LETTER.fullmatch(re.sub(r"\\text|[{}$]", "", answer).strip())
        if picked and picked.group(1).upper() in letters:
            same = _same(choices[letters.index(picked.group(1).upper())], gold)
            return Verdict(same, "choice" if same else "wrong", answer)
    try:
        golds = [_value(node) for node in readings(gold, is_gold=True)]
    except (ParseError, LimitError):
        return Verdict(False, "gold_unparsable", answer)
    try:
        trees = list(readings(answer))
    except (ParseError, LimitError):
        try:
            trees = [sentence(answer)]
        except (ParseError, LimitError):
            return Verdict(False, "unparsable", answer)
    if any(same_value(_value(tree), g) for tree in trees for g in golds):
        return Verdict(True, "equivalent", answer)
    return Verdict(False, "wrong", answer)


def _squeeze(text: str) -> str:
    return re.sub(r"[\s$]", "", plain(text))


def _same(a: str, b: str) -> bool:
    if _squeeze(a) == _squeeze(b):
        return True
    try:
        return any(same_value(_value(x), _value(y)) for x in readings(a) for y in readings(b))
    except (ParseError, LimitError):
        return False


def _value(node: Node) -> Node:
    if isinstance(node, Quantity):
        return node.value
    if isinstance(node, Rel) and len(node.items) == 2 and node.ops == ("=",) and names_in(node.items[0]):
        return _value(node.items[1])
    if isinstance(node, (Name, Words)):
        return node
    return node


def normalise_answer(text: str) -> str:
    """The canonical spelling of a gold: one space style, plain LaTeX. A text that cannot be parsed comes back stripped."""
    squeezed = re.sub(r"\s+", " ", plain(text)).strip()
    squeezed = re.sub(r"\s*([{}])\s*", r"\1", squeezed)
    return re.sub(r"(?<![\\A-Za-z])sqrt(?=[\s{])", r"\\sqrt", squeezed)


def answer_value(text: str) -> float | None:
    """The gold as a number, or None where it has none."""
    try:
        for node in readings(gold_text(text), is_gold=True):
            return real_value(_value(node))
    except (ParseError, LimitError):
        pass
    return None
