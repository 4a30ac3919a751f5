"""The policy in training, under the engine that accelerate puts around it: one process, DDP, DeepSpeed ZeRO or FSDP2.

All engines average gradients over the ranks, so a loss goes into `backward` times their number. Every rank makes the
same calls in the same order, whatever it has to do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from uec_vlm.policy import Policy, count_of
from uec_vlm.trainer.ranks import Ranks
from uec_vlm.trainer.scoring import Scorer

T = TypeVar("T")
Kind = Literal["one", "ddp", "zero1", "zero2", "zero3", "fsdp2"]


class Root(nn.Module):
    """Runs our own forward as that of a module: the engines' hooks hang on it.

    The engines look for tensors in what it returns, so `work` returns a tuple of tensors.
    """

    def __init__(self, model: nn.Module) -> None:
        """Take the model that the forward uses."""
        super().__init__()
        self.model = model
        self._no_split_modules = getattr(model, "_no_split_modules", None)  # the layers that FSDP2 shards one by one

    @property
    def config(self) -> Any:
        """The model's configuration, which accelerate asks for."""
        return cast(Any, self.model).config

    def forward(self, work: Callable[[], T]) -> T:
        """Do the work."""
        return work()


@dataclass(frozen=True)
class Learner:
    """A policy under one process, DDP or FSDP2.

    root: the prepared `Root`. optimizer: as accelerate prepared it. replica: where the policy's weights are shards, a
    whole copy to sample with; None where the policy itself is whole, or on a rank that gives no weights. outside:
    whether servers sample, which the first rank alone gives the weights.
    """

    policy: Policy
    root: nn.Module
    optimizer: Any
    accelerator: Accelerator
    ranks: Ranks
    kind: Kind
    replica: Policy | None = None
    outside: bool = False

    @property
    def sharded(self) -> bool:
        """Whether a rank holds only a part of the weights, so that every forward is a common act of all ranks."""
        return self.kind in ("zero3", "fsdp2")

    def run(self, work: Callable[[], T]) -> T:
        """A forward of the policy under the engine; `work` returns tensors, or a tuple of them."""
        return cast(T, self.root(work))

    def scorer(
        self,
        temperature: float,
        *,
        deterministic: bool,
        around: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> Scorer:
        """Scores by the policy under the engine. around, deterministic: as `Scorer` has them."""
        return Scorer(
            self.policy,
            temperature,
            run=self.run,
            together=self.ranks.world > 1,
            around=around,
            most=self.most if self.sharded else None,
            deterministic=deterministic,
        )

    @contextmanager
    def micro_batch(self, *, last: bool) -> Iterator[None]:
        """Around forward and backward of a micro-batch; `last` of the optimizer step, when gradients are exchanged."""
        waits = self.kind == "ddp" and not last
        quiet: AbstractContextManager[Any] = cast(Any, self.root).no_sync() if waits else nullcontext()
        with quiet:
            yield

    def backward(self, loss: Tensor) -> None:
        """Adds the gradient of this rank's part of the loss."""
        self.accelerator.backward(loss * self.ranks.world if self.ranks.world > 1 else loss)

    def step(self, *, rate: float, max_norm: float, finite: bool) -> float | None:
        """Clips and steps; returns the gradient norm before clipping, None where the step was skipped.

        finite: whether the losses of this rank were; a loss or gradient that is not finite on any rank skips the step.
        """
        norm = self._clip(max_norm)
        sound = self.all_ranks(finite and math.isfinite(norm))
        if sound:
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm if sound else None

    def all_ranks(self, value: bool) -> bool:
        """Whether it holds on every rank."""
        return all(self.ranks.collect(lambda: value))

    def most(self, value: int) -> int:
        """The largest over the ranks."""
        return max(self.ranks.collect(lambda: value))

    def sampler(self) -> Policy:
        """The policy that a rollout engine samples with: whole weights, as they are now. A common act of all ranks.

        A rank that gives no weights takes part, and gets the policy as it is.
        """
        if not self.sharded:
            return self.policy
        with torch.no_grad():
            copies = self.replica.model.state_dict() if self.replica is not None else None
            for name, value in self.weights():
                if copies is not None:
                    copies[name].copy_(value)
        return self.replica or self.policy

    def scale(self, factor: float) -> None:
        """All floating-point weights times a factor, in place; a common act of all ranks."""
        state = self.policy.model.state_dict(keep_vars=True)  # makes FSDP2 put away what it has gathered
        kept = {id(value): value for value in state.values() if isinstance(value, nn.Parameter)}  # shared ones once
        with torch.no_grad():
            for value in kept.values():
                if value.is_floating_point():
                    self._scale(value, factor)

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Names of the model's state dict with whole tensors, one after another; a common act of all ranks."""
        for name, value in self.policy.model.state_dict(keep_vars=True).items():
            yield name, self._whole(value)

    def gathered(self) -> dict[str, Tensor] | None:
        """The whole weights on the CPU of the first rank, nothing on the others; None where they are whole anyway."""
        if not self.sharded:
            return None
        kept: dict[str, Tensor] = {}
        for name, value in self.weights():
            if self.ranks.first:
                kept[name] = value.cpu().clone()
        return kept

    @property
    def weight_count(self) -> int:
        """Parameters of the whole model."""
        return sum(count_of(parameter) for parameter in self.policy.model.parameters())

    def _clip(self, max_norm: float) -> float:
        parameters = [parameter for parameter in self.policy.model.parameters() if parameter.requires_grad]
        if self.kind == "fsdp2":
            norm: Any = torch.nn.utils.clip_grad_norm_(parameters, max_norm)
            return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
        clipped = self.accelerator.clip_grad_norm_(self.policy.model.parameters(), max_norm)
        return float("nan") if clipped is None else float(clipped)

    def _scale(self, value: Tensor, factor: float) -> None:
        value.mul_(factor)

    def _whole(self, value: Tensor) -> Tensor:
        return value.detach() if self.kind != "fsdp2" or not hasattr(value, "full_tensor") else value.full_tensor()


@dataclass(frozen=True)
class ZeroLearner(Learner):
    """A policy under DeepSpeed ZeRO, whose engine clips, checks and steps itself."""

    @contextmanager
    def micro_batch(self, *, last: bool) -> Iterator[None]:
        """See `Learner.micro_batch`."""
        cast(Any, self.root).set_gradient_accumulation_boundary(is_boundary=last)
        yield

    def backward(self, loss: Tensor) -> None:
        """See `Learner.backward`. accelerate's own would step as well, before anything is checked.

        A loss that is not finite is made to leave gradients that are not: the engine skips a step by those alone.
        """
        weight = self.ranks.world if bool(torch.isfinite(loss)) else math.nan
        cast(Any, self.root).backward(loss * weight)

    def step(self, *, rate: float, max_norm: float, finite: bool) -> float | None:
        """See `Learner.step`. What is not finite is seen by the engine in its gradients, whole ones."""
        engine = cast(Any, self.root)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        engine.step()
        if not engine.was_step_applied():
            return None
        return float(engine.get_global_grad_norm())

    def _scale(self, value: Tensor, factor: float) -> None:
        if not hasattr(value, "ds_id"):
            value.mul_(factor)
            return
        import deepspeed

        with deepspeed.zero.GatheredParameters([value], modifier_rank=0):
            value.mul_(factor)

    def _whole(self, value: Tensor) -> Tensor:
        if not hasattr(value, "ds_id"):
            return value.detach()
        import deepspeed

        with deepspeed.zero.GatheredParameters([value]):
            return value.detach().clone()
