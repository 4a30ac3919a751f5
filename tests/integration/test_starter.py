"""The starter policy that is shipped: its size and sums, how it loads, what it sees; and the parts it is built from."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from uec_vlm.batches import PromptSettings, collate_completions, render
from uec_vlm.config import GeosynthData, config_folder, load_config
from uec_vlm.geosynth import ProblemSet
from uec_vlm.geosynth.asset import starter_folder
from uec_vlm.policy import Policy, load_policy, score
from uec_vlm.starter.lessons import Lesson, lesson_loss, pack, picture_array, worked
from uec_vlm.starter.model import (
    both_frames,
    build_model,
    build_processor,
    pictures_to_patches,
    train_tokenizer,
)
from uec_vlm.starter.report import STARTER_FAMILIES, STARTER_LEVELS, accuracy, answer
from uec_vlm.starter.sight import CHARACTERS, scattered
from uec_vlm.trainer.sft import target_ids

FOLDER = starter_folder()
GEOMETRY3K = Path(__file__).resolve().parents[3] / "shared" / "data" / "geometry3k_raw"
MAX_BYTES = 4_000_000


@pytest.fixture(scope="module")
def starter() -> Policy:
    return load_policy(FOLDER)


@pytest.fixture(scope="module")
def untaught() -> tuple[Any, Any]:
    tokenizer = train_tokenizer(["Find x. <think>right triangle; leg 3: 3*4=12</think>\\boxed{12}"] * 3)
    return build_model(tokenizer, seed=3), build_processor(tokenizer)


def test_the_asset_is_small_and_its_sums_are_recorded() -> None:
    files = [path for path in FOLDER.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= MAX_BYTES
    lines = [line.split() for line in (FOLDER / "SHA256SUMS").read_text().splitlines()]
    recorded = {name: digest for digest, name in lines}
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.name != "SHA256SUMS"}
    assert recorded == found


def test_transformers_loads_it_in_single_precision_by_itself() -> None:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = AutoModelForImageTextToText.from_pretrained(FOLDER)
    assert model.config.model_type == "qwen2_5_vl"
    assert model.dtype == torch.float32
    assert 700_000 < sum(weight.numel() for weight in model.parameters()) < 1_600_000
    assert len(AutoProcessor.from_pretrained(FOLDER).tokenizer) == 512


def test_the_recorded_figures_leave_headroom_and_show_that_it_looks() -> None:
    figures = json.loads((FOLDER / "evaluation.json").read_text())
    assert 0.25 <= figures["accuracy"] <= 0.45
    assert figures["pass@8"] > 1.5 * figures["accuracy"]
    assert figures["format"] > 0.9
    assert figures["sampled_entropy_nats"] > 0.05
    assert sum(share < 0.1 for share in figures["by_family"].values()) >= 4
    looking = figures["needs_picture"]
    assert looking["true_picture"] >= 1.5 * max(looking["shuffled_picture"], looking["blank_picture"])


def test_the_figures_are_those_of_the_quickstarts_mix() -> None:
    train = load_config(config_folder() / "quickstart.yaml").data.train
    assert isinstance(train, GeosynthData)
    assert (train.families, train.levels) == (STARTER_FAMILIES, STARTER_LEVELS)
    figures = json.loads((FOLDER / "evaluation.json").read_text())
    assert set(figures["by_family"]) == set(STARTER_FAMILIES)


def test_every_text_survives_the_tokenizer(starter: Policy) -> None:
    texts = ["Find m∠ABC in ⊙O, \\widehat{AB}≅CD · 3√2 ≈ 4,24°\n\t\u2032", "日本語 😀 \u0000\u00a0"]
    if GEOMETRY3K.exists():
        texts += [json.loads(path.read_text())["problem_text"] for path in sorted(GEOMETRY3K.rglob("data.json"))[:500]]
    for text in texts:
        ids = starter.tokenizer(text, add_special_tokens=False)["input_ids"]
        assert starter.tokenizer.decode(ids) == text


def test_a_marker_of_the_format_is_text_and_not_a_special_token(starter: Policy) -> None:
    text = "<think>3+4=7</think>\\boxed{7}"
    ids = target_ids(starter.tokenizer, text)
    assert ids[-1] in starter.end_ids
    assert starter.tokenizer.decode(ids, skip_special_tokens=True) == text


def test_it_answers_some_held_out_problems_in_its_format() -> None:
    policy = load_policy(FOLDER)
    samples = list(ProblemSet(split="validation", count=51, seed=3, families=STARTER_FAMILIES, levels=(1,)))
    found = answer(policy, samples, completions=2, seed=3)
    texts = [rollout.text for one in found for rollout in one.rollouts]
    assert sum("</think>\\boxed{" in text for text in texts) / len(texts) > 0.85
    assert accuracy(found) > 0.15


def test_pictures_in_bulk_are_what_the_processor_makes(untaught: tuple[Any, Any]) -> None:
    _, processor = untaught
    pictures = scattered(3, seed=1).pictures
    made = processor.image_processor([Image.fromarray(one.numpy()) for one in pictures], return_tensors="pt")
    torch.testing.assert_close(
        both_frames(pictures_to_patches(pictures)).flatten(0, 1), made["pixel_values"], rtol=0, atol=1e-5
    )


def test_the_loss_in_bulk_is_that_of_the_policys_own_score(starter: Policy) -> None:
    # The taught model is used because it attends by place; random weights hardly notice a wrong position.
    policy = starter
    source = ProblemSet(split="train", count=4, seed=2)
    problems = [source.problem(index) for index in range(4)]
    lessons = [Lesson(index, one.question, worked(one)) for index, one in enumerate(problems)]
    pictures = torch.stack([torch.from_numpy(picture_array(one).copy()) for one in problems])
    with torch.no_grad():
        bulk = lesson_loss(policy.model, pack(policy.tokenizer, lessons, pictures))
        prompts = [render(source[index], policy.processor, PromptSettings()) for index in range(4)]
        targets = [torch.tensor(target_ids(policy.tokenizer, one.target)) for one in lessons]
        batch = collate_completions(targets, prompts)
        scores = score(policy, batch, temperature=1.0, banned_ids=(), want_entropy=False)
    plain = -float(scores.logprobs.sum()) / int(batch.completion_mask.sum())
    assert float(bulk) == pytest.approx(plain, rel=0, abs=1e-5)


def test_a_sighting_names_the_characters_of_its_labels() -> None:
    sighting = scattered(20, seed=4)
    assert torch.equal(sighting.pictures, scattered(20, seed=4).pictures)
    assert int(sighting.marks.max()) <= len(CHARACTERS)
    spelt, marked = int((sighting.spelt > 0).sum()), int((sighting.marks > 0).sum())
    # Two labels of one cell may need more than five places, two characters may share half a patch.
    assert spelt / marked == pytest.approx(1.0, rel=0, abs=0.1)
