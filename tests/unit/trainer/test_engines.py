"""The preflight finds an engine that samples from other weights than the policy's, old ones included."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.support.worlds import tiny_circle, tiny_config
from uec_vlm.engine_sections import GapSection, VLLMSection
from uec_vlm.errors import ConfigError, EngineError
from uec_vlm.policy import load_policy, prefill
from uec_vlm.rollouts.hf import HFEngine
from uec_vlm.trainer.build import build_policy
from uec_vlm.trainer.engines import halved, picture_encoder, preflight

TinyModel = Callable[[str], Path]
LIMITS = GapSection(prompts=2, completions=2, max_new_tokens=6)


class KeepsItsWeights(HFEngine):
    """An engine into which new weights do not arrive."""

    def load_weights(self, policy: Any, *, version: int | None = None) -> None:
        super().load_weights(self._policy, version=version)


def test_an_engine_with_the_weights_of_the_policy_passes(tiny_model: TinyModel) -> None:
    circle = tiny_circle(tiny_model("qwen2_5_vl"))
    before = {name: value.clone() for name, value in circle.policy.model.state_dict().items()}
    gaps = preflight(circle, LIMITS)
    assert len(gaps) == 2 and max(gap.largest for gap in gaps) < 1e-4 and min(gap.tokens for gap in gaps) == 24
    assert all(torch.equal(value, before[name]) for name, value in circle.policy.model.state_dict().items())
    assert len(preflight(circle, LIMITS.model_copy(update={"prove_push": False}))) == 1


def test_an_engine_that_keeps_its_weights_is_found_only_by_the_proof(tiny_model: TinyModel) -> None:
    folder = tiny_model("qwen2_5_vl")
    circle = replace(tiny_circle(folder), engine=KeepsItsWeights(load_policy(folder), prefill))
    with pytest.raises(EngineError, match=r"after halved weights were given .*do not arrive whole.*untie_head"):
        preflight(circle, LIMITS)
    preflight(circle, LIMITS.model_copy(update={"prove_push": False}))  # why there is a proof


def test_an_engine_of_another_model_is_refused(tiny_model: TinyModel) -> None:
    folder = tiny_model("qwen2_5_vl")
    other = load_policy(folder)
    with torch.no_grad():
        other.model.get_output_embeddings().weight.mul_(1.5)
    circle = replace(tiny_circle(folder), engine=KeepsItsWeights(other, prefill))
    with pytest.raises(
        EngineError, match=r"training starts from: the (median|p99) of the gap over \d+ tokens is .* nats"
    ):
        preflight(circle, LIMITS.model_copy(update={"prove_push": False}))


def test_halving_is_undone_exactly_also_after_an_error(tiny_model: TinyModel) -> None:
    circle = tiny_circle(tiny_model("qwen2_5_vl"))
    policy = circle.policy
    before = {name: value.clone() for name, value in policy.model.named_parameters()}
    with pytest.raises(RuntimeError), halved(circle.learner):
        assert all(torch.equal(value * 2, before[name]) for name, value in policy.model.named_parameters())
        raise RuntimeError
    assert all(torch.equal(value, before[name]) for name, value in policy.model.named_parameters())


def test_pictures_are_sent_as_the_policy_sees_them(tiny_model: TinyModel) -> None:
    config = tiny_config(tiny_model("qwen2_5_vl"))
    circle = tiny_circle(tiny_model("qwen2_5_vl"))
    policy = build_policy(config.model, config.data.prompt, device="cpu")
    prompt = circle.render(circle.samples[0])
    sent = picture_encoder(policy, config.data.prompt)(prompt)
    seen = policy.processor.image_processor([Image.open(io.BytesIO(sent[0]))], return_tensors="pt")
    assert torch.equal(seen["image_grid_thw"], prompt.image_grid_thw)
    assert torch.equal(seen["pixel_values"], prompt.pixel_values)


SECTION_FAULTS = [
    ({"engine": "vllm"}, "needs a section vllm"),
    ({"engine": "vllm", "vllm": {}}, "give either servers .* or start"),
    ({"engine": "vllm", "vllm": {"servers": ["http://localhost:1"], "start": {}}}, "give either servers"),
    ({"engine": "vllm", "vllm": {"servers": ["localhost:1"]}}, "write http://HOST:PORT"),
    ({"engine": "vllm", "vllm": {"servers": ["http://node1:1"]}}, "set weights_dir to a folder that both see"),
    ({"engine": "vllm", "vllm": {"servers": ["http://localhost:1"] * 2}}, "names one twice"),
    ({"engine": "vllm", "vllm": {"servers": ["http://localhost:1"], "attempts": 0}}, "attempts = 0"),
]


@pytest.mark.parametrize(("section", "told"), SECTION_FAULTS)
def test_sections_that_cannot_work_are_refused(tiny_model: TinyModel, section: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        tiny_config(tiny_model("qwen2_5_vl"), rollout=section)


def test_several_processes_and_a_missing_key_are_refused(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = {"servers": ["http://localhost:1"], "api_key_variable": "NO_SUCH_KEY"}
    rollout = {"engine": "vllm", "vllm": section}
    with pytest.raises(ConfigError, match=r"NO_SUCH_KEY.*no such variable"):
        tiny_circle(tiny_model("qwen2_5_vl"), rollout=rollout)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="each would train alone"):
        tiny_circle(tiny_model("qwen2_5_vl"), rollout=rollout)
    assert VLLMSection(**section).gap.prove_push
