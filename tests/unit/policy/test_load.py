"""Checkpoint folders in and out, adapters, freezing, refusals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from tests.support.readings import prompts_for, random_batch
from uec_vlm.batches import PromptSettings, render
from uec_vlm.errors import ModelError
from uec_vlm.policy import LoraSettings, Policy, load_policy, save_policy, save_untied, score

TinyModel = Callable[[str], Path]


def scores_of(policy: Policy) -> torch.Tensor:
    with torch.no_grad():
        return score(policy, random_batch(prompts_for(policy), per_prompt=2, longest=6), temperature=1.0).logprobs


def test_end_and_banned_tokens_come_from_the_checkpoint(tiny_model: TinyModel) -> None:
    policy = load_policy(tiny_model("qwen3_vl"))
    names = policy.tokenizer.convert_ids_to_tokens(list(policy.banned_ids))
    assert set(names) == {"<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"}
    assert set(policy.tokenizer.convert_ids_to_tokens(list(policy.end_ids))) == {"<|im_end|>", "<|endoftext|>"}
    assert load_policy(tiny_model("qwen3")).banned_ids == ()


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_features_are_kept_only_for_a_model_that_takes_them(
    family: str, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older transformers swallows the argument: the model would be trained blind."""
    policy = load_policy(tiny_model(family), picture_mib=1)
    assert policy.pictures is not None

    def older(self: Any, input_ids: Any = None, pixel_values: Any = None, **kwargs: Any) -> None: ...

    monkeypatch.setattr(type(policy.model.model), "forward", older)
    assert load_policy(tiny_model(family), picture_mib=1).pictures is None


def test_pixel_limits_are_kept_in_the_saved_processor(tiny_model: TinyModel, tmp_path: Path) -> None:
    policy = load_policy(tiny_model("qwen2_5_vl"), min_pixels=20 * 784, max_pixels=30 * 784)
    sample = prompts_for(policy)[0].sample
    tokens = [int((p.token_ids == policy.processor.image_token_id).sum()) for p in prompts_for(policy)[:2]]
    assert 20 <= tokens[0] <= 30 and 40 <= tokens[1] <= 60
    again = load_policy(save_policy(policy, tmp_path / "saved"))
    assert dict(again.processor.image_processor.size)["longest_edge"] == 30 * 784
    assert torch.equal(
        render(sample, again.processor, PromptSettings()).pixel_values,
        render(sample, policy.processor, PromptSettings()).pixel_values,
    )
    with pytest.raises(ModelError, match="min_pixels = 9, max_pixels = 5"):
        load_policy(tiny_model("qwen2_5_vl"), min_pixels=9, max_pixels=5)


def test_the_same_weights_from_another_file_lie_as_well_in_memory(tiny_model: TinyModel, tmp_path: Path) -> None:
    """A file's header shifts what it holds; products of factors that lie elsewhere are rounded otherwise."""
    for number, note in enumerate(("", "x", "a longer remark", "one that is longer still, by a few bytes")):
        folder = tmp_path / str(number)
        shutil.copytree(tiny_model("qwen2_5_vl"), folder)
        weights = load_file(folder / "model.safetensors")
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt", "remark": note})
        model = load_policy(folder).model
        assert {parameter.data_ptr() % 64 for parameter in model.parameters()} == {0}


def test_a_frozen_tower_gets_no_gradient_and_the_rest_does(tiny_model: TinyModel) -> None:
    policy = load_policy(tiny_model("qwen2_5_vl"), freeze_vision=True)
    batch = random_batch(prompts_for(policy), per_prompt=1, longest=4)
    score(policy, batch, temperature=1.0).logprobs.sum().backward()
    with_gradient = {name for name, parameter in policy.model.named_parameters() if parameter.grad is not None}
    names = {name for name, _ in policy.model.named_parameters()}
    assert with_gradient == {name for name in names if "visual" not in name} != names


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl", "llama"])
def test_an_adapter_can_be_switched_off_and_is_merged_when_saved(
    tiny_model: TinyModel, family: str, tmp_path: Path
) -> None:
    base = scores_of(load_policy(tiny_model(family)))
    policy = load_policy(tiny_model(family), lora=LoraSettings(rank=4, alpha=8.0))
    assert policy.has_adapter
    torch.testing.assert_close(scores_of(policy), base, rtol=0, atol=1e-6)
    generator = torch.Generator().manual_seed(0)
    trained = {name: p for name, p in policy.model.named_parameters() if p.requires_grad}
    # Seven linear layers in each of the three blocks of the language model, two matrices each; nothing of the tower.
    assert len(trained) == 3 * 7 * 2 and not any("visual" in name for name in trained)
    with torch.no_grad():
        for parameter in trained.values():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    adapted = scores_of(policy)
    assert float((adapted - base).abs().max()) > 0.1
    with policy.without_adapter():
        torch.testing.assert_close(scores_of(policy), base, rtol=0, atol=1e-6)
    before = {name: value.clone() for name, value in policy.model.state_dict().items()}
    saved = load_policy(save_policy(policy, tmp_path / "saved"))
    assert not saved.has_adapter
    torch.testing.assert_close(scores_of(saved), adapted, rtol=0, atol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in policy.model.state_dict().items())
    torch.testing.assert_close(scores_of(policy), adapted, rtol=0, atol=0)


