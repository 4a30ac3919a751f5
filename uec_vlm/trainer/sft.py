"""Cold start: supervised training on problems with a written-out completion, for every family of policies.

The loss of a step is the mean of -log p over all target tokens of its batch, the end token included, and nothing of the
prompt; it does not depend on how the batch is cut into micro-batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor

from uec_vlm.batches import collate_completions
from uec_vlm.errors import ConfigError, DataError
from uec_vlm.policy import Policy, score
from uec_vlm.records import Prompt, Sample

Example = tuple[Prompt | Sample, str]


class Examples(Sequence[Example]):
    """Examples that are made when they are asked for. A class because a sequence is."""

    def __init__(self, count: int, make: Callable[[int], Example]) -> None:
        """Take how many there are, and what makes the one at a place."""
        self._count, self._make = count, make

    def __len__(self) -> int:
        """How many there are."""
        return self._count

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        """The example at `index`, or those of a slice."""
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(self._count))]
        return self._make(index)


@dataclass(frozen=True)
class SftStep:
    """What one optimizer step did.

    step: counted from 1. loss: nats per target token. target_tokens: of the whole batch. gradient_norm: before the
    clipping. learning_rate: of this step. skipped: the gradient was not finite, and the weights did not change.
    """

    step: int
    loss: float
    target_tokens: int
    gradient_norm: float
    learning_rate: float
    skipped: bool


def sft_run(
    policy: Policy,
    examples: Sequence[Example],
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    warmup_steps: int,
    weight_decay: float,
    seed: int,
    max_grad_norm: float,
    render: Callable[[Sample], Prompt] | None = None,
    micro_batch_size: int | None = None,
    on_step: Callable[[SftStep], None] | None = None,
) -> Iterator[SftStep]:
    """Train the policy's weights that ask for a gradient; yields after every optimizer step.

    examples: read one by one when a batch needs them, so they may be lazy. A `Sample` is made a prompt by `render`. The
    target is the completion's text without end token. Every pass over the examples has an order of its own, fixed by
    the seed. The learning rate rises linearly over `warmup_steps` and falls to a tenth along a cosine.
    micro_batch_size: examples that are in memory at a time (default: all); it changes no result.
    """
    _check(examples, steps, batch_size, learning_rate, micro_batch_size)
    parameters = [weight for weight in policy.model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, betas=(0.9, 0.98), weight_decay=weight_decay)
    order = _order(len(examples), seed)
    policy.model.train()
    for step in range(1, steps + 1):
        rate = learning_rate * rate_share(step, steps=steps, warmup_steps=warmup_steps)
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = [_tokenised(policy, examples[next(order)], render) for _ in range(batch_size)]
        record = _update(
            policy, batch, parameters, optimizer, step, rate, max_grad_norm, micro_batch_size or batch_size
        )
        if on_step is not None:
            on_step(record)
        yield record
    policy.model.eval()


def rate_share(step: int, *, steps: int, warmup_steps: int, floor: float = 0.1) -> float:
    """The learning rate of `step` (from 1) as a share of the highest: linear warm-up, then a cosine down to `floor`."""
    if step <= warmup_steps:
        return step / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * progress))


def target_ids(tokenizer: Any, target: str) -> list[int]:
    """The tokens of a completion, end token included."""
    return [*tokenizer(target, add_special_tokens=False)["input_ids"], int(tokenizer.eos_token_id)]


def _check(
    examples: Sequence[Example], steps: int, batch_size: int, learning_rate: float, micro_batch_size: int | None
) -> None:
    if len(examples) == 0:
        raise DataError("sft: there are no examples to train on; check the data path and the split")
    if steps < 1 or batch_size < 1 or learning_rate <= 0:
        raise ConfigError(
            f"sft: steps = {steps}, batch_size = {batch_size}, learning_rate = {learning_rate}: all must be above 0"
        )
    if micro_batch_size is not None and micro_batch_size < 1:
        raise ConfigError(f"sft: micro_batch_size = {micro_batch_size}: it must be at least 1")


def _order(count: int, seed: int) -> Iterator[int]:
    """Indices for ever, each pass a new permutation."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(count, generator=generator).tolist()


def _tokenised(policy: Policy, example: Example, render: Callable[[Sample], Prompt] | None) -> tuple[Prompt, list[int]]:
    source, target = example
    if isinstance(source, Sample):
        if render is None:
            raise ConfigError(f"sft: example '{source.id}' is a Sample; pass `render`, which makes a prompt of it")
        source = render(source)
    return source, target_ids(policy.tokenizer, _behind(source.opened, target))


def _behind(opened: str, target: str) -> str:
    """The target without the `<think>` that the prompt ends in already."""
    return target.removeprefix(opened.rstrip()).lstrip("\n") if opened else target


def _update(
    policy: Policy,
    batch: Sequence[tuple[Prompt, list[int]]],
    parameters: Sequence[Tensor],
    optimizer: torch.optim.Optimizer,
    step: int,
    rate: float,
    max_grad_norm: float,
    micro_batch_size: int,
) -> SftStep:
    """One optimizer step: every micro-batch divides by the target tokens of the whole step."""
    tokens = sum(len(ids) for _, ids in batch)
    total = 0.0
    optimizer.zero_grad(set_to_none=True)
    for start in range(0, len(batch), micro_batch_size):
        prompts, targets = zip(*batch[start : start + micro_batch_size], strict=True)
        part = collate_completions([torch.tensor(ids) for ids in targets], prompts)
        scores = score(policy, part, temperature=1.0, banned_ids=(), want_entropy=False)
        loss = -scores.logprobs.sum() / tokens
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, max_grad_norm))
    skipped = not math.isfinite(norm)
    if not skipped:
        optimizer.step()
    return SftStep(step, total, tokens, norm, rate, skipped)
