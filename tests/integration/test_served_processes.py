"""Several processes whose rollouts come from a server: it is asked once for each prompt, and given new weights once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.distributed_run import BROKEN, mixed_samples
from tests.support.processes import ABOVE, LIMIT, Outcome, assert_really, assert_same, run, run_to_its_end
from tests.support.vllm_weights import ReadingDouble
from tests.support.worlds import tiny_config
from uec_vlm.policy import load_reader
from uec_vlm.records import Prompt
from uec_vlm.trainer.build import build_renderer

TinyModel = Callable[[str], Path]
Served = tuple[Outcome, ReadingDouble]
# Half of what one optimizer step moves a weight. Adam makes a visible move of a gradient that is all but zero, so that
# rounding shows in single weights.
WITHIN = 5e-5


def prompts_of(model: Path) -> dict[str, Prompt]:
    """The problems of the runs as they are asked, by name."""
    render = build_renderer(load_reader(model), tiny_config(model).data.prompt, cache=0)
    return {sample.id: render(sample) for place, sample in enumerate(mixed_samples()) if place != BROKEN}


@contextmanager
def double_of(model: Path, *, gone_after: int | None = None) -> Iterator[ReadingDouble]:
    reads = {prompt.text: prompt.token_ids.tolist() for prompt in prompts_of(model).values()}
    double = ReadingDouble(reads, end_id=load_reader(model).end_ids[0], gone_after=gone_after)
    yield double
    double.stop()


def above_of(double: ReadingDouble, **settings: Any) -> dict[str, Any]:
    # Under ZeRO a tower that trains would move in an optimizer step without pictures (decision 0006), and others not.
    model = {"device": "cpu", "freeze_vision": True}
    return {**ABOVE, "model": model, "rollout": {"engine": "vllm", "vllm": {"servers": [double.url], **settings}}}


def served(folder: Path, model: Path, engine: str, world: int) -> Served:
    with double_of(model) as double:
        return run(folder, model, engine, world, above=above_of(double)), double


@pytest.fixture(scope="module")
def alone(tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Served:
    outcome, double = served(tmp_path_factory.mktemp("alone"), tiny_model("qwen2_5_vl"), "one", 1)
    assert sum(row["update/optimizer_steps"] for row in outcome.metrics) > 0
    # One hard prompt in a step: with several ranks, one asks for all the extra rollouts and the others for none.
    assert any(row["explore/hard_prompts"] == 1 for row in outcome.metrics)
    pushed = [torch.cat([value.flatten() for value in weights.values()]) for weights in double.pushed]
    assert len(pushed) > 2 and min(float((new - old).abs().max()) for old, new in pairwise(pushed)) > 1.5 * WITHIN
    return outcome, double


@pytest.mark.timeout(LIMIT + 30)
@pytest.mark.parametrize(
    "engine", ["ddp", *(pytest.param(name, marks=pytest.mark.slow) for name in ("zero2", "zero3", "fsdp2"))]
)
def test_two_processes_ask_as_one(engine: str, alone: Served, tiny_model: TinyModel, tmp_path: Path) -> None:
    model = tiny_model("qwen2_5_vl")
    outcome, double = served(tmp_path, model, engine, 2)
    assert_really(outcome, engine, 2)
    assert_same(alone[0], outcome, weights_within=WITHIN)
    texts = {name: prompt.text for name, prompt in prompts_of(model).items()}
    asked = Counter(texts[name] for step in outcome.rows for name, source in groups_of(step))
    assert double.asked == double.answered == asked
    assert len(double.pushed) == len(alone[1].pushed)
    for mine, theirs in zip(alone[1].pushed, double.pushed, strict=True):
        assert mine.keys() == theirs.keys()
        for name, weight in mine.items():
            torch.testing.assert_close(theirs[name], weight, rtol=0, atol=WITHIN)
    pictured = {body["messages"][0]["content"][0]["type"] == "image_url" for body in double.bodies}
    assert pictured == {True, False}


def groups_of(step: list[list[Any]]) -> set[tuple[str, str]]:
    return {(name, source) for name, source, *_ in step if source != "replay"}


@pytest.mark.timeout(LIMIT + 30)
def test_a_server_that_is_gone_for_ever_is_told_in_every_process(tiny_model: TinyModel, tmp_path: Path) -> None:
    model = tiny_model("qwen2_5_vl")
    with double_of(model, gone_after=6) as double:
        above = above_of(double, give_up_after_s=1.0, connect_timeout_s=1.0)
        run_to_its_end(tmp_path, model, "ddp", 2, above=above, fails=True)
        assert double.answered.total() >= 6
    first, second = ((tmp_path / f"outcome.{rank}.txt").read_text() for rank in range(2))
    assert first.startswith("no vLLM server answers, after")
    assert second == f"process 0 of 2 stopped: {first}"
