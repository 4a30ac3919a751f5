"""What TRL, verl and EasyR1 read: their own loading steps are done on the exported files."""

import json
import re
from pathlib import Path
from typing import Any

import datasets
import pytest

from data_prep.__main__ import main
from data_prep.export import FORMS, export
from data_prep.write import split_writer
from tests.unit.data_prep.world import diagram
from uec_vlm.errors import ConfigError, DataError
from uec_vlm.integrations import easyr1, verl
from uec_vlm.records import Sample

SAMPLES = [
    Sample("a", "made", "<image>How long?", "5", (diagram(1),), answer_value=5.0),
    Sample("b", "made", "Left <image> or right <image>?", "left", (diagram(2), diagram(3)), ("left", "right")),
    Sample("c", "made", "What is 2 + 2?", "4", (), ("3", "4")),
]


def prepared(folder: Path, samples: list[Sample]) -> Path:
    folder.mkdir(exist_ok=True)
    for split, part in (("train", samples), ("test", samples[:1])):
        with split_writer(folder / f"{split}.parquet") as writer:
            for sample in part:
                writer.write(sample)
    (folder / "manifest.json").write_text(json.dumps({"dataset": "made", "purpose": "training"}))
    return folder


def exported(tmp_path: Path, form: str, samples: list[Sample] = SAMPLES, **settings: Any) -> list[dict[str, Any]]:
    out = export(prepared(tmp_path / "in", samples), form, tmp_path / form, **settings)
    assert json.loads((out / "manifest.json").read_text())["export"]["format"] == form
    data = datasets.load_dataset("parquet", data_dir=str(out), split="train", cache_dir=str(tmp_path / "cache"))
    return list(data)


def test_verl_rows_have_its_columns_and_its_reward_grades_them(tmp_path: Path) -> None:
    rows = exported(tmp_path, "verl")
    assert set(rows[0]) == {"data_source", "prompt", "images", "ability", "reward_model", "extra_info"}
    for row, sample in zip(rows, SAMPLES, strict=True):
        [message] = row["prompt"]
        assert message == {"role": "user", "content": sample.problem}
        parts = re.split("(<image>|<video>)", message["content"])  # as verl's RLHFDataset cuts a message
        assert parts.count("<image>") == len(row["images"]) == len(sample.images)
        assert all(image.size == (64, 48) for image in row["images"])
        answer, info = row["reward_model"]["ground_truth"], row["extra_info"]
        assert row["reward_model"]["style"] == "rule" and (info["split"], info["answer"]) == ("train", answer)
        assert verl.compute_score(row["data_source"], f"\\boxed{{{answer}}}", answer, info)["score"] == 1.0
        assert verl.compute_score(row["data_source"], "\\boxed{99}", answer, info)["score"] == 0.0
    assert [row["extra_info"]["index"] for row in rows] == [0, 1, 2]


def test_easyr1_rows_have_its_columns_and_its_reward_grades_them(tmp_path: Path) -> None:
    rows = exported(tmp_path, "easyr1")
    for row, sample in zip(rows, SAMPLES, strict=True):
        assert (row["problem"], row["answer"]) == (sample.problem, sample.answer)
        assert row["problem"].count("<image>") == len(row["images"])  # EasyR1 puts a picture at each cut
        given = {"response": f"\\boxed{{{row['answer']}}}", "ground_truth": row["answer"]}
        assert easyr1.compute_score(given)["accuracy"] == 1.0


def test_trl_messages_take_the_pictures_where_the_text_has_them(tmp_path: Path) -> None:
    data_utils = pytest.importorskip("trl.data_utils", reason="trl is not installed; it comes with the extra 'bench'")
    rows = exported(tmp_path, "trl")
    [message] = data_utils.prepare_multimodal_messages(rows[1]["prompt"], images=rows[1]["images"])
    kinds = [part["type"] if part["type"] == "image" else part["text"] for part in message["content"]]
    assert kinds == ["Left ", "image", " or right ", "image", "?"]
    assert [part["image"] for part in message["content"] if part["type"] == "image"] == rows[1]["images"]
    assert [row["choices"] for row in rows] == [[], ["left", "right"], ["3", "4"]]


@pytest.mark.parametrize("form", FORMS)
def test_a_text_only_split_has_no_pictures_column(form: str, tmp_path: Path) -> None:
    [row] = exported(tmp_path, form, SAMPLES[2:])
    assert "images" not in row
    if form != "easyr1":
        assert row["prompt"] == [{"role": "user", "content": "What is 2 + 2?"}]


@pytest.mark.parametrize("form", FORMS)
def test_template_and_choices_are_written_into_the_prompt(form: str, tmp_path: Path) -> None:
    row = exported(tmp_path, form, template="{problem} Box it.", list_choices=True)[2]
    asked = row["problem"] if form == "easyr1" else row["prompt"][0]["content"]
    asked = asked if isinstance(asked, str) else "".join(part["text"] for part in asked)
    assert asked == "What is 2 + 2?\nChoices:\n(A) 3\n(B) 4 Box it."


def test_what_cannot_be_exported_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = prepared(tmp_path / "in", SAMPLES)
    for form, out, settings, kind, message in (
        ("openrlhf", "o", {}, ConfigError, "no such form; choose one of trl, verl, easyr1"),
        ("trl", "o", {"template": "x"}, ConfigError, "has no {problem}"),
        ("trl", "in", {}, ConfigError, "the prepared folder itself"),
    ):
        with pytest.raises(kind, match=message):
            export(folder, form, tmp_path / out, **settings)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="nothing prepared is in it"):
        export(tmp_path / "empty", "trl", tmp_path / "o")
    with pytest.raises(SystemExit):
        main(["export", str(folder), "--format", "verl", "--out", str(tmp_path / "v")])
    assert f"verl: written to {tmp_path / 'v'}" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("pictured", [True, False])
def test_trl_trains_on_it(pictured: bool, tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="trl is not installed; it comes with the extra 'bench'")
    from transformers import AutoProcessor
    from trl import GRPOConfig, GRPOTrainer

    from uec_vlm.geosynth.asset import starter_folder
    from uec_vlm.integrations.trl import accuracy_reward

    samples = SAMPLES if pictured else [Sample(str(n), "made", f"What is {n}?", str(n)) for n in range(4)]
    out = export(prepared(tmp_path / "in", samples), "trl", tmp_path / "trl")
    data = datasets.load_dataset("parquet", data_dir=str(out), split="train", cache_dir=str(tmp_path / "cache"))
    if pictured:
        data = data.filter(lambda row: len(row["images"]) > 0)
    trainer = GRPOTrainer(
        model=str(starter_folder()),
        reward_funcs=[accuracy_reward],
        args=GRPOConfig(
            output_dir=str(tmp_path / "run"), max_steps=2, per_device_train_batch_size=4, num_generations=4,
            max_completion_length=16, use_cpu=True, bf16=False, report_to=[], save_strategy="no", logging_steps=1,
        ),
        train_dataset=data,
        processing_class=AutoProcessor.from_pretrained(starter_folder(), padding_side="left"),
    )  # fmt: skip
    trainer.train()
    assert trainer.state.global_step == 2
    assert any("rewards/accuracy_reward/mean" in entry for entry in trainer.state.log_history)
