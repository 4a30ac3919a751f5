"""What the benchmarks are made of: the picture takes the tokens asked for, and turns alternate."""

import json
from pathlib import Path

import pytest

from benchmarks import common
from benchmarks.common import TINY, alternate, build_policy, make_prompts, make_samples, markdown, medians, save_results


@pytest.mark.parametrize("image_tokens", [16, 144])
def test_a_prompt_has_the_image_tokens_asked_for(image_tokens: int) -> None:
    policy = build_policy(TINY)
    for prompt in make_prompts(policy, 2, image_tokens=image_tokens):
        assert int((prompt.token_ids == policy.processor.image_token_id).sum()) == image_tokens


def test_a_picture_that_is_no_square_of_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="image_tokens = 140"):
        make_samples(1, image_tokens=140)


def test_sides_take_turns_and_warm_runs_do_not_count() -> None:
    calls: list[str] = []
    seconds = alternate({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, runs=3, warm=2)
    assert "".join(calls) == "ab" * 5
    assert [len(values) for values in seconds.values()] == [3, 3]
    assert medians({"a": [3.0, 1.0, 2.0]}) == {"a": 2.0}


def test_results_are_written_with_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(common, "RESULTS", tmp_path / "results")
    rows = [{"case": "n = 8", "seconds": 0.123456, "note": None}]
    found = json.loads(save_results("trial", rows, settings={"runs": 5}).read_text())
    assert found["rows"] == rows and found["settings"] == {"runs": 5} and found["machine"]["threads"] >= 1
    assert markdown(rows).splitlines()[-1] == "| n = 8 | 0.123 |  |"
