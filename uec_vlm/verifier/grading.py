"""The decision itself, free of records and of torch: extract, read, compare, and say why.

`decide` never starts a process. Where only symbolic algebra could settle a comparison, the outcome carries the pairs in
`pending`, and `judging` hands them to the worker pool.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from uec_vlm.verifier import compare, options
from uec_vlm.verifier.answers import readings, sentence
from uec_vlm.verifier.extract import extract, gold_text
from uec_vlm.verifier.limits import MAX_ANSWER_CHARS, LimitError, ParseError, Work
from uec_vlm.verifier.nodes import Name, Node
from uec_vlm.verifier.policy import DEFAULT_POLICY, Policy
from uec_vlm.verifier.settle import settle
from uec_vlm.verifier.values import Context
from uec_vlm.verifier.wording import is_text, same_words, squeeze

_NUMBER = re.compile(r"-?\d{1,30}(?:\.\d{1,30})?")
_SEQUENCE = re.compile(r"\d+(?:-\d+){2,}")  # 5-4-3-2-1 is an order, not a difference
_VERB = re.compile(r"\b(?:is|are|equals|measures)\b")
_PLACE = r"(?:ten|hundred)[-\s]?thousandth|thousandth|hundredth|tenth|whole|integer|degree|ten|hundred|decimal"
_ROUND = re.compile(
    rf"(?:(?:nearest|closest)\s+(?:whole\s+|square\s+|cubic\s+)?({_PLACE}|unit|number|foot|inch|yard|mile|(?:centi|milli|kilo)?"
    rf"met(?:er|re))|\b(?:round|correct|accurate)[^.?!]{{0,60}}?(?<!equal)\s+to\s+(?:the|one|two|three|1|2|3)\s+(?:whole\s+)?({_PLACE}))"
    r"(?:e?s)?\b",
    re.IGNORECASE,
)
_MENTIONS_ROUNDING = re.compile(r"\bround(?:ed|ing|s)?\b|nearest|decimal", re.IGNORECASE)
_PLACES = {
    "hundredthousandth": 5, "tenthousandth": 4, "thousandth": 3, "hundredth": 2, "tenth": 1, "ten": -1, "hundred": -2
}  # fmt: skip
_DECIMALS = re.compile(r"\b(one|two|three|1|2|3)\s+decimal", re.IGNORECASE)
_COUNTS = {"one": 1, "two": 2, "three": 3, "1": 1, "2": 2, "3": 3}


_NO_ROUNDING = Policy(approximate_exact_gold=False, round_to_gold=False, round_as_asked=False)
_NO_LENIENCE = replace(_NO_ROUNDING, ratio_as_fraction=False, percent_as_number=False, unit_may_be_missing=False)


class Item(NamedTuple):
    """One completion to judge; the fields are the arguments of `judge`."""

    response: str
    gold: str
    choices: Sequence[str] | None = None
    question: str | None = None
    finish_reason: str | None = None
    listed: bool = True


@dataclass(frozen=True)
class Outcome:
    """A verdict without records. pending: (gold, answer) pairs that symbolic algebra may still find equal."""

    correct: bool
    reason: str
    extracted: str | None
    pending: tuple[tuple[Node, Node], ...] = ()


def decide(item: Item, policy: Policy = DEFAULT_POLICY) -> Outcome:
    """Grade one completion by everything but the slow symbolic path."""
    found = extract(item.response, finish_reason=item.finish_reason, policy=policy)
    if found.how == "none" or not found.text.strip():
        return Outcome(False, "truncated" if found.cut else "no_answer", None)
    outcome = compare_texts(item._replace(response=found.text), policy)
    if found.how == "stated" and not outcome.correct and not _states_anything(found.text, item.response, outcome):
        return Outcome(False, "no_answer", None)
    if not outcome.correct and found.named:
        last = compare_texts(item._replace(response=found.last), policy)
        outcome = last if last.correct else outcome
    return outcome


def _states_anything(text: str, response: str, outcome: Outcome) -> bool:
    """Whether a text without box and tag commits itself: it announces an answer, or is nothing but one."""
    if outcome.reason == "unparsable":
        return False
    return text != response.strip() or bool(read_answer(text)[0])


def compare_texts(item: Item, policy: Policy = DEFAULT_POLICY) -> Outcome:
    """Grade a response that is an answer as it stands: nothing is extracted from it any more."""
    gold, answer = gold_text(item.gold), item.response
    if not gold:
        return Outcome(False, "gold_unparsable", answer)
    if len(answer) > MAX_ANSWER_CHARS:
        return Outcome(False, "too_long", answer[:MAX_ANSWER_CHARS])
    if _NUMBER.fullmatch(answer) and _NUMBER.fullmatch(gold) and Fraction(answer) == Fraction(gold):
        return Outcome(True, "exact", answer)
    squeezed = squeeze(answer)
    if not squeezed.strip("{}.-\\?…"):
        return Outcome(False, "no_answer" if not squeezed.strip("{}") else "unparsable", answer)
    if squeezed == squeeze(gold):
        return Outcome(True, "exact", answer)
    return _Comparison(gold, item, policy).run()


class _Comparison:
    """One gold, one answer, the options, and the steps left."""

    def __init__(self, gold: str, item: Item, policy: Policy) -> None:
        self.gold, self.answer, self.choices = gold, item.response, options.unlabelled(item.choices or ())
        self.listed, self.policy = item.listed, policy
        self.context = Context(policy=policy, asked=asked_decimals(item.question, gold))

    def run(self) -> Outcome:
        target = options.target(self.gold, self.choices, same_answer)
        by_letter = self.of_letter(target)
        if by_letter is not None:
            return by_letter
        if target.value is None:
            return self.outcome(False, "wrong")
        if target.letter is not None and not self.policy.value_for_letter and self.gold.strip() in options.LETTERS:
            return self.outcome(False, "wrong")
        return self.by_value(target)

    def of_letter(self, target: options.Target) -> Outcome | None:
        """The verdict on an answer with an option letter; None where its text decides."""
        picked = options.picked_letter(self.answer, lowercase=self.policy.lowercase_letters and bool(self.choices))
        if self.is_an_option(picked):  # "a \perp b" is no option a with a text
            return None
        if picked is None:
            return None if not self.listed or self.drop_letter() else self.outcome(False, "several_answers")
        asked = self.listed or not self.choices or self.gold.strip() in options.LETTERS
        return self.by_letter(target, picked) if asked else None

    def is_an_option(self, picked: options.Picked | None) -> bool:
        """Whether an answer with an option letter at its start or end is, as a whole, the text of an option."""
        if not self.choices or not (picked.rest if picked else options.value_and_letter(self.answer)):
            return False
        return any(same_answer(choice, self.answer) for choice in self.choices)

    def drop_letter(self) -> bool:
        """Leaves the letter of "10 (B)" away; False where it names an option of another text."""
        text, letter = options.value_and_letter(self.answer) or ("", "")
        known = options.LETTERS[: len(self.choices)]
        if letter and letter in known:
            self.answer = text
            return same_answer(self.choices[known.index(letter)], text)
        return True

    def outcome(self, correct: bool, reason: str) -> Outcome:
        return Outcome(correct, reason, self.answer, () if correct else tuple(self.context.pending))

    def by_letter(self, target: options.Target, picked: options.Picked) -> Outcome | None:
        """The verdict on an answer that names an option; None where it is no option letter here."""
        if not self.choices:
            if target.letter is None:
                return None
            if options.other_letters(picked.rest):
                return self.outcome(False, "several_answers")
            return self.outcome(picked.letter == target.letter, "exact" if picked.letter == target.letter else "wrong")
        known = options.LETTERS[: len(self.choices)]
        if picked.letter not in known:
            return None
        text = self.choices[known.index(picked.letter)]
        if picked.rest and not same_answer(text, picked.rest):
            # "A = 36" is an area as well as an option: beside another text than the option's it is the area.
            named = not picked.equated and not same_answer(text, self.answer)
            return self.outcome(False, "several_answers") if named else None
        if target.letter is None:
            return self.outcome(False, "wrong")
        if not self.policy.value_for_letter and self.gold.strip() not in options.LETTERS:
            return self.outcome(False, "wrong")
        right = picked.letter == target.letter or (target.value or "").strip() == text.strip()
        if not right:
            return self.outcome(False, "wrong")
        return self.outcome(True, "exact" if self.gold.strip() == picked.letter else "choice")

    def by_value(self, target: options.Target) -> Outcome:
        """The verdict on an answer that gives a value or words."""
        value = target.value or ""
        if squeeze(self.answer) == squeeze(value):
            return self.counted(value, "exact")
        if target.letter is not None and self.is_wrong_option(value, target.others):
            return self.outcome(False, "wrong")
        if _SEQUENCE.fullmatch(squeeze(value)):
            return self.outcome(False, "wrong")
        golds, _ = read(value)
        if not golds:
            if same_words(value, self.answer):
                return self.counted(value, "equivalent")
            return self.outcome(False, "wrong" if is_text(value) else "gold_unparsable")
        if target.others:
            self.context.others = [tree for other in target.others for tree in read(other)[0][:1]]
        return self.by_trees(value, golds)

    def is_wrong_option(self, value: str, others: Sequence[str]) -> bool:
        """Whether the answer is the text of a wrong option, right by a lenience alone: 12 for 12 cm."""
        texts = [other for other in others if squeeze(other) == squeeze(self.answer)]
        return any(
            not (same_answer(value, text, _NO_LENIENCE) and same_answer(text, value, _NO_LENIENCE)) for text in texts
        )

    def by_trees(self, value: str, golds: list[Node]) -> Outcome:
        """The verdict on an answer to a gold that is mathematics."""
        trees, problem = self.answers()
        if not trees:
            if isinstance(golds[0], Name) and same_words(value, self.answer):
                return self.counted(value, "equivalent")
            return self.outcome(False, problem)
        try:
            for tree in trees:
                for gold in golds:
                    reason = compare.match(gold, tree, self.context)
                    if reason:
                        return self.counted(value, reason)
            several = any(compare.is_several(golds[0], tree, self.context) for tree in trees)
        except LimitError:
            return self.outcome(False, "too_long")
        return self.outcome(False, "several_answers" if several else "wrong")

    def counted(self, value: str, reason: str) -> Outcome:
        """A right answer; the value of an option whose letter is the gold counts as a choice."""
        return self.outcome(True, "choice" if value != self.gold and reason != "rounded" else reason)

    def answers(self) -> tuple[list[Node], str]:
        """The readings of the answer; where it is a sentence, what the sentence states."""
        if not self.policy.sentence_in_box and _VERB.search(self.answer):
            return [], "unparsable"
        trees, problem = read_answer(self.answer, decimal_comma=self.policy.decimal_comma)
        if trees or problem == "too_long" or not self.policy.sentence_in_box:
            return trees, problem
        try:
            return [settle(sentence(self.answer), self.context.work)], ""
        except LimitError:
            return [], "too_long"
        except ParseError:
            return [], problem


@lru_cache(maxsize=4096)
def read(gold: str) -> tuple[list[Node], str]:
    """The settled readings of a gold, and the problem where there are none."""
    return _read(gold, is_gold=True)


def read_answer(answer: str, *, decimal_comma: bool = True) -> tuple[list[Node], str]:
    """The settled readings of an answer, and the problem where there are none."""
    return _read(answer, is_gold=False, decimal_comma=decimal_comma)


def _read(text: str, *, is_gold: bool, decimal_comma: bool = True) -> tuple[list[Node], str]:
    trees: list[Node] = []
    try:
        for tree in readings(text, is_gold=is_gold, decimal_comma=decimal_comma):
            trees.append(settle(tree, Work()))
    except LimitError:
        return trees, "" if trees else "too_long"
    except ParseError:
        pass
    return trees, "" if trees else "unparsable"


@lru_cache(maxsize=4096)
def same_answer(a: str, b: str, policy: Policy = _NO_ROUNDING) -> bool:
    """Whether two texts are the same answer exactly (no rounding)."""
    if squeeze(a) == squeeze(b):
        return True
    if not read(a)[0]:
        return same_words(a, b)
    context = Context(policy=policy)
    try:
        return any(compare.match(x, y, context) for x in read(a)[0] for y in read_answer(b)[0])
    except LimitError:
        return False


def asked_decimals(question: str | None, gold: str = "") -> int | None:
    """The decimals that a question asks to round to: 1 for "nearest tenth", 0 for "nearest degree"; None if none.

    Where it asks for several ("angles to the nearest degree and sides to the nearest tenth"), those of the gold.
    Where it asks for whole degrees alone and the gold has decimals, the gold is no angle: None.
    """
    if not question or not _MENTIONS_ROUNDING.search(question):
        return None
    count = _DECIMALS.search(question)
    if count:
        return _COUNTS[count.group(1).lower()]
    found = [match.group(1) or match.group(2) for match in _ROUND.finditer(question)]
    places = [re.sub(r"[-\s]", "", place.lower()) for place in found]
    asked = {_PLACES.get(place, 0) for place in places}
    shown = len(gold.strip().partition(".")[2]) if _NUMBER.fullmatch(gold.strip()) else None
    if len(asked) > 1:
        asked &= set() if shown is None else {shown}
    if shown and set(places) == {"degree"}:  # the gold is not the angle that is to be rounded
        return None
    return asked.pop() if asked else None