def test_an_adapter_trains_under_gradient_checkpointing(tiny_model: TinyModel) -> None:
    policy = load_policy(tiny_model("qwen2_5_vl"), lora=LoraSettings(rank=2), gradient_checkpointing=True)
    policy.model.train()
    score(policy, random_batch(prompts_for(policy), per_prompt=1, longest=4), temperature=1.0).logprobs.sum().backward()
    gradients = {name: p.grad for name, p in policy.model.named_parameters() if p.requires_grad}
    # The second matrix starts at zero, so the first has no gradient yet.
    assert all(bool(gradient.any()) for name, gradient in gradients.items() if "lora_B" in name)


def test_without_an_adapter_switching_it_off_does_nothing(tiny_model: TinyModel) -> None:
    policy = load_policy(tiny_model("qwen2"))
    with policy.without_adapter():
        assert torch.equal(scores_of(policy), scores_of(policy))


def test_the_precision_is_chosen_by_name(tiny_model: TinyModel) -> None:
    assert next(load_policy(tiny_model("qwen2"), dtype="bfloat16").model.parameters()).dtype == torch.bfloat16
    with pytest.raises(ModelError, match="dtype = 'half': not a known precision"):
        load_policy(tiny_model("qwen2"), dtype="half")


def test_what_cannot_be_loaded_is_refused_with_the_reason(tiny_model: TinyModel, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no such folder"):
        load_policy(tmp_path / "absent")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ModelError, match="its configuration cannot be read"):
        load_policy(empty)
    transformers.GPT2Config(n_layer=1).save_pretrained(tmp_path / "gpt2")
    with pytest.raises(ModelError, match=r"the family 'gpt2' is not supported. Supported: qwen2_vl, .*, mistral"):
        load_policy(tmp_path / "gpt2")
    transformers.Qwen2Config(use_sliding_window=True, max_window_layers=0).save_pretrained(tmp_path / "sliding")
    with pytest.raises(ModelError, match="sliding-window attention"):
        load_policy(tmp_path / "sliding")
    transformers.MistralConfig(sliding_window=4096).save_pretrained(tmp_path / "mistral")
    with pytest.raises(ModelError, match="sliding-window attention"):
        load_policy(tmp_path / "mistral")
    transformers.Qwen3_5Config().save_pretrained(tmp_path / "qwen3_5")
    with pytest.raises(ModelError, match=r"family 'qwen3_5' is not supported \(its linear-attention layers keep"):
        load_policy(tmp_path / "qwen3_5")
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_text((tiny_model("qwen2") / "config.json").read_text())
    with pytest.raises(ModelError, match="its weights cannot be loaded"):
        load_policy(bare)


@pytest.mark.parametrize(
    ("name", "told"),
    [("nope", r"the Hub could not be asked \("), ("no pe", r"the Hub has no such model to read \(Repo")],
)
def test_a_name_is_no_folder_and_the_hub_was_tried(name: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=rf"model '{name}': there is no such folder, and {told}.*\. Give a folder"):
        load_policy(name)


def test_whoever_may_read_the_folder_may_read_the_weights(tiny_model: TinyModel, tmp_path: Path) -> None:
    """safetensors 0.8 writes for the owner alone: a server of another user would not find the model."""
    policy = load_policy(tiny_model("qwen2"), lora=LoraSettings(rank=2))
    for folder, mode in (("all", 0o755), ("group", 0o770), ("own", 0o700)):
        target = tmp_path / folder
        target.mkdir()
        target.chmod(mode)
        save_policy(policy, target, lora="both")
        weights = [target / "model.safetensors", target / "adapter" / "adapter_model.safetensors"]
        assert [oct(file.stat().st_mode & 0o777) for file in weights] == [oct(mode & 0o666)] * 2
    save_untied(policy, tmp_path / "all")
    assert (tmp_path / "all" / "model.safetensors").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_weights_that_were_cut_off_are_named(share: float, tiny_model: TinyModel, tmp_path: Path) -> None:
    whole = load_policy(tiny_model("qwen2"), lora=LoraSettings(rank=2))
    for folder, name in (
        (save_policy(whole, tmp_path / "merged"), "model.safetensors"),
        (save_policy(whole, tmp_path / "adapter", lora="adapter"), "adapter_model.safetensors"),
    ):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * share)])
        with pytest.raises(ModelError, match=rf"/{name} is not a whole weight file \(.*\)\. Copy it again\."):
            load_policy(folder)


def test_the_tokenizer_s_end_token_counts_and_one_there_must_be(tiny_model: TinyModel, tmp_path: Path) -> None:
    folder = save_policy(load_policy(tiny_model("qwen2")), tmp_path / "saved")
    for name in ("generation_config.json", "config.json"):
        settings = json.loads((folder / name).read_text())
        settings.pop("eos_token_id", None)
        (folder / name).write_text(json.dumps(settings))
    assert load_policy(folder).end_ids == (258,)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "eos_token": None}))
    with pytest.raises(ModelError, match="no end token"):
        load_policy(folder)
