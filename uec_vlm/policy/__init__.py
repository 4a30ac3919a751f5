"""Station: a model folder and completions in; log-probabilities and exact entropy of the sampled tokens out.

`load` opens a checkpoint folder of a supported family (`families`) as a `model`, in four bits by `quantize`. `prefix`
runs every distinct prompt once, `pictures` its vision tower; `score` scores completions against those prompts,
`vocabulary` without holding the logits. `forward` calls the whole model, `lean` its layers.
"""

from uec_vlm.policy.families import FAMILIES, Family
from uec_vlm.policy.load import (
    ADAPTED_LAYERS,
    LoraSettings,
    Reader,
    check_config,
    load_config,
    load_policy,
    load_reader,
    save_policy,
)
from uec_vlm.policy.model import Policy, sharing_tower
from uec_vlm.policy.prefix import Prefix, expand, prefill
from uec_vlm.policy.quantize import NEEDS_BITSANDBYTES, count_of, has_bitsandbytes
from uec_vlm.policy.score import head_calls, score, score_padded
from uec_vlm.policy.served import save_untied

__all__ = [
    "ADAPTED_LAYERS",
    "FAMILIES",
    "NEEDS_BITSANDBYTES",
    "Family",
    "LoraSettings",
    "Policy",
    "Prefix",
    "Reader",
    "check_config",
    "count_of",
    "expand",
    "has_bitsandbytes",
    "head_calls",
    "load_config",
    "load_policy",
    "load_reader",
    "prefill",
    "save_policy",
    "save_untied",
    "score",
    "score_padded",
    "sharing_tower",
]
