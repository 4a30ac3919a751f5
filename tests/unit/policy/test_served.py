"""A served copy has a head of its own, and is the same function."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.support.readings import prompts_for, random_batch
from uec_vlm.policy import load_policy, save_untied, score


@pytest.mark.parametrize("family", ["qwen2", "qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
@pytest.mark.parametrize("shards", [1, 3])
def test_the_untied_copy_scores_the_same_and_shares_nothing(
    tiny_model: Callable[[str], Path], tmp_path: Path, family: str, shards: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = load_policy(tiny_model(family))
    model = policy.model
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    if shards > 1:
        whole = type(model).save_pretrained
        monkeypatch.setattr(
            type(model), "save_pretrained", lambda self, *a, **k: whole(self, *a, **k, max_shard_size="60KB")
        )
    folder = save_untied(policy, tmp_path / "served")
    assert len(list(folder.glob("*.safetensors"))) >= shards
    again = load_policy(folder)
    head, embeddings = again.model.get_output_embeddings().weight, again.model.get_input_embeddings().weight
    assert head is not embeddings and torch.equal(head, model.get_output_embeddings().weight)
    assert torch.equal(embeddings, model.get_input_embeddings().weight)
    names = [name for file in folder.glob("*.safetensors") for name in load_file(file)]
    assert len(names) == len(set(names)) and "lm_head.weight" in names
    assert json.loads((folder / "config.json").read_text())["tie_word_embeddings"] is False
    batch = random_batch(prompts_for(policy), per_prompt=2, longest=6)
    with torch.no_grad():
        torch.testing.assert_close(
            score(again, batch, temperature=1.0).logprobs, score(policy, batch, temperature=1.0).logprobs,
            rtol=0, atol=1e-6,
        )  # fmt: skip
    assert tied  # else the test would be about nothing
