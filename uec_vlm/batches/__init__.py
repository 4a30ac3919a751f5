"""Station: Parquet rows in; prompts for the model, and padded batches of completions out.

`samples.py` reads rows lazily, `sampler.py` says which come next, `prompts.py` and `vision.py` make prompts of them,
`micro.py` cuts trajectories into micro-batches and `collate.py` pads those.
"""

from uec_vlm.batches.choices import choices_listed
from uec_vlm.batches.collate import collate, collate_completions, on_device
from uec_vlm.batches.micro import cut_by_tokens, cut_for_ranks, cut_rollouts
from uec_vlm.batches.mixture import Mixture, block_quotas, draw_places, where
from uec_vlm.batches.prefetch import PromptReader
from uec_vlm.batches.prompts import PromptCache, PromptSettings, render
from uec_vlm.batches.purpose import refuse_evaluation_only
from uec_vlm.batches.sampler import draw
from uec_vlm.batches.samples import SampleStore, load_samples

__all__ = [
    "Mixture",
    "PromptCache",
    "PromptReader",
    "PromptSettings",
    "SampleStore",
    "block_quotas",
    "choices_listed",
    "collate",
    "collate_completions",
    "cut_by_tokens",
    "cut_for_ranks",
    "cut_rollouts",
    "draw",
    "draw_places",
    "load_samples",
    "on_device",
    "refuse_evaluation_only",
    "render",
    "where",
]
