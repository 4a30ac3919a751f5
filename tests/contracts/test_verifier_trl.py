"""TRL trains with our reward functions: two GRPO steps of a tiny random model on the CPU."""

from pathlib import Path

import pytest

pytest.importorskip("trl", reason="trl is not installed; it comes with the extra 'bench'")
datasets = pytest.importorskip("datasets")


@pytest.mark.slow
def test_two_grpo_steps_with_our_rewards(tmp_path: Path) -> None:
    from transformers import AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    from tests.support.tiny_models import build_model_folder
    from uec_vlm.integrations.trl import accuracy_reward, format_reward

    folder = build_model_folder(tmp_path / "model", "qwen2")
    rows = {
        "prompt": [[{"role": "user", "content": f"What is {n} + {n}?"}] for n in range(4)],
        "answer": [str(2 * n) for n in range(4)],
        "choices": [[str(2 * n), str(2 * n + 1)] for n in range(4)],
    }
    calls: list[list[float | None]] = []

    def watched(completions: list[object], **columns: object) -> list[float | None]:
        rewards = accuracy_reward(completions, **columns)  # type: ignore[arg-type]
        calls.append(rewards)
        return rewards

    trainer = GRPOTrainer(
        model=str(folder),
        reward_funcs=[watched, format_reward],
        args=GRPOConfig(
            output_dir=str(tmp_path / "out"),
            max_steps=2,
            per_device_train_batch_size=4,
            num_generations=4,
            max_completion_length=16,
            use_cpu=True,
            bf16=False,
            report_to=[],
            save_strategy="no",
            logging_steps=1,
        ),
        train_dataset=datasets.Dataset.from_dict(rows),
        processing_class=AutoTokenizer.from_pretrained(folder, padding_side="left"),
    )
    trainer.train()
    assert trainer.state.global_step == 2
    assert len(calls) == 2
    assert all(len(rewards) == 4 and set(rewards) <= {0.0, 1.0} for rewards in calls)
    logged = {name for entry in trainer.state.log_history for name in entry}
    assert {"rewards/watched/mean", "rewards/format_reward/mean"} <= logged
    assert any(name.endswith("verifier/no_answer") or name.endswith("verifier/wrong") for name in logged), sorted(
        logged
    )
