"""A sample becomes a prompt: template, chat template, pictures, token ids. Nothing is ever cut off."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch

from uec_vlm.batches.vision import image_token_count, no_pictures, resize_pictures
from uec_vlm.errors import ConfigError, PromptError
from uec_vlm.records import IMAGE_PLACEHOLDER, Prompt, Sample

_VIDEO_PLACEHOLDER = "<video>"


@dataclass(frozen=True)
class PromptSettings:
    """How problems are put to the model.

    template: holds `{problem}` exactly once, e.g. followed by the instruction about the answer's format.
    system: the system message, None for the chat template's own. max_prompt_tokens: longer prompts are refused.
    min_pixels, max_pixels: limits of a picture's area; None means those the processor was loaded with.
    """

    template: str = "{problem}"
    system: str | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    max_prompt_tokens: int = 2048

    def __post_init__(self) -> None:
        """Refuse a template that does not place the problem exactly once."""
        if self.template.count("{problem}") != 1:
            raise ConfigError(f"prompt template {self.template!r}: it must hold '{{problem}}' exactly once.")
        if self.min_pixels is not None and self.max_pixels is not None and not 0 < self.min_pixels <= self.max_pixels:
            raise ConfigError(
                f"min_pixels = {self.min_pixels}, max_pixels = {self.max_pixels}: need 0 < min_pixels <= max_pixels."
            )


def render(sample: Sample, processor: Any, settings: PromptSettings) -> Prompt:
    """Make the prompt of a sample with a Hugging Face processor, or with a tokenizer for a text-only model.

    Raises PromptError (placeholders, special tokens in the text, length) and DataError (pictures), with the sample's
    id.
    """
    place = f"sample '{sample.id}'"
    image_processor: Any = getattr(processor, "image_processor", None)
    tokenizer = processor.tokenizer if image_processor is not None else processor
    problem = settings.template.replace("{problem}", sample.problem)
    _check_text(sample, problem, image_processor is not None, tokenizer, place)
    text = _chat_text(processor, problem, settings.system, as_parts=image_processor is not None)
    if sample.images:
        pictures = resize_pictures(
            sample.images, image_processor, min_pixels=settings.min_pixels, max_pixels=settings.max_pixels, place=place
        )
        encoded = processor(
            text=[text], images=pictures, do_resize=False, add_special_tokens=False, return_tensors="pt"
        )
        pixel_values, grid = encoded["pixel_values"], encoded["image_grid_thw"]
        found = int((encoded["input_ids"] == processor.image_token_id).sum())
        wanted = image_token_count(grid, image_processor.merge_size)
        if found != wanted:
            raise PromptError(f"{place}: {found} image tokens in the prompt, but its pictures need {wanted}.")
    else:
        encoded = tokenizer([text], add_special_tokens=False, return_tensors="pt")
        pixel_values, grid = no_pictures(image_processor)
    token_ids: torch.Tensor = encoded["input_ids"][0]
    if len(token_ids) > settings.max_prompt_tokens:
        raise PromptError(
            f"{place}: the prompt has {len(token_ids)} tokens, more than max_prompt_tokens = "
            f"{settings.max_prompt_tokens}. Raise it, lower max_pixels, or leave the sample out."
        )
    return Prompt(sample=sample, text=text, token_ids=token_ids, pixel_values=pixel_values, image_grid_thw=grid)


class PromptCache:
    """Keeps the prompts used last, so that a picture is processed once while its problem is in use."""

    def __init__(self, render: Callable[[Sample], Prompt], capacity: int, *, most_bytes: int = 2**30) -> None:
        """Take the function that makes a prompt, how many prompts may be kept (>= 1), and how many bytes of pixels.

        The prompt used last is kept in any case.
        """
        if capacity < 1:
            raise ValueError(f"capacity = {capacity}: a cache of prompts must hold at least 1")
        self._render = render
        self._capacity, self._most_bytes = capacity, most_bytes
        self._bytes = 0
        # By id, with the sample that was asked for: the prompt's own may have the choices below its question.
        self._kept: OrderedDict[str, tuple[Sample, Prompt]] = OrderedDict()
        self._lock = Lock()  # prompts may be made in a thread while others are asked for

    def __call__(self, sample: Sample) -> Prompt:
        """Return the sample's prompt; a kept one is given only to an equal sample, not merely to the same id."""
        with self._lock:
            asked, prompt = self._kept.pop(sample.id, (None, None))
            if prompt is not None:
                self._bytes -= prompt.pixel_values.nbytes
            if prompt is None or (asked is not sample and asked != sample):
                prompt = self._render(sample)
            self._kept[sample.id] = sample, prompt
            self._bytes += prompt.pixel_values.nbytes
            while len(self._kept) > 1 and (len(self._kept) > self._capacity or self._bytes > self._most_bytes):
                self._bytes -= self._kept.popitem(last=False)[1][1].pixel_values.nbytes
            return prompt

    def __len__(self) -> int:
        """Return how many prompts are kept."""
        return len(self._kept)


def _check_text(sample: Sample, problem: str, sees: bool, tokenizer: Any, place: str) -> None:
    if sample.images and not sees:
        raise PromptError(f"{place}: it has {len(sample.images)} pictures, but the model reads text only.")
    if _VIDEO_PLACEHOLDER in problem:
        raise PromptError(
            f"{place}: its text holds '{_VIDEO_PLACEHOLDER}', and videos are not supported. Give single pictures, one "
            f"'{IMAGE_PLACEHOLDER}' each."
        )
    holes = problem.count(IMAGE_PLACEHOLDER)
    if holes != len(sample.images):
        raise PromptError(
            f"{place}: {holes} placeholders '{IMAGE_PLACEHOLDER}' in the text, but {len(sample.images)} pictures. "
            "Both must agree; prepare the data again."
        )
    special = sorted(token for token in _special_tokens(tokenizer) if token in problem)
    if special:
        raise PromptError(
            f"{place}: its text holds {special[0]!r}, a special token of the model. Take it out of the problem."
        )


def _special_tokens(tokenizer: Any) -> set[str]:
    """All special tokens, those of the chat template among them: some have no role (bos, pad ...) in the tokenizer."""
    added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    return added.union(tokenizer.all_special_tokens)


def _chat_text(processor: Any, problem: str, system: str | None, *, as_parts: bool) -> str:
    """Return what the chat template makes, with one unexpanded placeholder per picture and the answer's turn opened."""
    content: str | list[dict[str, str]] = problem
    if as_parts:
        pieces = problem.split(IMAGE_PLACEHOLDER)
        content = [{"type": "text", "text": pieces[0]}] if pieces[0] else []
        for piece in pieces[1:]:
            content.append({"type": "image"})
            if piece:
                content.append({"type": "text", "text": piece})
    messages: list[dict[str, Any]] = [] if system is None else [{"role": "system", "content": system}]
    messages.append({"role": "user", "content": content})
    # Older checkpoints keep the template with the tokenizer only.
    speaker = processor if getattr(processor, "chat_template", None) else getattr(processor, "tokenizer", processor)
    if not getattr(speaker, "chat_template", None):
        raise PromptError("the model has no chat template: put a chat_template.jinja into its folder.")
    text: str = speaker.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return text
