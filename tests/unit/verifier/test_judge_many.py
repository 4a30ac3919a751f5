"""Many completions at once: what is said twice is judged once."""

from __future__ import annotations

from typing import Any

import pytest

from uec_vlm.verifier import Item, batch, judge_many


def test_equal_completions_are_judged_once_and_others_on_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Item] = []

    def counting(item: Item, policy: Any) -> Any:
        seen.append(item)
        return attempt(item, policy)

    attempt = batch.attempt
    monkeypatch.setattr(batch, "attempt", counting)
    right, wrong = Item("\\boxed{2}", "2"), Item("\\boxed{3}", "2")
    by_letter = Item("\\boxed{B}", "2", ["1", "2"])
    items = [
        right,
        wrong,
        right,
        right._replace(gold="3"),
        by_letter,
        by_letter._replace(choices=("2", "1")),
        by_letter,
    ]
    verdicts = judge_many(items)
    assert [verdict.correct for verdict in verdicts] == [True, False, True, False, True, False, True]
    assert len(seen) == 5
