"""The processes of a run: who does which share, and how the shares become one whole that everybody knows.

The control plane is replicated, the data plane is shared out (docs/decisions): every rank draws the same prompts and
decides the same things with the same code; rendering, sampling, judging and scoring are shared, and their small
results are gathered. Pictures never travel.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from uec_vlm.errors import EngineError, RunError, UecError

T = TypeVar("T")
Made = TypeVar("Made")
_Sent = tuple[str, Any]  # "made" with what was made, else the kind of a failure with its text
_KNOWN = "known_to_all_ranks"
_LET_GO = 0.2  # seconds


@dataclass(frozen=True)
class Ranks:
    """This process among those of the run. One process is the ordinary case and never communicates.

    rank: in [0, world). world: number of processes. group: the process group that small records travel through (on the
    CPU, whatever the weights are on); None for one process.
    """

    rank: int = 0
    world: int = 1
    group: Any = field(default=None, repr=False)

    @property
    def first(self) -> bool:
        """Whether this process writes the run folder and speaks to the user."""
        return self.rank == 0

    def mine(self, items: Sequence[T]) -> list[T]:
        """The items that fall to this rank: every world-th, so that long and short ones mix."""
        return list(items[self.rank :: self.world])

    def spread(self, items: Sequence[T], work: Callable[[list[T]], Sequence[Any]]) -> list[Any]:
        """`work` of all items, done by all ranks: each does its share, all get all results, in the items' order.

        Raises on every rank what `work` raised on one, so that no rank waits for one that has stopped.
        """
        if self.world == 1:
            return list(work(list(items)))
        shares = self.collect(lambda: list(work(self.mine(items))))
        return [shares[place % self.world][place // self.world] for place in range(len(items))]

    def collect(self, make: Callable[[], T]) -> list[T]:
        """What `make` gives on each rank, known to all; raises everywhere what it raised on one.

        `make` may itself collect: what has been raised everywhere by then is not told again. And a rank that fails
        before such an inner act meets the others in it, where they are told of the failure.
        """
        if self.world == 1:
            return [make()]
        import torch.distributed as dist

        own: BaseException | None = None
        try:
            sent: _Sent = ("made", make())
        except Exception as error:  # whatever it is, the other ranks must not wait for ever
            if _KNOWN in error.__dict__:
                raise
            own, sent = error, _told(error)
        parts: list[Any] = [None] * self.world
        dist.all_gather_object(parts, sent, group=self.group)
        if own is not None:
            raise _known(own)
        for rank, part in enumerate(parts):
            self._refuse_failure(rank, part)
        return [value for _, value in parts]

    def first_does(self, make: Callable[[], T], work: Callable[[list[T]], Sequence[Made]]) -> Made:
        """What rank 0's `work` makes of the whole for this rank: it gets what `make` gives on each, and answers each.

        Raises everywhere what either raised on one rank.
        """
        if self.world == 1:
            return work([make()])[0]
        import torch.distributed as dist

        mine: list[T] = []
        self.collect(lambda: mine.append(make()))  # a failure arrives here, and what is made goes to rank 0 alone
        parts: list[Any] | None = [None] * self.world if self.first else None
        dist.gather_object(mine[0], parts, group=self.group)
        own: BaseException | None = None
        answers: list[_Sent] | None = None
        if parts is not None:
            try:
                answers = [("made", answer) for _, answer in zip(parts, work(parts), strict=True)]
            except Exception as error:
                own, answers = error, [_told(error)] * self.world
        got: list[Any] = [None]
        dist.scatter_object_list(got, answers, group=self.group)
        if own is not None:
            raise _known(own)
        self._refuse_failure(0, got[0])
        made: Made = got[0][1]
        return made

    def joined(self, mine: Mapping[int, T]) -> dict[int, T]:
        """The entries of all ranks as one dict; no key may come from two."""
        found: dict[int, T] = {}
        for part in self.collect(lambda: dict(mine)):
            found |= part
        return found

    def from_first(self, make: Callable[[], T]) -> T:
        """What `make` gives on rank 0, known to all; the others do not call it."""
        made: T | None = self.collect(lambda: make() if self.first else None)[0]
        return made  # type: ignore[return-value]

    def _refuse_failure(self, rank: int, sent: _Sent) -> None:
        kind, value = sent
        if kind != "made":
            failed = EngineError if kind == "engine" else RunError
            raise _known(failed(f"process {rank} of {self.world} stopped: {value}"))


@contextmanager
def ended_in_peace() -> Iterator[None]:
    """Around all that a process of several does: behind it the process can end.

    gloo's threads need the interpreter to let go of the last records. A process that ends meanwhile is aborted
    (SIGABRT), and torchrun takes a finished run for a failed one. NCCL complains of groups that nobody destroyed. After
    an error they are left alone: others may be waiting in them.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    import torch.distributed as dist

    try:
        yield
        if dist.is_initialized():
            dist.destroy_process_group()
    finally:
        time.sleep(_LET_GO)


def _told(error: Exception) -> _Sent:
    kind = "engine" if isinstance(error, EngineError) else "failed"
    return kind, str(error) if isinstance(error, UecError) else repr(error)


def _known(error: BaseException) -> BaseException:
    """The error, marked as one that every rank raises at this point."""
    error.__dict__[_KNOWN] = True
    return error


ALONE = Ranks()
"""One process."""
