"""Pictures: decoded once, resized once, cut into patches. The only code of this station that knows the vision axes.

A picture of grid (t, h, w) has t*h*w patches, rows of `pixel_values`, and stands in the prompt as t*h*w / merge^2
tokens.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from uec_vlm.errors import DataError
from uec_vlm.pictures import as_shown

# The factor that qwen_vl_utils multiplies the patch size with; a processor that merges otherwise is allowed for below.
_MERGE_OF_UTILS = 2


def decode_picture(data: bytes, place: str, *, remedy: str = "Prepare the data again.") -> Image.Image:
    """Decode to RGB, upright, transparency over white.

    Raises DataError with `place` and `remedy` when the bytes are no whole picture.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.verify()  # the checksums of a PNG, which decoding alone does not look at
        with Image.open(io.BytesIO(data)) as opened:
            shown = as_shown(opened)
            if "A" not in shown.getbands() and "transparency" not in shown.info:
                return shown.convert("RGB")
            paper = Image.new("RGBA", shown.size, "white")
            return Image.alpha_composite(paper, shown.convert("RGBA")).convert("RGB")
    except Exception as error:  # decoders raise errors of every kind on broken bytes
        # Pillow names the buffer by its address in memory, which tells nothing
        reason = "of no known format" if isinstance(error, UnidentifiedImageError) else error
        raise DataError(f"{place}: the picture cannot be decoded ({reason}). {remedy}") from error


def resize_pictures(
    images: Sequence[bytes], image_processor: Any, *, min_pixels: int | None, max_pixels: int | None, place: str
) -> list[Image.Image]:
    """Decode the pictures and let qwen_vl_utils choose their size; the processor must not resize them again.

    min_pixels, max_pixels: limits of the area; None means the limits that the processor was loaded with.
    """
    from qwen_vl_utils import process_vision_info

    smallest = min_pixels if min_pixels is not None else image_processor.size["shortest_edge"]
    largest = max_pixels if max_pixels is not None else image_processor.size["longest_edge"]
    patch = image_processor.patch_size * image_processor.merge_size // _MERGE_OF_UTILS
    resized: list[Image.Image] = []
    for number, data in enumerate(images, start=1):
        here = f"{place}: picture {number}"
        part = {"type": "image", "image": decode_picture(data, here), "min_pixels": smallest, "max_pixels": largest}
        try:
            found, _ = process_vision_info([{"role": "user", "content": [part]}], image_patch_size=patch)
        except (ValueError, AssertionError, ZeroDivisionError) as error:
            raise DataError(
                f"{here} cannot be resized to between {smallest} and {largest} pixels ({error})."
            ) from error
        resized += found
    return resized


def image_token_count(grid: Int[Tensor, "I 3"], merge_size: int) -> int:
    """Return how many tokens the pictures of these grids take in a prompt."""
    return int(grid.prod(-1).sum()) // merge_size**2


def no_pictures(image_processor: Any | None) -> tuple[Float[Tensor, "0 D"], Int[Tensor, "0 3"]]:
    """Return the empty pixel values and grids of a prompt without pictures."""
    width = 0
    if image_processor is not None:
        width = 3 * image_processor.temporal_patch_size * image_processor.patch_size**2
    return torch.zeros(0, width), torch.zeros(0, 3, dtype=torch.long)
