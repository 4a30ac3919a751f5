"""Teach the vision tower to read before any language: scattered labels on lines, with a target at every place.

A picture-text loss alone leaves so small a tower blind. Here each half patch (14 x 7 pixels) is asked which character
has its centre there, and each merged cell (28 x 28) which label has its centre there, spelt out. Two linear heads do
the asking and are thrown away.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import Qwen2_5_VLForConditionalGeneration

from uec_vlm.geosynth import GeoProblem
from uec_vlm.geosynth.glyphs import typeset
from uec_vlm.starter.model import CELL, CELLS, MERGE, PATCH, SIDE, pictures_to_patches, vision_states

CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZxyzr+-.°√π"
SPELT = 5
_PATCHES = (SIDE // PATCH) ** 2
Box = tuple[float, float, float, float]
_COLOURS = ((0, 84, 166), (0, 84, 166), (0, 84, 166), (0, 0, 0), (214, 0, 110))


@dataclass(frozen=True)
class Sighting:
    """Pictures with what is to be seen in them; class 0 is nothing, k + 1 is `CHARACTERS[k]`.

    marks: the character whose centre is in each half of each patch. spelt: the label whose centre is in each cell.
    """

    pictures: UInt8[Tensor, "B 112 112 3"]
    marks: Int[Tensor, "B 64 2"]
    spelt: Int[Tensor, "B 16 5"]


def scattered(count: int, *, seed: int) -> Sighting:
    """`count` pictures of a random polygon, sometimes a circle, and two to eight labels at random places."""
    rng = random.Random(f"scattered/{seed}")
    pictures = np.empty((count, SIDE, SIDE, 3), np.uint8)
    marks = np.zeros((count, _PATCHES, 2), np.int64)
    spelt = np.zeros((count, CELLS, SPELT), np.int64)
    for index in range(count):
        picture = _lines(rng)
        size = rng.choice((17, 17, 17, 15, 13, 11))
        taken: list[tuple[int, int, int, int]] = []
        for _ in range(rng.randint(2, 8)):
            text = _label(rng)
            glyph = typeset(text, size)
            place = _free_place(rng, glyph.width, glyph.height, taken)
            if place is None:
                continue
            left, top = place
            taken.append((left - 1, top - 1, left + glyph.width + 1, top + glyph.height + 1))
            picture.paste((255, 255, 255), taken[-1])
            picture.paste((0, 0, 0), place, glyph.mask)
            _note(text, taken[-1], marks[index], spelt[index])
        pictures[index] = np.asarray(picture)
    return Sighting(torch.from_numpy(pictures), torch.from_numpy(marks), torch.from_numpy(spelt))


def _lines(rng: random.Random) -> Image.Image:
    canvas = Image.new("RGB", (SIDE * 3, SIDE * 3), "white")
    draw = ImageDraw.Draw(canvas)
    colour = rng.choice(_COLOURS)
    corners = [(rng.uniform(12, 324), rng.uniform(12, 324)) for _ in range(rng.choice((3, 3, 4)))]
    draw.polygon(corners, outline=colour, width=6)
    if rng.random() < 0.35:
        radius = rng.uniform(40, 150)
        draw.ellipse((168 - radius, 168 - radius, 168 + radius, 168 + radius), outline=colour, width=6)
    for _ in range(rng.randint(0, 4)):
        x, y, dx, dy = rng.uniform(12, 324), rng.uniform(12, 324), rng.uniform(-24, 24), rng.uniform(-24, 24)
        draw.line((x, y, x + dx, y + dy), fill=rng.choice(_COLOURS), width=5)
    return canvas.reduce(3)


def _label(rng: random.Random) -> str:
    roll = rng.random()
    if roll < 0.28:
        return rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZ")
    if roll < 0.62:
        return str(rng.randint(1, 9) if rng.random() < 0.25 else rng.randint(10, 179))
    if roll < 0.78:
        return f"{rng.randint(10, 179)}°"
    if roll < 0.88:
        return rng.choice(("x", "x", "x", "x°", "y"))
    if roll < 0.94:
        return f"{rng.choice(('', '2', '3', '4'))}x{rng.choice('+-')}{rng.randint(1, 30)}"
    if roll < 0.97:
        return f"{rng.randint(2, 9)}\\sqrt{{{rng.choice((2, 3))}}}"
    return f"{rng.randint(1, 19)}.{rng.choice('5')}"


def _free_place(
    rng: random.Random, width: int, height: int, taken: Sequence[tuple[int, int, int, int]]
) -> tuple[int, int] | None:
    for _ in range(8):
        left, top = rng.randint(1, SIDE - 1 - width), rng.randint(1, SIDE - 1 - height)
        if all(left + width < a or c < left or top + height < b or d < top for a, b, c, d in taken):
            return left, top
    return None


def sighted(problem: GeoProblem) -> tuple[Int[np.ndarray, "64 2"], Int[np.ndarray, "16 5"]]:
    """The same two targets for the labels of a problem's picture (small ones show no degree signs)."""
    marks, spelt = np.zeros((_PATCHES, 2), np.int64), np.zeros((CELLS, SPELT), np.int64)
    for label in sorted(problem.labels, key=lambda label: (label.box[1], label.box[0])):
        _note(label.text, label.box, marks, spelt)
    return marks, spelt


