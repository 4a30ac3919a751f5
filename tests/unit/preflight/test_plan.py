"""The plan: weights and saved activations against real ones, micro-batches, layouts, and what is missing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import DynamicCache
from typer.testing import CliRunner

from data_prep.write import split_writer
from tests.support.readings import prompts_for
from tests.support.tiny_models import TINY_FAMILIES
from uec_vlm.cli import app
from uec_vlm.config import RunConfig, config_folder, load_config
from uec_vlm.policy import LoraSettings, load_policy
from uec_vlm.policy import load_config as load_model_config
from uec_vlm.preflight.calibrate import Pace, evaluated_completions, replayed_trajectories
from uec_vlm.preflight.memory import LAYOUTS, predict_memory, shape_of, trainable_weights
from uec_vlm.preflight.plan import Prompts, largest_load
from uec_vlm.preflight.saved import saved_by_layer, saved_by_tower
from uec_vlm.records import Sample

TinyModel = Callable[[str], Path]
ROOT = Path(__file__).resolve().parents[3]
QUICKSTART = ROOT / "configs" / "quickstart.yaml"
NOTHING = {field.name: 0 for field in fields(Pace)}


def config_with(**sections: dict[str, Any]) -> RunConfig:
    overrides = [
        f"{section}.{key}={json.dumps(value)}" for section, keys in sections.items() for key, value in keys.items()
    ]
    return load_config(QUICKSTART, overrides)


def really_saved(forward: Callable[[], Any], own: Iterable[torch.Tensor]) -> int:
    """Bytes that autograd saves in a forward pass, each storage once, without those of `own`."""
    sizes: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        sizes[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = forward()
    known = {tensor.untyped_storage()._cdata for tensor in own}
    assert output is not None
    return sum(size for key, size in sizes.items() if key not in known)


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl_moe", "llama"])
def test_weights_are_counted_without_storage(tiny_model: TinyModel, family: str) -> None:
    shape = shape_of(load_model_config(tiny_model(family)))
    policy = load_policy(tiny_model(family), freeze_vision=True)
    assert shape.weights == sum(p.numel() for p in policy.model.parameters())
    trained = sum(p.numel() for p in policy.model.parameters() if p.requires_grad)
    assert trainable_weights(shape, config_with(model={"freeze_vision": True}).model) == trained
    adapted = load_policy(tiny_model(family), lora=LoraSettings(rank=4))
    wanted = sum(p.numel() for p in adapted.model.parameters() if p.requires_grad)
    assert trainable_weights(shape, config_with(model={"lora": {"rank": 4}}).model) == wanted


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3", "llama"])
@pytest.mark.parametrize("past", [0, 11])
def test_what_a_layer_saves_is_what_a_real_layer_saves(tiny_model: TinyModel, family: str, past: int) -> None:
    policy = load_policy(tiny_model(family))
    backbone: Any = policy.model.model
    layer = getattr(backbone, "language_model", backbone).layers[0]
    states, rotary = torch.randn(3, 7, 48, requires_grad=True), (torch.randn(3, 7, 12),) * 2
    mask, cache = torch.ones(3, 1, 7, 7 + past, dtype=torch.bool), DynamicCache()
    if past:
        cache.update(torch.randn(3, 2, past, 12), torch.randn(3, 2, past, 12), 0)
    real = really_saved(
        lambda: layer(states, attention_mask=mask, position_embeddings=rotary, past_key_values=cache),
        (*layer.parameters(), *rotary, mask),
    )
    predicted = saved_by_layer(load_model_config(tiny_model(family)), 3, 7, past=past, width=4)
    assert predicted == real


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe"])
def test_what_a_tower_saves_is_what_a_real_tower_saves(tiny_model: TinyModel, family: str) -> None:
    policy = load_policy(tiny_model(family))
    tower: Any = policy.model.model.visual
    vision = policy.model.config.vision_config
    numbers = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    pixels, grid = torch.zeros(16 * 12, numbers), torch.tensor([[1, 16, 12]])
    real = really_saved(lambda: tower(pixels, grid), tower.parameters())
    told = saved_by_tower(load_model_config(tiny_model(family)), width=4)
    assert told * 16 * 12 == pytest.approx(real, rel=0.02)
    assert saved_by_tower(load_model_config(tiny_model(family)), width=4, checkpointed=True) < told


def test_pictures_and_prefixes_that_are_kept_are_counted(tiny_model: TinyModel) -> None:
    folder = tiny_model("qwen2_5_vl")
    shape, policy = shape_of(load_model_config(folder)), load_policy(folder, freeze_vision=True, picture_mib=1)
    pictured = next(prompt for prompt in prompts_for(policy) if len(prompt.image_grid_thw) == 1)
    prompts = [replace(pictured, pixel_values=pictured.pixel_values.clone()) for _ in range(3)]
    assert policy.pictures is not None
    policy.pictures(policy.model, prompts)

    def need(tower: dict[str, Any], **sections: dict[str, Any]) -> Any:
        config = config_with(model={"picture_mib": 1, **tower}, **sections)
        asked = Prompts(50, 50, prompts[0].pixel_values.numel(), 1)
        load = replace(largest_load(config, asked), kept_prompts=3)
        return predict_memory(shape, config, load, layout=LAYOUTS["zero3"], processes=1, reference=False)

    frozen, trained = need({"freeze_vision": True}), need({"freeze_vision": False})
    assert (frozen.pictures, trained.pictures) == (policy.pictures.nbytes, 0)
    assert trained.activations > frozen.activations
    explored = need({"freeze_vision": True}, rollout={"prefix_mib": 1})
    plain = need({"freeze_vision": True}, rollout={"prefix_mib": 0})
    assert explored.cache - plain.cache == min(24 * 50 * shape.cache_width * 4, 2**20) > 0


def test_the_largest_micro_batch_fills_its_budget() -> None:
    config = config_with(
        rollout={"prompts_per_step": 24, "completions_per_prompt": 5, "max_new_tokens": 100},
        update={"sequences_per_optimizer_step": 60, "micro_batch_tokens": 2000},
    )
    prompts = Prompts(mean=80.0, longest=100, numbers=1000.0, measured=4)
    # A group takes 100 + 5 * 100 tokens, so three fit into 2000.
    load = largest_load(config, prompts)
    assert (load.prompts, load.prompt_tokens, load.completions, load.completion_tokens) == (3, 100, 15, 100)
    tight = config.model_copy(update={"update": config.update.model_copy(update={"micro_batch_tokens": 350})})
    assert (largest_load(tight, prompts).prompts, largest_load(tight, prompts).completions) == (1, 2)
    roomy = config.model_copy(update={"update": config.update.model_copy(update={"micro_batch_tokens": 10**6})})
    assert largest_load(roomy, prompts).completions == 60, "no more than an optimizer step has"
    pace = a_pace(completion_tokens=20.0, longest_completion=40)
    assert largest_load(config, prompts, pace).completion_tokens == 40


def test_layouts_cut_what_they_say(tiny_model: TinyModel) -> None:
    shape = shape_of(load_model_config(tiny_model("qwen2")))
    config = config_with(model={"dtype": "bfloat16"})
    load = replace(largest_load(config, Prompts(10, 10, 0, 1)), cached_tokens=0)
    need = {
        name: predict_memory(shape, config, load, layout=layout, processes=4, reference=False)
        for name, layout in LAYOUTS.items()
    }
    weights = shape.weights * 2
    assert need["ddp"].weights == need["zero2"].weights == need["ddp"].gradients == weights
    assert need["zero2"].gradients == weights // 4 and need["ddp"].optimizer == 2 * weights
    # DeepSpeed keeps 32-bit weights and moments: 12 bytes a weight.
    assert need["zero2"].optimizer == need["zero3"].optimizer == shape.weights * 12 // 4
    assert need["zero3"].weights == weights // 4 + weights // shape.layers
    # FSDP2 shards float32 weights, with gradients and moments of float32, and gathers a layer in 16 bits.
    assert need["fsdp2"].weights == shape.weights + weights // shape.layers
    assert (need["fsdp2"].gradients, need["fsdp2"].optimizer) == (shape.weights, 2 * shape.weights)
    assert (need["offload"].gradients, need["offload"].optimizer, need["offload"].step) == (0, 0, 0)
    # DeepSpeed's optimizer step: gradients in 32 bits and one more copy, of all (ZeRO-2) or of at most a sub-group.
    assert need["zero2"].step == shape.weights // 4 * 6
    several = replace(shape, weights=5 * 10**9)
    held = predict_memory(several, config, load, layout=LAYOUTS["zero3"], processes=1, reference=False)
    assert held.step == 8 * 10**9
    assert replace(held, activations=0, head=0, cache=0).peak == several.weights * 16 + held.step
    assert need["offload"].host == weights // 4 + shape.weights * 12 // 4
    # Shards are sampled with by a whole copy, unless servers sample.
    assert (need["zero2"].replica, need["zero3"].replica) == (0, weights)
    served = config.model_copy(update={"rollout": config.rollout.model_copy(update={"engine": "vllm"})})
    away = predict_memory(shape, served, load, layout=LAYOUTS["zero3"], processes=4, reference=False)
    assert (away.replica, away.cache) == (0, 0) and away.peak < need["zero2"].peak


def test_checkpointing_and_adapters_need_less(tiny_model: TinyModel) -> None:
    shape = shape_of(load_model_config(tiny_model("qwen2_5_vl")))

    def need(**model: Any) -> Any:
        config = config_with(model=model)
        load = largest_load(config, Prompts(50, 50, 0, 1))
        return predict_memory(shape, config, load, layout=LAYOUTS["ddp"], processes=1, reference=True)

    assert need(gradient_checkpointing=True).activations < need().activations
    adapted = need(lora={"rank": 2})
    assert adapted.optimizer < need().optimizer and adapted.reference == 0 < need().reference
    offloaded = need(reference="offloaded")
    assert offloaded.reference == 0 and offloaded.host == need().host + need().reference
    assert need().peak - need().reference <= offloaded.peak < need().peak


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3"])
def test_four_bit_weights_are_predicted_as_they_are(tiny_model: TinyModel, family: str) -> None:
    pytest.importorskip("bitsandbytes")
    config = config_with(model={"lora": {"rank": 2}, "quantization": "nf4"})
    shape = shape_of(load_model_config(tiny_model(family)))
    load = largest_load(config, Prompts(50, 50, 0, 1))
    told = predict_memory(shape, config, load, layout=LAYOUTS["ddp"], processes=1, reference=True).weights
    model = load_policy(tiny_model(family), lora=LoraSettings(rank=2), quantization="nf4").model
    real = 0
    for name, parameter in model.named_parameters():
        state = getattr(parameter, "quant_state", None)
        own = [parameter] if "lora_" not in name else []
        own += [state.absmax, state.state2.absmax] if state is not None else []
        real += sum(tensor.numel() * tensor.element_size() for tensor in own)
    assert told == pytest.approx(real, rel=0.005)
    assert told < 0.75 * 4 * shape.weights


def test_a_plan_from_a_config_json_alone(tiny_model: TinyModel) -> None:
    path = tiny_model("qwen2_5_vl") / "config.json"
    big = str(ROOT / "configs" / "geometry3k_qwen2_5_vl_7b_uec.yaml")
    result = CliRunner().invoke(app, ["plan", big, "--config-json", str(path), "--processes", "2", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.output)
    assert {(row["layout"], row["processes"]) for row in told["memory"]} == {
        ("zero2", 1), ("offload", 1), *((name, 2) for name in LAYOUTS if name != "ddp")
    }  # fmt: skip
    assert any("`train` refuses it" in note for note in told["notes"])  # 16-bit weights at a rate of 1e-6
    assert told["prompts"]["measured"] == 0 and told["prompts"]["longest"] == 8192 and told["seconds"] is None
    assert any("processor" in note for note in told["notes"])


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    for more, told in (
        (["model.path=./absent"], "--config-json"),
        (["--config-json", str(tmp_path / "none.json")], "there is no such file"),
    ):
        result = CliRunner().invoke(app, ["plan", str(QUICKSTART), *more])
        assert result.exit_code == 2 and told in result.output, result.output
    transformers.Qwen3_5Config().save_pretrained(tmp_path)
    result = CliRunner().invoke(app, ["plan", str(QUICKSTART), "--config-json", str(tmp_path / "config.json")])
    assert result.exit_code == 2 and "linear-attention" in result.output


def test_a_calibration_gives_the_time_of_a_run() -> None:
    own = ["rollout.prompts_per_step=4", "update.sequences_per_optimizer_step=20", "rollout.max_new_tokens=48"]
    evaluate = ["evaluate.validation_problems=4", "objective.exploration.completions=2"]
    evaluate += ["objective.accumulate=false", "--calibrate", "1"]
    result = CliRunner().invoke(app, ["plan", str(QUICKSTART), *own, *evaluate, "--processes", "1", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.output)
    pace = told["pace"]
    assert 1 <= pace["steps"] <= 4 and 0 < pace["completion_tokens"] <= 48 and pace["longest_completion"] <= 48
    assert pace["trajectory"] > 0 < pace["imports"]
    config = config_with(
        rollout={"prompts_per_step": 4}, update={"sequences_per_optimizer_step": 20},
        evaluate={"validation_problems": 4}, objective={"exploration": {"completions": 2}},
    )  # fmt: skip
    assert told["seconds"] == pytest.approx(Pace(**pace).seconds(config))


def a_pace(**measured: Any) -> Pace:
    return Pace(**{**NOTHING, **measured})


def test_the_time_of_a_run_by_hand() -> None:
    # 40 steps; validation at 0, 20 and 40 on 4 x 2, with a wrong picture at 0; test twice on 204 x 4, both with one.
    config = config_with(evaluate={"validation_problems": 4})
    assert a_pace(answer=1.0).seconds(config) == 4 * 8 + 4 * 204 * 4
    assert a_pace(step=2.0, trained=50.0, trajectory=0.1).seconds(config) == pytest.approx(40 * (2 + 5))
    assert a_pace(imports=5.0, build=3.0, save=1.0).seconds(config) == 5 + 3 + 3
    every = config_with(evaluate={"validation_problems": 4, "every": 10, "controls_every": 20})
    assert a_pace(answer=1.0).seconds(every) == (5 + 3) * 8 + 4 * 204 * 4


def test_replays_begin_when_the_buffer_has_filled() -> None:
    # A unit is 24 x 5 = 120, the buffer holds 240, a replay is due in steps 5, 10, ... 40.
    config = config_with(run={"steps": 40})
    assert replayed_trajectories(config, 0.0) == 0
    assert replayed_trajectories(config, 240.0) == 8 * 240
    # 13 a step: 120 in steps 10 (130) and 15 (195), then 240 at most: a trajectory lives for 4 replays, 20 steps.
    assert replayed_trajectories(config, 13.0) == 2 * 120 + 5 * 240
    assert replayed_trajectories(config, 5.0) == 0, "it never holds 120"
    assert replayed_trajectories(config_with(objective={"replay": {"name": "none"}}), 13.0) == 0


def test_every_tiny_family_can_be_planned(tiny_model: TinyModel) -> None:
    for family in TINY_FAMILIES:
        assert saved_by_layer(load_model_config(tiny_model(family)), 1, 4, past=3, width=2) > 0, family


def test_controls_are_counted_where_the_trainer_measures_them() -> None:
    """Validation at 0, 30 and 40, of which 0 and 40 with a control; the test split at 0 and 40, both with one."""
    changes = ["evaluate.every=30", "evaluate.controls_every=20", "evaluate.controls=[shuffled]"]
    config = load_config(config_folder() / "quickstart.yaml", changes)
    assert evaluated_completions(config) == 128 * 2 * (3 + 2) + 204 * 4 * 4


def test_a_test_file_is_counted_by_its_rows(tmp_path: Path) -> None:
    with split_writer(tmp_path / "test.parquet") as writer:
        for number in range(7):
            writer.write(Sample(id=str(number), source="own", problem="1 + 1", answer="2"))
    file = f"{{kind: parquet, path: {tmp_path / 'test.parquet'}}}"
    base = ["evaluate.every=0", "evaluate.controls=[]", "evaluate.validation_samples=2", "evaluate.test_samples=4"]
    tested = load_config(
        config_folder() / "quickstart.yaml",
        [*base, "evaluate.test_problems=null", f"data.test={file}", f"data.validation={file}"],
    )
    assert evaluated_completions(tested) == 7 * 2 * 2 + 7 * 4 * 2
