"""Which parallelism goes with which settings. What does not is refused before the model is loaded, with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from uec_vlm.config import ModelSection, RunConfig, SftConfig
from uec_vlm.errors import ConfigError
from uec_vlm.policy import NEEDS_BITSANDBYTES, has_bitsandbytes
from uec_vlm.trainer.learner import Kind

# AdamW moves a weight by about the learning rate. Half a unit in the last place of a bfloat16 weight of 0.02 is 6e-5.
_LOST_IN_BFLOAT16 = 1e-4


@dataclass(frozen=True)
class Parallelism:
    """What accelerate runs. precision: its mixed_precision ("no", "bf16", "fp16", "fp8"). world: processes."""

    kind: Kind
    precision: str
    world: int

    @property
    def keeps_float32(self) -> bool:
        """Whether it steps float32 weights behind bfloat16 ones."""
        return self.precision == "bf16" and self.kind in ("zero2", "zero3", "fsdp2")


_ALONE = Parallelism("one", "no", 1)


def refuse_combination(config: RunConfig, parallelism: Parallelism) -> None:
    """ConfigError with the reason and the remedy for settings that cannot be trained with under it."""
    _refuse(check(config, parallelism) for check in (_precision, _lost_updates, _quantization))


def _precision(config: RunConfig, parallelism: Parallelism) -> str | None:
    dtype, kind = config.model.dtype, parallelism.kind
    if parallelism.precision not in ("no", "bf16"):
        return (
            f"mixed_precision = {parallelism.precision}: the loop trains in float32 or bfloat16, since scores in a "
            "smaller range overflow. Set mixed_precision: bf16 in the accelerate file."
        )
    if parallelism.precision == "bf16" and kind in ("one", "ddp"):
        return (
            f"mixed_precision = bf16 with {'one process' if kind == 'one' else 'DDP'}: training would compute in other "
            'numbers than sampling. Set mixed_precision: "no", and model.dtype = bfloat16 with an adapter, or shard '
            "with configs/accelerate/zero2.yaml."
        )
    if parallelism.precision == "bf16" and dtype != "bfloat16":
        return (
            f"mixed_precision = bf16 with model.dtype = {dtype}: the weights would be turned into bfloat16, while "
            "the configuration says otherwise. Set model.dtype = bfloat16 (float32 weights are kept for the optimizer)."
        )
    if parallelism.precision == "no" and dtype == "bfloat16" and kind in ("zero2", "zero3", "fsdp2"):
        return (
            f"model.dtype = bfloat16 with mixed_precision = no under {kind}: no float32 weights would be kept for the "
            "optimizer. Set mixed_precision: bf16 in the accelerate file."
        )
    return None


def foreseen(config: RunConfig) -> Iterator[tuple[Literal["error", "warning"], str]]:
    """What `refuse_combination` will say: an error however the run is started, a warning where it is one process."""
    if (reason := _quantization(config, _ALONE)) is not None:
        yield "error", reason
    if (reason := _lost_updates(config, _ALONE)) is not None:
        yield "warning", f"Unless it is started with the optimizer's own float32 weights: {reason}"


def refuse_sft_combination(config: SftConfig) -> None:
    """ConfigError with the reason and the remedy for settings that supervised training, one process, cannot have."""
    lost = _lost(config.model, _ALONE, "sft.learning_rate", config.sft.learning_rate)
    _refuse((lost, _no_bitsandbytes(config.model)))


def _refuse(reasons: Iterable[str | None]) -> None:
    for reason in reasons:
        if reason is not None:
            raise ConfigError(reason)


def _lost_updates(config: RunConfig, parallelism: Parallelism) -> str | None:
    return _lost(config.model, parallelism, "update.learning_rate", config.update.learning_rate)


def needs_float32_behind(model: ModelSection, rate: float) -> bool:
    """Whether most updates at this learning rate are smaller than the last place of the weights that are trained."""
    return model.lora is None and model.dtype == "bfloat16" and rate < _LOST_IN_BFLOAT16


def _lost(model: ModelSection, parallelism: Parallelism, key: str, rate: float) -> str | None:
    if needs_float32_behind(model, rate) and not parallelism.keeps_float32:
        return (
            f"model.dtype = bfloat16 with {key} = {rate}: without float32 weights behind them most "
            "updates are smaller than the last place of a weight and would be lost. Shard with "
            "configs/accelerate/zero2.yaml (one GPU: zero3_offload.yaml), train an adapter (model.lora), or set "
            "model.dtype = float32."
        )
    return None


def _quantization(config: RunConfig, parallelism: Parallelism) -> str | None:
    chosen = config.model.quantization
    if chosen is None:
        return None
    if (missing := _no_bitsandbytes(config.model)) is not None:
        return missing
    if parallelism.kind not in ("one", "ddp"):
        return (
            f"model.quantization = {chosen} under {parallelism.kind}: it would cut or convert packed four-bit "
            "weights as if they were numbers. Use one process or configs/accelerate/ddp.yaml (each process then "
            "holds the quantized model whole), or set model.quantization = null."
        )
    if config.rollout.outside:
        return (
            f"model.quantization = {chosen} with rollout.engine = {config.rollout.engine}: a server samples with "
            "other weights than the four-bit ones that are trained over. Set rollout.engine = hf, or "
            "model.quantization = null."
        )
    return None


def _no_bitsandbytes(model: ModelSection) -> str | None:
    if model.quantization is None or has_bitsandbytes():
        return None
    return f"model.quantization = {model.quantization} {NEEDS_BITSANDBYTES}, or set model.quantization = null."
