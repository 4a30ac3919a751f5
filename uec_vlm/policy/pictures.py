"""What a frozen vision tower makes of a picture: made once, and kept for rollouts, scores and updates."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from uec_vlm.policy.forward import backbone_of
from uec_vlm.records import Prompt


@dataclass(frozen=True)
class Features:
    """Of the pictures of one prompt: a row per image token, and what deeper layers add to these (Qwen3-VL).

    The names are those of the tower's output in transformers, whose forward takes the features instead of pixels.
    """

    pooler_output: tuple[Float[Tensor, "_ H"], ...]
    deepstack_features: tuple[tuple[Float[Tensor, "_ H"], ...], ...]

    @property
    def nbytes(self) -> int:
        """Memory that they take."""
        return sum(part.nbytes for level in (self.pooler_output, *self.deepstack_features) for part in level)


@dataclass(frozen=True)
class _Kept:
    """stamp: of the weights that made them. pixels: of which tensor, which must still be there."""

    pixels: weakref.ref[Tensor]
    stamp: tuple[Any, ...]
    features: Features


class PictureStore:
    """Keeps the newest features; a class because it holds them. Pictures are known by their pixel tensor's identity."""

    def __init__(self, most_bytes: int) -> None:
        """Take how many bytes of features may be kept."""
        self._most_bytes = most_bytes
        self._kept: OrderedDict[int, _Kept] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """Bytes that are kept."""
        return sum(kept.features.nbytes for kept in self._kept.values())

    def __call__(self, model: nn.Module, prompts: Sequence[Prompt]) -> Features | None:
        """The features of these prompts' pictures, in their order; None where the tower is not frozen and whole."""
        tower = getattr(backbone_of(model), "visual", None)
        pictured = [prompt for prompt in prompts if len(prompt.image_grid_thw)]
        if tower is None or not pictured or not _constant(tower):
            return None
        stamp = tuple((weight.data_ptr(), weight._version) for weight in tower.parameters())
        found = {id(prompt.pixel_values): self._known(prompt, stamp) for prompt in pictured}
        missing = list({id(p.pixel_values): p for p in pictured if found[id(p.pixel_values)] is None}.values())
        for prompt in missing:
            made = _computed(model, prompt)
            found[id(prompt.pixel_values)] = made
            self._keep(prompt, stamp, made)
        return _joined([features for p in pictured if (features := found[id(p.pixel_values)]) is not None])

    def _known(self, prompt: Prompt, stamp: tuple[Any, ...]) -> Features | None:
        kept = self._kept.get(id(prompt.pixel_values))
        if kept is None or kept.pixels() is not prompt.pixel_values or kept.stamp != stamp:
            return None
        self._kept.move_to_end(id(prompt.pixel_values))
        return kept.features

    def _keep(self, prompt: Prompt, stamp: tuple[Any, ...], features: Features) -> None:
        for key in [key for key, kept in self._kept.items() if kept.pixels() is None]:
            del self._kept[key]
        self._kept[id(prompt.pixel_values)] = _Kept(weakref.ref(prompt.pixel_values), stamp, features)
        held = self.nbytes
        while self._kept and held > self._most_bytes:
            held -= self._kept.popitem(last=False)[1].features.nbytes


def _constant(tower: nn.Module) -> bool:
    """Whether nothing of it is trained, and its weights lie here: a shard's forward is an act of all processes."""
    return all(
        not weight.requires_grad and type(weight.data) is Tensor and weight.numel() > 0 for weight in tower.parameters()
    )


@torch.no_grad()
def _computed(model: nn.Module, prompt: Prompt) -> Features:
    """A pass of the tower over the pictures of one prompt.

    Each prompt by itself: products round by how many rows they have, and a resumed run must find the very features that
    the uninterrupted one had kept.
    """
    backbone = backbone_of(model)
    device = next(backbone.visual.parameters()).device
    # A copy in memory of torch's own, whose alignment is always the same.
    pixels, grid = prompt.pixel_values.clone().to(device), prompt.image_grid_thw.to(device)
    seen = backbone.get_image_features(pixels, grid, return_dict=True)
    deep = getattr(seen, "deepstack_features", None) or ()
    return Features(tuple(seen.pooler_output), tuple(tuple(level) for level in deep))


def _joined(features: Sequence[Features]) -> Features:
    levels = zip(*(one.deepstack_features for one in features), strict=True)
    return Features(
        tuple(part for one in features for part in one.pooler_output),
        tuple(tuple(part for of_prompt in level for part in of_prompt) for level in levels),
    )
