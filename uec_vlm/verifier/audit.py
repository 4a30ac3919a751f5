"""An audit of golds before training: what cannot be read, what collides, what needs rounding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from uec_vlm.verifier.extract import gold_text
from uec_vlm.verifier.grading import Item, asked_decimals, compare_texts, read
from uec_vlm.verifier.nodes import Num
from uec_vlm.verifier.options import LETTERS
from uec_vlm.verifier.policy import DEFAULT_POLICY, Policy
from uec_vlm.verifier.values import split_unit
from uec_vlm.verifier.wording import is_text

Row = tuple[str, str, Sequence[str] | None, str | None]


@dataclass(frozen=True)
class Finding:
    """One thing to look at. kind: a key of `AuditReport.KINDS`."""

    id: str
    kind: str
    detail: str


@dataclass(frozen=True)
class AuditReport:
    """What an audit found.

    rows: how many golds were read. numbers, texts: how many are numbers or other mathematics, and how many are words.
    findings: in the order of the rows.
    """

    rows: int
    numbers: int
    texts: int
    findings: tuple[Finding, ...]

    def counts(self) -> dict[str, int]:
        """How many findings of each kind, kinds without any included."""
        return {kind: sum(finding.kind == kind for finding in self.findings) for kind in KINDS}

    def lines(self, examples: int = 20) -> list[str]:
        """The report as text, with at most `examples` findings of each kind."""
        out = [f"{self.rows} golds: {self.numbers} mathematics, {self.texts} words"]
        for kind, meaning in KINDS.items():
            found = [finding for finding in self.findings if finding.kind == kind]
            out.append(f"{kind}: {len(found)} ({meaning})")
            out += [f"    {finding.id}: {finding.detail}" for finding in found[:examples]]
            if len(found) > examples:
                out.append(f"    ... and {len(found) - examples} more")
        return out


KINDS: dict[str, str] = {
    "unparsable": "no mathematics that the verifier knows and no words; no answer but the same text can be right",
    "refused": "the gold in a box is not graded right",
    "not_an_option": "the gold is none of the options",
    "colliding_options": "two options that the tolerance cannot tell apart; the question cannot be graded",
    "needs_rounding": "the question asks for a rounded value: exact answers count only by the rounding rules",
}


def audit_golds(rows: Iterable[Row], *, policy: Policy = DEFAULT_POLICY) -> AuditReport:
    """Check golds given as (id, gold, options or None, question or None)."""
    findings: list[Finding] = []
    count = numbers = texts = 0
    for row_id, gold, choices, question in rows:
        count += 1
        meant = _meant(gold, choices)
        trees, _ = read(gold_text(meant))
        numbers += bool(trees)
        words = not trees and is_text(meant)
        texts += words
        if not trees and not words:
            findings.append(Finding(row_id, "unparsable", repr(gold)))
        elif not compare_texts(Item(meant, gold, choices, question), policy).correct:
            findings.append(Finding(row_id, "refused", repr(gold)))
        findings += _option_findings(row_id, gold, choices, question, policy)
        if trees and _needs_rounding(meant, question):
            findings.append(Finding(row_id, "needs_rounding", f"{gold!r}, {asked_decimals(question)} decimals asked"))
    return AuditReport(count, numbers, texts, tuple(findings))


def _meant(gold: str, choices: Sequence[str] | None) -> str:
    """The text of the right option where the gold is its letter."""
    letter = gold.strip()
    if choices and len(letter) == 1 and letter in LETTERS[: len(choices)] and letter not in choices:
        return choices[LETTERS.index(letter)]
    return gold


def _option_findings(
    row_id: str, gold: str, choices: Sequence[str] | None, question: str | None, policy: Policy
) -> list[Finding]:
    if not choices:
        return []
    findings = []
    meant = _meant(gold, choices)
    if not any(compare_texts(Item(meant, choice), policy).correct for choice in choices):
        findings.append(Finding(row_id, "not_an_option", f"{gold!r} among {list(choices)!r}"))
    for place, first in enumerate(choices):
        for second in choices[place + 1 :]:
            # without options, as the answer to an open question is graded
            if (
                compare_texts(Item(second, first, None, question), policy).correct
                or compare_texts(Item(first, second, None, question), policy).correct
            ):
                findings.append(Finding(row_id, "colliding_options", f"{first!r} and {second!r}"))
    return findings


def _needs_rounding(gold: str, question: str | None) -> bool:
    asked = asked_decimals(question)
    if asked is None:
        return False
    value = split_unit(read(gold_text(gold))[0][0])[0]
    return isinstance(value, Num)
