"""Many completions at once: the fast path in this process, the slow comparisons in parallel workers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from uec_vlm.records import Verdict
from uec_vlm.verifier.grading import Item, Outcome
from uec_vlm.verifier.judging import attempt, settle_pending
from uec_vlm.verifier.policy import DEFAULT_POLICY, Policy
from uec_vlm.verifier.pool import TIMEOUT_S, Pool, shared_pool


def judge_many(
    items: Sequence[Item | Mapping[str, object]],
    *,
    timeout_s: float = TIMEOUT_S,
    batch_timeout_s: float = 30.0,
    workers: int = 2,
    policy: Policy = DEFAULT_POLICY,
) -> list[Verdict]:
    """One verdict per item, in order.

    items: `Item`s, or mappings with the names of its fields. timeout_s: per symbolic comparison.
    batch_timeout_s: for all symbolic comparisons together; what is still open then gets the reason "timeout".
    workers: processes for symbolic comparisons, started only if there are any.
    Equal items are judged once: many rollouts of a prompt say the same.
    """
    asked = [_known_form(item if isinstance(item, Item) else Item(**item)) for item in items]  # type: ignore[arg-type]
    different = list(dict.fromkeys(asked))
    found = _judged(different, timeout_s, batch_timeout_s, workers, policy)
    verdicts = dict(zip(different, found, strict=True))
    return [verdicts[item] for item in asked]


def _known_form(item: Item) -> Item:
    return item if item.choices is None else item._replace(choices=tuple(item.choices))


def _judged(
    items: Sequence[Item], timeout_s: float, batch_timeout_s: float, workers: int, policy: Policy
) -> list[Verdict]:
    outcomes = [attempt(item, policy) for item in items]
    open_places = [place for place, outcome in enumerate(outcomes) if outcome.pending]
    if open_places:
        pool = shared_pool() if workers == 2 else Pool(workers)
        end = time.monotonic() + batch_timeout_s

        def settle(place: int) -> Outcome:
            left = end - time.monotonic()
            if left <= 0:
                return Outcome(False, "timeout", outcomes[place].extracted)
            return settle_pending(outcomes[place], pool, min(timeout_s, left))

        with ThreadPoolExecutor(max_workers=workers) as threads:
            settled = list(threads.map(settle, open_places))
        for place, outcome in zip(open_places, settled, strict=True):
            outcomes[place] = outcome
        if pool is not shared_pool():
            pool.close()
    return [Verdict(outcome.correct, outcome.reason, outcome.extracted) for outcome in outcomes]
