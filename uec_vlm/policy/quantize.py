"""The base of an adapter in four bits (QLoRA, Dettmers et al. 2023), by bitsandbytes.

Only the linear layers that an adapter is laid over are quantized: nf4 in blocks of 64 with double quantization of the
block's scales, about 0.52 bytes a weight. Embeddings, head, norms and the vision tower keep their precision.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from typing import Any

import torch
from torch import Tensor, nn

from uec_vlm.errors import ModelError

NEEDS_BITSANDBYTES = "needs bitsandbytes, which is not installed; install the extra: pip install 'uec-vlm[qlora]'"


def has_bitsandbytes() -> bool:
    """Whether the library is there; it is not imported."""
    return importlib.util.find_spec("bitsandbytes") is not None


def quantize(model: nn.Module, layers: str, *, device: torch.device | str) -> None:
    """Put the linear layers whose names match `layers` into four bits, on the device. ModelError without bitsandbytes.

    The products are computed in the precision that the model has.
    """
    if not has_bitsandbytes():
        raise ModelError(f"model.quantization = nf4 {NEEDS_BITSANDBYTES}.")
    found = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Linear) and re.match(layers, name)]
    for name, linear in found:
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, _quantized(linear, device))
    model.is_loaded_in_4bit = True  # type: ignore[assignment]  # what peft asks before it adapts such layers


def is_quantized(module: Any) -> bool:
    """Whether a linear layer holds four-bit weights."""
    return getattr(getattr(module, "weight", None), "quant_state", None) is not None


def dequantized(module: Any) -> Tensor:
    """The matrix that a four-bit layer multiplies with, in the precision it was made from."""
    functional: Any = importlib.import_module("bitsandbytes.functional")
    matrix: Tensor = functional.dequantize_4bit(module.weight.data, module.weight.quant_state)
    return matrix


def count_of(parameter: Any) -> int:
    """How many weights a parameter stands for: four-bit ones are packed by two, shards of ZeRO-3 look empty."""
    state = getattr(parameter, "quant_state", None)
    return int(state.shape.numel()) if state is not None else int(getattr(parameter, "ds_numel", parameter.numel()))


def _quantized(linear: nn.Linear, device: torch.device | str) -> nn.Module:
    library: Any = importlib.import_module("bitsandbytes.nn")
    with torch.device("meta"):
        made: Any = library.Linear4bit(linear.in_features, linear.out_features, bias=linear.bias is not None)
    weight = library.Params4bit(linear.weight.data, requires_grad=False, quant_type="nf4", compress_statistics=True)
    made.weight = weight.to(device)
    made.quant_state = made.weight.quant_state
    made.bias = linear.bias
    made.compute_dtype, made.compute_type_is_set = linear.weight.dtype, True
    # On some processors it would compute in bfloat16 where no gradient is asked for: other scores than in training.
    made.support_avx512bf16_for_cpu = False
    return made  # type: ignore[no-any-return]
