"""TRL trains with our reward functions: two GRPO steps on the CPU, of a tiny text model and of the starter policy."""

import io
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="trl is not installed; it comes with the extra 'bench'")
datasets = pytest.importorskip("datasets")


def train(folder: Path, processor: Any, rows: dict[str, list[Any]], out: Path) -> tuple[Any, list[list[float | None]]]:
    """Two steps of GRPO with our accuracy and format rewards; the trainer, and what the accuracy reward gave."""
    from trl import GRPOConfig, GRPOTrainer

    from uec_vlm.integrations.trl import accuracy_reward, format_reward

    calls: list[list[float | None]] = []

    def watched(completions: list[object], **columns: object) -> list[float | None]:
        rewards = accuracy_reward(completions, **columns)  # type: ignore[arg-type]
        calls.append(rewards)
        return rewards

    trainer = GRPOTrainer(
        model=str(folder),
        reward_funcs=[watched, format_reward],
        args=GRPOConfig(
            output_dir=str(out),
            max_steps=2,
            per_device_train_batch_size=4,
            num_generations=4,
            max_completion_length=24,
            use_cpu=True,
            bf16=False,
            report_to=[],
            save_strategy="no",
            logging_steps=1,
        ),
        train_dataset=datasets.Dataset.from_dict(rows) if "image" not in rows else _with_images(rows),
        processing_class=processor,
    )
    trainer.train()
    return trainer, calls


def _with_images(rows: dict[str, list[Any]]) -> Any:
    data = datasets.Dataset.from_dict(rows)
    return data.cast_column("image", datasets.Image())


def check(trainer: Any, calls: list[list[float | None]]) -> None:
    assert trainer.state.global_step == 2
    assert len(calls) == 2
    assert all(len(rewards) == 4 and set(rewards) <= {0.0, 1.0} for rewards in calls)
    logged = {name for entry in trainer.state.log_history for name in entry}
    assert {"rewards/watched/mean", "rewards/format_reward/mean"} <= logged
    assert any("verifier/" in name for name in logged), sorted(logged)


@pytest.mark.slow
def test_two_grpo_steps_of_a_text_model(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    from tests.support.tiny_models import build_model_folder

    folder = build_model_folder(tmp_path / "model", "qwen2")
    rows = {
        "prompt": [[{"role": "user", "content": f"What is {n} + {n}?"}] for n in range(4)],
        "answer": [str(2 * n) for n in range(4)],
        "choices": [[str(2 * n), str(2 * n + 1)] for n in range(4)],
    }
    check(*train(folder, AutoTokenizer.from_pretrained(folder, padding_side="left"), rows, tmp_path / "out"))


@pytest.mark.slow
def test_two_grpo_steps_of_the_starter_policy(tmp_path: Path) -> None:
    from PIL import Image
    from transformers import AutoProcessor

    from uec_vlm.geosynth import ProblemSet
    from uec_vlm.geosynth.asset import starter_folder

    folder = starter_folder()
    if not (folder / "model.safetensors").is_file():
        pytest.skip("the starter policy is not in this checkout")
    problems = list(ProblemSet(split="train", count=4, seed=1))
    rows = {
        "prompt": [[{"role": "user", "content": p.problem.replace("<image>", "").strip()}] for p in problems],
        "image": [Image.open(io.BytesIO(p.images[0])) for p in problems],
        "answer": [p.answer for p in problems],
        "choices": [list(p.choices) for p in problems],
    }
    check(*train(folder, AutoProcessor.from_pretrained(folder, padding_side="left"), rows, tmp_path / "out"))
