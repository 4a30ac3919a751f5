"""The patch embedding of a vision tower as a matrix product."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from uec_vlm.policy.forward import backbone_of


class PatchProduct(nn.Conv3d):
    """A convolution whose kernel covers its input once: the product of flattened patches and flattened kernels.

    The Qwen-VL towers call theirs with one patch per row; as a convolution that takes several times as long on a CPU.
    The weight is the convolution's own, so nothing changes in a state dict.
    """

    def forward(self, input: Float[Tensor, "N C t h w"]) -> Float[Tensor, "N D 1 1 1"]:
        """As `Conv3d`; an input that the kernel does not cover at once goes through the convolution."""
        if input.shape[1:] != self.weight.shape[1:] or any(self.padding):
            return super().forward(input)
        product = torch.nn.functional.linear(input.flatten(1), self.weight.flatten(1), self.bias)
        return product[:, :, None, None, None]


def embed_patches_by_product(model: nn.Module) -> None:
    """Let the tower of a model, where it has one, embed its patches by a product; the module stays the same object."""
    projection: Any = getattr(getattr(getattr(backbone_of(model), "visual", None), "patch_embed", None), "proj", None)
    if type(projection) is nn.Conv3d:
        projection.__class__ = PatchProduct
