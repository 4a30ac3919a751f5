"""The peer's side of the update and step benchmarks: TRL's GRPOTrainer on the same folder, data and batch."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from uec_vlm.records import CompletionBatch, Prompt, Sample


def grpo_trainer(
    folder: Path,
    samples: Sequence[Sample],
    *,
    prompts: int,
    completions: int,
    max_new_tokens: int,
    reward: Callable[..., list[float]],
    steps: int = 1,
    learning_rate: float = 1e-6,
) -> Any:
    """A GRPOTrainer with plain GRPO (no reference), one optimizer step of all completions at a time, on this folder.

    The processor pads on the left: with the tokenizer's own right padding TRL's multimodal token types are misaligned.
    """
    from datasets import Dataset
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from trl import GRPOConfig, GRPOTrainer

    warnings.filterwarnings("ignore")
    logging.getLogger("transformers").setLevel(logging.ERROR)
    processor = AutoProcessor.from_pretrained(folder, padding_side="left")
    processor.tokenizer.padding_side = "left"
    settings = GRPOConfig(
        output_dir=str(folder / "trl"),
        per_device_train_batch_size=prompts * completions,
        num_generations=completions,
        max_completion_length=max_new_tokens,
        max_steps=steps,
        learning_rate=learning_rate,
        lr_scheduler_type="constant",
        loss_type="grpo",
        beta=0.0,
        epsilon=0.2,
        temperature=1.0,
        use_cpu=not torch.cuda.is_available(),
        bf16=False,
        gradient_checkpointing=False,
        dataloader_pin_memory=False,
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        seed=0,
    )
    rows = [
        {
            "prompt": [{"role": "user", "content": sample.problem.replace("<image>", "").strip()}],
            "image": Image.open(io.BytesIO(sample.images[0])).convert("RGB"),
            "sample": sample.id,
        }
        for sample in samples
    ]
    trainer = GRPOTrainer(
        model=AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32),
        reward_funcs=[reward],
        args=settings,
        train_dataset=Dataset.from_list(rows),
        processing_class=processor,
    )
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    return trainer


def loss_inputs(trainer: Any, batch: CompletionBatch, advantages: Tensor) -> dict[str, Any]:
    """What `GRPOTrainer._compute_loss` takes, of the very tokens and pixels of a batch of ours."""
    prompts: list[Prompt] = [batch.prompts[place] for place in batch.prompt_index.tolist()]
    processor = trainer.processing_class
    longest = max(len(prompt.token_ids) for prompt in prompts)
    ids = torch.full((len(prompts), longest), processor.tokenizer.pad_token_id)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt.token_ids) :] = prompt.token_ids
        mask[row, longest - len(prompt.token_ids) :] = 1
    types = (ids == processor.image_token_id).int()
    return {
        "prompt_ids": ids,
        "prompt_mask": mask,
        "completion_ids": batch.completion_ids,
        "completion_mask": batch.completion_mask.int(),
        "advantages": advantages,
        "pixel_values": torch.cat([prompt.pixel_values for prompt in prompts]),
        "image_grid_thw": torch.cat([prompt.image_grid_thw for prompt in prompts]),
        "num_images": [len(prompt.image_grid_thw) for prompt in prompts],
        "mm_token_type_ids": torch.cat([types, torch.zeros_like(batch.completion_ids, dtype=types.dtype)], dim=1),
        "num_items_in_batch": batch.completion_mask.sum(),
    }


def loss_and_backward(trainer: Any, inputs: dict[str, Any]) -> Tensor:
    """TRL's loss of the batch, its gradient left in the model's parameters."""
    trainer.model.zero_grad(set_to_none=True)
    loss: Tensor = trainer._compute_loss(trainer.model, inputs)
    loss.backward()
    return loss.detach()
