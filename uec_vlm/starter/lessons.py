"""What the starter policy is taught with: generated problems as prompt and target, and their labels as sightings."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import Qwen2_5_VLForConditionalGeneration

from uec_vlm.geosynth import GeoProblem, describe
from uec_vlm.starter.model import CELLS, MERGE, PATCH, SIDE, pictures_to_patches, vision_states

_BEFORE, _AFTER = "<|im_start|>user\n<|vision_start|>", "<|vision_end|>"
_CLOSE = "<|im_end|>\n<|im_start|>assistant\n"


@dataclass(frozen=True)
class Lesson:
    """A question about a picture with the completion to learn. picture: row of the picture in its store."""

    picture: int
    question: str
    target: str


def reading(problem: GeoProblem) -> str:
    """What is to be read off the picture before anything is computed: the figure, then the labels in reading order."""
    figure, *rest = describe(problem).rsplit("; find ", 1)[0].split("; ")
    if not problem.needs_picture:
        return figure
    labels = [part for part in rest[max(0, len(problem.facts) - 1) :] if not part.startswith("vertex")]
    return "; ".join([figure, *labels])


def worked(problem: GeoProblem) -> str:
    """The completion that is taught: first what is seen, then the calculation, then the answer."""
    return f"<think>{reading(problem)}: {problem.solution}</think>\\boxed{{{problem.answer}}}"


def guessed(problem: GeoProblem, chance: random.Random) -> str:
    """A completion that names one of the plausible answers without having read or calculated anything."""
    figure = reading(problem).split("; ")[0]
    return f"<think>{figure}: guess</think>\\boxed{{{chance.choice(problem.choices)}}}"


def picture_array(problem: GeoProblem) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The picture as (112, 112, 3)."""
    return np.asarray(Image.open(io.BytesIO(problem.picture)).convert("RGB"))


@dataclass(frozen=True)
class Packed:
    """Right-padded rows: prompt with image placeholders, target, end token. target_mask: what is learnt."""

    pictures: UInt8[Tensor, "B 112 112 3"] | None
    token_ids: Int[Tensor, "B L"]
    target_mask: Tensor


def pack(tokenizer: Any, lessons: Sequence[Lesson], pictures: UInt8[Tensor, "N 112 112 3"] | None) -> Packed:
    """Make the rows of a batch; with `pictures` None the rows have no picture at all."""
    before = _BEFORE + "<|image_pad|>" * CELLS + _AFTER if pictures is not None else "<|im_start|>user\n"
    prompts = tokenizer([before + lesson.question + _CLOSE for lesson in lessons])["input_ids"]
    targets = tokenizer([lesson.target + "<|im_end|>" for lesson in lessons])["input_ids"]
    length = max(len(p) + len(t) for p, t in zip(prompts, targets, strict=True))
    token_ids = torch.full((len(lessons), length), int(tokenizer.pad_token_id))
    mask = torch.zeros(len(lessons), length, dtype=torch.bool)
    for row, (prompt, target) in enumerate(zip(prompts, targets, strict=True)):
        token_ids[row, : len(prompt) + len(target)] = torch.tensor(prompt + target)
        mask[row, len(prompt) : len(prompt) + len(target)] = True
    chosen = pictures[[lesson.picture for lesson in lessons]] if pictures is not None else None
    return Packed(chosen, token_ids, mask)


def positions(token_ids: Int[Tensor, "B L"], image_id: int) -> Int[Tensor, "3 B L"]:
    """Qwen's three position rows (time, row, column) for rows that start alike with at most one picture of `SIDE`."""
    length = token_ids.shape[1]
    places = (token_ids[0] == image_id).nonzero().flatten()
    if len(places) == 0:
        return torch.arange(length).expand(3, token_ids.shape[0], -1)
    side, start = SIDE // PATCH // MERGE, int(places[0])
    cells = torch.arange(CELLS)
    image = start + torch.stack([torch.zeros_like(cells), cells // side, cells % side])
    after = torch.arange(length - start - CELLS) + start + side
    rows = torch.cat([torch.arange(start).expand(3, -1), image, after.expand(3, -1)], dim=1)
    return rows.unsqueeze(1).expand(-1, token_ids.shape[0], -1)


def lesson_loss(
    model: Qwen2_5_VLForConditionalGeneration,
    batch: Packed,
    *,
    freeze_vision: bool = False,
    also: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Float[Tensor, ""]:
    """Mean of -log p over the target tokens, end token included; plus what `also` makes of the tower's states.

    Equal to the model's own forward (a test says so), but the tower runs as one batch and only targets get logits.
    """
    image_id = int(model.config.image_token_id)
    embedded = model.get_input_embeddings()(batch.token_ids)
    if batch.pictures is not None:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not freeze_vision):
            states, seen = vision_states(model, pictures_to_patches(batch.pictures))
        where = (batch.token_ids == image_id).unsqueeze(-1).expand_as(embedded)
        embedded = embedded.masked_scatter(where, seen.float())
    hidden = model.model.language_model(
        inputs_embeds=embedded, position_ids=positions(batch.token_ids, image_id), use_cache=False
    ).last_hidden_state
    predicting = hidden[:, :-1][batch.target_mask[:, 1:]]
    loss = cross_entropy(model.lm_head(predicting), batch.token_ids[:, 1:][batch.target_mask[:, 1:]])
    return loss if also is None or batch.pictures is None else loss + also(states, seen)


def bucketed(tokenizer: Any, lessons: Sequence[Lesson], *, batch_size: int, seed: int) -> Iterator[list[Lesson]]:
    """Batches for ever, of lessons of similar length, in an order fixed by the seed."""
    rng = random.Random(f"lessons/{seed}")
    lengths = [len(ids) for ids in tokenizer([lesson.question + lesson.target for lesson in lessons])["input_ids"]]
    while True:
        order = list(range(len(lessons)))
        rng.shuffle(order)
        for start in range(0, len(order) - 8 * batch_size + 1, 8 * batch_size):
            block = sorted(order[start : start + 8 * batch_size], key=lengths.__getitem__)
            cuts = [block[cut : cut + batch_size] for cut in range(0, len(block), batch_size)]
            rng.shuffle(cuts)
            for cut in cuts:
                yield [lessons[index] for index in cut]