def _note(text: str, box: Box, marks: Int[np.ndarray, "64 2"], spelt: Int[np.ndarray, "16 5"]) -> None:
    """Write a label's characters into the targets of the places where their centres are."""
    left, top, right, bottom = box
    characters = text.replace("\\sqrt{", "√").replace("}", "").replace("\\pi", "π")
    characters = "".join(character for character in characters if character in CHARACTERS)
    widths = [0.6 if character in "1.°" else 1.0 for character in characters]
    middle = (top + bottom) / 2
    start = 0.0
    for character, width in zip(characters, widths, strict=True):
        centre = left + (right - left) * (start + width / 2) / sum(widths)
        start += width
        cell = int(middle // CELL) * (SIDE // CELL) + int(centre // CELL)
        patch = cell * MERGE * MERGE + int(middle % CELL // PATCH) * MERGE + int(centre % CELL // PATCH)
        marks[patch, int(centre % PATCH // (PATCH / 2))] = CHARACTERS.index(character) + 1
    cell = int(middle // CELL) * (SIDE // CELL) + int((left + right) / 2 // CELL)
    free = int((spelt[cell] > 0).sum())
    for place, character in enumerate(characters[: SPELT - free], start=free):
        spelt[cell, place] = CHARACTERS.index(character) + 1


class Heads(nn.Module):
    """The two temporary questions to the tower."""

    def __init__(self, patch_width: int, cell_width: int) -> None:
        """Take the widths of the tower's states before and after merging."""
        super().__init__()
        self.marks = nn.Linear(patch_width, 2 * (len(CHARACTERS) + 1))
        self.spelt = nn.Linear(cell_width, SPELT * (len(CHARACTERS) + 1))


def sight_loss(
    model: Qwen2_5_VLForConditionalGeneration, heads: Heads, batch: Sighting
) -> tuple[Float[Tensor, ""], float, float]:
    """Cross-entropy of both questions; and the shares of characters and of whole labels that are told right."""
    states, merged = vision_states(model, pictures_to_patches(batch.pictures))
    return told(heads, states, merged, batch)


def told(
    heads: Heads, states: Float[Tensor, "B 64 H"], merged: Float[Tensor, "B 16 K"], batch: Sighting
) -> tuple[Float[Tensor, ""], float, float]:
    """The same from states that are already there."""
    marks = heads.marks(states).view(-1, len(CHARACTERS) + 1)
    spelt = heads.spelt(merged).view(-1, len(CHARACTERS) + 1)
    loss = cross_entropy(marks, batch.marks.flatten()) * 4 + cross_entropy(spelt, batch.spelt.flatten())
    with torch.no_grad():
        seen = batch.marks.flatten() > 0
        right = (marks.argmax(-1) == batch.marks.flatten())[seen].float().mean()
        cells = (batch.spelt > 0).any(-1).flatten()
        whole = (spelt.argmax(-1).view(-1, SPELT) == batch.spelt.view(-1, SPELT)).all(-1)[cells].float().mean()
    return loss, float(right), float(whole)


def whiten_patch_embedding(model: Qwen2_5_VLForConditionalGeneration, pictures: UInt8[Tensor, "B 112 112 3"]) -> None:
    """Start the patch embedding as the whitened principal components of grey patches, equal over colours and frames."""
    patches = pictures_to_patches(pictures).view(-1, 3, PATCH * PATCH).mean(1).double()
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    weight = model.model.visual.patch_embed.proj.weight
    width = weight.shape[0]
    rows = (vectors[:, -width:] / (values[-width:].clamp_min(0) + 0.05 * values.mean()).sqrt()).T
    with torch.no_grad():
        weight.copy_((rows / 6).float().view(width, 1, 1, PATCH, PATCH).expand_as(weight))
