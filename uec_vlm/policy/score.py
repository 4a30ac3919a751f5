"""Log-probability, exact entropy and its moment for every sampled token, over the text outputs only.

Formulas: entropy H = -sum_a pi_a log pi_a in nats; moment = sum_a pi_a D_a with D_a = pi_a (log pi_a + H), so that
one sampled token b of weight w moves the entropy by -eta w (D_b - moment) to first order (the project's description
of UEC-RL, section 1).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from uec_vlm.policy.forward import drops_cache, run_backbone, whole_head
from uec_vlm.policy.lean import lean_states, lean_text
from uec_vlm.policy.lengths import by_length
from uec_vlm.policy.model import Policy
from uec_vlm.policy.packed import can_pack, packed_states
from uec_vlm.policy.prefix import Prefix, expand, pad_rows, prefill
from uec_vlm.policy.vocabulary import HeadSettings, score_from_states
from uec_vlm.records import CompletionBatch, TokenScores

# Positions whose logits exist at a time where the head can only be called.
_HEAD_ROWS = 256


def score(
    policy: Policy,
    batch: CompletionBatch,
    *,
    temperature: float,
    banned_ids: Sequence[int] | None = None,
    entropy_gradient: bool = False,
    want_entropy: bool = True,
    chunk: int | None = None,
    parts: int | None = None,
) -> TokenScores:
    """Score the completions; each distinct prompt is read once and its completions attend to it, with exact gradients.

    temperature: of the distribution that is scored, > 0. banned_ids: tokens outside the support (default: the
    policy's). entropy_gradient: whether `entropy` carries a gradient. want_entropy: False leaves entropy and moment
    at 0. chunk: positions whose logits exist at a time (None: what suits the device); they are formed again in the
    backward pass. parts: for weights that are shards, whose every use is a common act of all processes: then layers and
    head are called as often on each, the head so many times (`head_calls` of the process that needs most).
    Under gradient checkpointing in training mode no cache can be kept: prompt and completions share a row under a mask
    (with flash attention, which takes none, each has a padded row of its own), to the same result.
    """
    settings = _settings(policy, temperature, banned_ids, entropy_gradient, want_entropy, chunk, parts)
    return _score_states(policy, batch, _completion_states(policy, batch, alike=parts is not None), settings)


def head_calls(batch: CompletionBatch) -> int:
    """How many times the head is called for a batch where it can only be called."""
    return -(-int(batch.completion_mask.sum()) // _HEAD_ROWS)


def score_padded(
    policy: Policy,
    batch: CompletionBatch,
    *,
    temperature: float,
    banned_ids: Sequence[int] | None = None,
    entropy_gradient: bool = False,
    want_entropy: bool = True,
    chunk: int | None = None,
) -> TokenScores:
    """The same as `score`, with prompt and completion in one padded row each: slower, and what tests compare with."""
    states = _predicting_states_padded(policy, batch)[batch.completion_mask.to(policy.device)]
    settings = _settings(policy, temperature, banned_ids, entropy_gradient, want_entropy, chunk)
    return _score_states(policy, batch, states, settings)


def _settings(
    policy: Policy,
    temperature: float,
    banned_ids: Sequence[int] | None,
    entropy_gradient: bool,
    want_entropy: bool,
    chunk: int | None,
    parts: int | None = None,
) -> HeadSettings:
    banned = tuple(policy.banned_ids if banned_ids is None else banned_ids)
    return HeadSettings(temperature, banned, entropy_gradient, want_entropy, chunk, parts)


def _completion_states(policy: Policy, batch: CompletionBatch, *, alike: bool) -> Float[Tensor, "M H"]:
    """The state that predicts each completion token, in the fastest form that this model and its mode allow.

    alike: layers are called as often whatever the lengths are.
    """
    mask = batch.completion_mask.to(policy.device)
    if drops_cache(policy.model):
        form = packed_states if can_pack(policy) else _predicting_states_padded
        return form(policy, batch)[mask]
    text = lean_text(policy)
    shared = alike or text is None
    return _predicting_states_shared(policy, batch, alike)[mask] if shared else lean_states(policy, text, batch)


def _predicting_states_shared(policy: Policy, batch: CompletionBatch, alike: bool) -> Float[Tensor, "B T H"]:
    """State [b, t] predicts completion_ids[b, t]: the prompt's last state, then those of the completion's tokens."""
    prefix = prefill(policy, batch.prompts)
    lengths = batch.completion_mask.sum(1)
    width = batch.completion_ids.shape[1]
    if alike:
        return _extended(policy, prefix, batch, torch.arange(len(lengths)), width)
    parts, order = [], []
    for rows in by_length(lengths, device=policy.device):
        part = _extended(policy, prefix, batch, rows, int(lengths[rows].max()))
        parts.append(torch.nn.functional.pad(part, (0, 0, 0, width - part.shape[1])))
        order.append(rows)
    return torch.cat(parts)[torch.cat(order).argsort().to(policy.device)]


def _extended(
    policy: Policy, prefix: Prefix, batch: CompletionBatch, rows: Int[Tensor, " _"], longest: int
) -> Float[Tensor, "_ T H"]:
    """The predicting states of some rows, of which the longest has this many tokens."""
    read = expand(prefix, batch.prompt_index[rows])
    first = read.hidden.unsqueeze(1)
    if longest == 1:
        return first
    token_ids = batch.completion_ids[rows, : longest - 1].to(policy.device)
    mask = torch.cat([read.mask, batch.completion_mask[rows, : longest - 1].to(policy.device)], dim=1)
    positions = read.next_position.unsqueeze(1) + torch.arange(longest - 1, device=policy.device)
    return torch.cat([first, policy.extend(token_ids, mask=mask, positions=positions, cache=read.cache)], dim=1)


def _predicting_states_padded(policy: Policy, batch: CompletionBatch) -> Float[Tensor, "B T H"]:
    """The same states from whole rows: a completion follows its prompt directly, and the row is padded behind it."""
    prompts = [batch.prompts[index] for index in batch.prompt_index.tolist()]
    tails = [ids[keep] for ids, keep in zip(batch.completion_ids, batch.completion_mask, strict=True)]
    rows = pad_rows(policy, prompts, tails)
    hidden = run_backbone(
        policy.model,
        token_ids=rows.token_ids,
        mask=rows.mask,
        positions=rows.positions,
        pixel_values=rows.pixel_values,
        grid=rows.grid,
        features=rows.features,
    )
    starts = torch.tensor([len(prompt.token_ids) - 1 for prompt in prompts], device=hidden.device)
    place = starts.unsqueeze(1) + torch.arange(batch.completion_ids.shape[1], device=hidden.device)
    place = place.clamp(max=hidden.shape[1] - 1)
    return hidden.gather(1, place.unsqueeze(-1).expand(-1, -1, hidden.shape[-1]))


def _score_states(
    policy: Policy, batch: CompletionBatch, states: Float[Tensor, "M H"], settings: HeadSettings
) -> TokenScores:
    """Score where the mask is True; 0 elsewhere. Padded positions never reach the head."""
    if settings.temperature <= 0:
        raise ValueError(f"temperature = {settings.temperature}: scoring needs a temperature above 0")
    mask = batch.completion_mask.to(states.device)
    targets = batch.completion_ids.to(states.device)[mask]
    if bool(torch.isin(targets, torch.tensor(settings.banned_ids, dtype=torch.long, device=states.device)).any()):
        raise ValueError("a completion holds a banned token: its log-probability is minus infinity; pass banned_ids=()")
    head = whole_head(policy.model)
    if head is not None:
        found = score_from_states(states, head.weight, head.bias, targets, settings)
    else:
        found = _score_through_head(policy, states, targets, settings)
    empty = torch.zeros(mask.shape, dtype=found[0].dtype, device=states.device)
    logprobs, entropy, moment = (empty.masked_scatter(mask, values) for values in found)
    return TokenScores(logprobs=logprobs, entropy=entropy, moment=moment)


def _score_through_head(
    policy: Policy, states: Float[Tensor, "M H"], targets: Int[Tensor, " M"], settings: HeadSettings
) -> tuple[Float[Tensor, " M"], Float[Tensor, " M"], Float[Tensor, " M"]]:
    """Score by calls of the head, whatever it is: whole rows of logits, some positions at a time."""
    banned = torch.tensor(settings.banned_ids, dtype=torch.long, device=states.device)

    def of_chunk(part: Tensor, part_targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = policy.logits(part)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        scaled = logits / settings.temperature
        return _of_logits(scaled, part_targets, banned, settings.entropy_gradient, settings.want_entropy)

    pieces, rows = [], settings.chunk or _HEAD_ROWS
    cut = settings.parts or max(1, -(-len(states) // rows))
    for part, part_targets in zip(states.tensor_split(cut), targets.tensor_split(cut), strict=True):
        if torch.is_grad_enabled():
            pieces.append(checkpoint(of_chunk, part, part_targets, use_reentrant=False, preserve_rng_state=False))
        else:
            pieces.append(of_chunk(part, part_targets))
    logprobs, entropy, moment = (torch.cat(part) for part in zip(*pieces, strict=True))
    return logprobs, entropy, moment


def _of_logits(
    logits: Float[Tensor, "M V"],
    targets: Int[Tensor, " M"],
    banned: Int[Tensor, " X"],
    entropy_gradient: bool,
    want_entropy: bool,
) -> tuple[Float[Tensor, " M"], Float[Tensor, " M"], Float[Tensor, " M"]]:
    """Log-probability of the targets, entropy and moment of each row, over the tokens that are not banned."""
    log_all = logits.index_fill(-1, banned, float("-inf")).log_softmax(-1)
    logprobs = log_all.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    if not want_entropy:
        return logprobs, torch.zeros_like(logprobs), torch.zeros_like(logprobs)
    # 0 log 0 = 0: a banned token has probability 0, so any finite number may stand for its logarithm.
    with torch.set_grad_enabled(entropy_gradient and torch.is_grad_enabled()):
        finite = log_all.index_fill(-1, banned, 0.0)
        weights = log_all.exp()
        entropy = -(weights * finite).sum(-1)
    with torch.no_grad():
        moment = (weights.square() * (finite + entropy.unsqueeze(-1))).sum(-1)
    return logprobs, entropy, moment
