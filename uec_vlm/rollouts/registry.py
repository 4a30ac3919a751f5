"""The known engines by name; a library is loaded only when its engine is asked for."""

from __future__ import annotations

from collections.abc import Callable

from uec_vlm.rollouts.engine import RolloutEngine


def _hf() -> Callable[..., RolloutEngine]:
    from uec_vlm.rollouts.hf import HFEngine

    return HFEngine


def _vllm() -> Callable[..., RolloutEngine]:
    from uec_vlm.rollouts.vllm import VLLMEngine

    return VLLMEngine


# From a name to a function that imports the engine's class: a library is loaded only when its engine is asked for.
ENGINES: dict[str, Callable[[], Callable[..., RolloutEngine]]] = {"hf": _hf, "vllm": _vllm}
