"""A row that teaches nothing, so that every rank's forward has the same form whatever it got.

Under an engine that shards or exchanges, a forward is a common act: the ranks must use the same parameters in the same
order. A rank without pictures would not use the vision tower, one whose completions have a single token would not read
on behind the prompt, one without any completion would do nothing. The blank row is read with the others and its scores
are cut off again, so it has no gradient.
"""

from __future__ import annotations

from typing import Any, cast

import torch

from uec_vlm.policy import Policy
from uec_vlm.policy.forward import backbone_of
from uec_vlm.records import CompletionBatch, Prompt, Sample

_BLANK = Sample("blank", "blank", "", "")


def with_blank(policy: Policy, batch: CompletionBatch | None, *, pictured: bool) -> CompletionBatch:
    """The batch with what it lacks: a picture where some rank may have one, a second completion token, a row at all.

    The batch's own rows and columns stay in front.
    """
    shows = pictured and policy.traits.sees
    if batch is None:
        return _only_blank(policy, shows)
    batch = _two_columns(batch)
    lacks = shows and not any(len(prompt.image_grid_thw) for prompt in batch.prompts)
    return _joined(batch, _only_blank(policy, True)) if lacks else batch


def _only_blank(policy: Policy, shows: bool) -> CompletionBatch:
    end = policy.end_ids[0]
    return CompletionBatch(
        prompts=(_blank_prompt(policy, shows),),
        prompt_index=torch.zeros(1, dtype=torch.long),
        completion_ids=torch.full((1, 2), end),
        completion_mask=torch.ones(1, 2, dtype=torch.bool),
    )


def _blank_prompt(policy: Policy, shows: bool) -> Prompt:
    """The smallest prompt: two end tokens, with a black picture of one merged patch between them where it shows one."""
    end = policy.end_ids[0]
    if not shows:
        nothing = torch.zeros(0, 0), torch.zeros(0, 3, dtype=torch.long)
        return Prompt(_BLANK, "", torch.tensor([end, end]), *nothing)
    config = cast(Any, backbone_of(policy.model)).config
    processor = policy.processor.image_processor
    merge, width = processor.merge_size, 3 * processor.temporal_patch_size * processor.patch_size**2
    ids = torch.tensor([end, config.vision_start_token_id, config.image_token_id, config.vision_end_token_id, end])
    return Prompt(_BLANK, "", ids, torch.zeros(merge**2, width), torch.tensor([[1, merge, merge]]))


def _two_columns(batch: CompletionBatch) -> CompletionBatch:
    if batch.completion_ids.shape[1] > 1:
        return batch
    pad = (0, 1)
    return CompletionBatch(
        prompts=batch.prompts,
        prompt_index=batch.prompt_index,
        completion_ids=torch.nn.functional.pad(batch.completion_ids, pad),
        completion_mask=torch.nn.functional.pad(batch.completion_mask, pad),
    )


def _joined(batch: CompletionBatch, blank: CompletionBatch) -> CompletionBatch:
    pad = (0, batch.completion_ids.shape[1] - blank.completion_ids.shape[1])
    ids, mask = (torch.nn.functional.pad(part, pad) for part in (blank.completion_ids, blank.completion_mask))
    return CompletionBatch(
        prompts=(*batch.prompts, *blank.prompts),
        prompt_index=torch.cat([batch.prompt_index, blank.prompt_index + len(batch.prompts)]),
        completion_ids=torch.cat([batch.completion_ids, ids]),
        completion_mask=torch.cat([batch.completion_mask, mask]),
    )
