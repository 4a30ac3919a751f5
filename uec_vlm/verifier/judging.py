"""A completion and a gold in, a verdict out: the public face of the verifier."""

from __future__ import annotations

from collections.abc import Sequence

from uec_vlm.records import Verdict
from uec_vlm.verifier.grading import Item, Outcome, decide
from uec_vlm.verifier.policy import DEFAULT_POLICY, Policy
from uec_vlm.verifier.pool import TIMEOUT_S, Pool, WorkerFailure, WorkerTimeout, shared_pool


def judge(
    response: str,
    gold: str,
    choices: Sequence[str] | None = None,
    *,
    question: str | None = None,
    finish_reason: str | None = None,
    listed: bool = True,
    policy: Policy = DEFAULT_POLICY,
) -> Verdict:
    """Grade the answer of `response` against `gold`. Total and safe on every string, from any thread or process.

    choices: the texts of the options, in order; letters and values stand for one another then. listed: whether the
    prompt showed them with letters; where it did not, a letter names none of them, unless the gold is a letter.
    question: is asked only whether it wants a rounded answer. finish_reason: "length" if the text was cut.
    Work is bounded by counted steps (a few milliseconds); the rare comparison that needs symbolic algebra runs in a
    worker process with a limit of 0.5 s (and about a second more, once, to start it).
    """
    outcome = attempt(Item(response, gold, choices, question, finish_reason, listed), policy)
    if outcome.pending:
        outcome = settle_pending(outcome, shared_pool(), TIMEOUT_S)
    return Verdict(outcome.correct, outcome.reason, outcome.extracted)


def attempt(item: Item, policy: Policy) -> Outcome:
    """`decide`, with every failure of ours reported as "error" instead of raised."""
    try:
        return decide(item, policy)
    except Exception:  # a bug of ours must not stop a training run, and is counted under its own reason
        return Outcome(False, "error", None)


def settle_pending(outcome: Outcome, pool: Pool, timeout_s: float) -> Outcome:
    """Ask the workers about the pairs that are still open; a killed comparison is a "timeout", never a "wrong"."""
    try:
        for gold, answer in outcome.pending:
            if pool.same(gold, answer, timeout_s=timeout_s):
                return Outcome(True, "equivalent", outcome.extracted)
    except WorkerTimeout:
        return Outcome(False, "timeout", outcome.extracted)
    except WorkerFailure:
        return Outcome(False, "error", outcome.extracted)
    return Outcome(False, outcome.reason, outcome.extracted)
