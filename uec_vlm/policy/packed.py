"""A prompt and all its completions in one row, under a mask that keeps the completions from one another.

The form for gradient checkpointing, which drops a cache: each prompt and each picture is still read once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from uec_vlm.policy.forward import backbone_of, run_backbone
from uec_vlm.policy.model import Policy
from uec_vlm.policy.prefix import pad_rows
from uec_vlm.records import CompletionBatch


def can_pack(policy: Policy) -> bool:
    """Whether the attention takes a mask of any shape; flash attention does not."""
    return _attention(policy) in ("sdpa", "eager")


def packed_states(policy: Policy, batch: CompletionBatch) -> Float[Tensor, "B T H"]:
    """State [b, t] predicts completion_ids[b, t]; past the end of a completion it means nothing."""
    plan = _plan(batch)
    rows = pad_rows(policy, batch.prompts, plan.tails)
    width = rows.token_ids.shape[1]
    # A row counts on from its prompt through all its completions; each of them starts from the prompt instead.
    shift = _filled(plan.shifts, width, 0).to(policy.device)
    hidden = run_backbone(
        policy.model,
        token_ids=rows.token_ids,
        mask=_as_the_attention_wants(policy, _sees(_filled(plan.owners, width, _NOBODY).to(policy.device))),
        positions=rows.positions - shift,
        pixel_values=rows.pixel_values,
        grid=rows.grid,
        features=rows.features,
    )
    return hidden[batch.prompt_index.to(policy.device).unsqueeze(1), plan.places.to(policy.device)]


_PROMPT, _NOBODY = -1, -2


@dataclass(frozen=True)
class _Plan:
    """Where everything stands. Lists hold an entry per prompt.

    tails: the completions' tokens behind each prompt, without their last ones, which predict nothing.
    owners: for every token of a row its completion, or that it is the prompt's. shifts: positions to take off a token.
    places: column of the row from which each completion token is predicted.
    """

    tails: list[Int[Tensor, " _"]]
    owners: list[Int[Tensor, " _"]]
    shifts: list[Int[Tensor, " _"]]
    places: Int[Tensor, "B T"]


def _plan(batch: CompletionBatch) -> _Plan:
    lengths = batch.completion_mask.sum(1).tolist()
    step = torch.arange(batch.completion_ids.shape[1])
    places = torch.zeros(batch.completion_ids.shape, dtype=torch.long)
    tails, owners, shifts = [], [], []
    for number, prompt in enumerate(batch.prompts):
        head = len(prompt.token_ids)
        tail, owner, shift, start = [], [torch.full((head,), _PROMPT)], [torch.zeros(head, dtype=torch.long)], 0
        for row in (batch.prompt_index == number).nonzero().squeeze(1).tolist():
            length = lengths[row] - 1
            tail.append(batch.completion_ids[row, :length].cpu())
            owner.append(torch.full((length,), row))
            shift.append(torch.full((length,), start))
            places[row] = torch.where(step == 0, head - 1, head + start + (step - 1).clamp(max=length - 1))
            start += length
        tails.append(torch.cat(tail))
        owners.append(torch.cat(owner))
        shifts.append(torch.cat(shift))
    return _Plan(tails, owners, shifts, places)


def _filled(rows: list[Int[Tensor, " _"]], width: int, value: int) -> Int[Tensor, "P S"]:
    full = torch.full((len(rows), width), value)
    for row, found in enumerate(rows):
        full[row, : len(found)] = found
    return full


def _sees(owner: Int[Tensor, "P S"]) -> Bool[Tensor, "P 1 S S"]:
    """Who attends to whom: to what stands before, if it is the prompt's or one's own. Padding sees the prompt."""
    related = (owner.unsqueeze(1) == _PROMPT) | (owner.unsqueeze(1) == owner.unsqueeze(2))
    return related.tril().unsqueeze(1)


def _as_the_attention_wants(policy: Policy, mask: Bool[Tensor, "P 1 S S"]) -> Tensor:
    if _attention(policy) == "sdpa":
        return mask
    dtype = next(policy.model.parameters()).dtype
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, torch.finfo(dtype).min)


def _attention(policy: Policy) -> str:
    backbone = backbone_of(policy.model)
    return str(cast(Any, getattr(backbone, "language_model", backbone)).config._attn_implementation)
