"""The rows of a step: every source, the reason for each, and the text of every token."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.worlds import tiny_circle
from uec_vlm.dumps import COLUMNS
from uec_vlm.trainer.build import first_state
from uec_vlm.trainer.dump import text_pieces
from uec_vlm.trainer.loop import train


@pytest.fixture(scope="module")
def rows(tiny_model: Any) -> list[dict[str, Any]]:
    circle = tiny_circle(tiny_model("qwen2_5_vl"), run={"steps": 6})
    return [dict(row) for turn in train(circle, first_state(), last_step=6) for row in turn.rows]


def test_the_rows_have_exactly_the_documented_columns(rows: Any) -> None:
    assert all(sorted(row) == sorted(column.name for column in COLUMNS) for row in rows)


def test_a_reason_says_of_each_row_why_it_is_trained_on_or_not(rows: Any) -> None:
    assert all(row["kept"] == (row["why"] in ("kept", "replayed")) for row in rows)
    regular = [row for row in rows if row["source"] == "regular"]
    assert all(row["advantage"] == 0 for row in regular if row["why"] == "no_advantage")
    assert {row["why"] for row in regular} == {"kept", "no_advantage"}


def test_replayed_trajectories_are_rows_with_their_age_uses_and_scores(rows: Any) -> None:
    replayed = [row for row in rows if row["source"] == "replay"]
    assert replayed
    assert all(row["born"] <= row["step"] and row["uses"] >= 1 and row["why"] == "replayed" for row in replayed)
    assert any(row["born"] < row["step"] for row in replayed)
    assert all(len(row["entropies"]) == len(row["token_ids"]) == len(row["logprobs"]) for row in replayed)


def test_hard_prompts_are_told_by_their_regular_rollouts(rows: Any) -> None:
    for row in (row for row in rows if row["source"] == "regular"):
        own = [
            r["correct"] for r in rows if (r["step"], r["source"], r["group"]) == (row["step"], "regular", row["group"])
        ]
        assert row["prompt_accuracy"] == sum(own) / len(own)
    assert all(row["prompt_accuracy"] == 0 for row in rows if row["source"] == "extra")


def test_groups_that_dynamic_sampling_sets_aside_are_named(tiny_model: Any) -> None:
    circle = tiny_circle(tiny_model("qwen2_5_vl"), "dapo", run={"steps": 1})
    turn = next(train(circle, first_state(), last_step=1))
    aside = {row["group"] for row in turn.rows if row["why"] == "dynamic_sampling"}
    assert aside
    for group in aside:
        assert len({row["correct"] for row in turn.rows if row["group"] == group}) == 1 or len(turn.chosen) > 4


class _Bytes:
    """A tokenizer whose tokens are bytes."""

    def decode(self, ids: list[int], **_: Any) -> str:
        return bytes(ids).decode(errors="replace")


@pytest.mark.parametrize("text", ["x = 48°", "角度 90", "🙂!", ""])
def test_pieces_join_to_the_text_and_a_split_character_is_whole(text: str) -> None:
    ids = list(text.encode())
    pieces = text_pieces(ids, _Bytes())
    assert len(pieces) == len(ids)
    assert "".join(pieces) == text


def test_bytes_that_are_no_text_stay_where_they_are() -> None:
    assert text_pieces([0xFF, 0x41], _Bytes()) == ["\ufffdA", ""] or text_pieces([0xFF, 0x41], _Bytes())[-1] == "A"
    assert len(text_pieces([0xFF] * 9, _Bytes())) == 9
