"""Where the labelled cases and the real problems are, and a clear skip where they are not."""

import json
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(__file__).resolve().parents[3] / ".." / "shared"


def labelled_cases(name: str) -> list[dict[str, Any]]:
    """The rows of a file of labelled answers."""
    path = SHARED / "verifier" / name
    if not path.is_file():
        pytest.skip(f"the labelled cases {name} are not beside this checkout")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def real_problems() -> list[dict[str, Any]]:
    """The real Geometry3K problems: id, choices, the place of the right one, the question."""
    folder = SHARED / "data" / "geometry3k_raw"
    if not folder.is_dir():
        pytest.skip("the real Geometry3K problems are not beside this checkout")
    problems = []
    for path in sorted(folder.glob("*/*/data.json")):
        raw = json.loads(path.read_text(encoding="utf-8"))
        right = "ABCD".index(raw["answer"])
        problems.append({"id": raw["id"], "choices": raw["choices"], "right": right, "question": raw["annotat_text"]})
    return problems


def exact_golds() -> list[str]:
    """The answers of the FormalGeo annotation: exact values as sympy prints them."""
    path = SHARED / "data" / "geometry3k_answers_only" / "rows.jsonl"
    if not path.is_file():
        pytest.skip("the exact answers are not beside this checkout")
    return [json.loads(line)["problem_answer"] for line in path.read_text(encoding="utf-8").splitlines()]
