"""Several vLLM servers as one: work is dealt out, a server that fails is waited for, and none answers with old weights.

Every push gives a server a stamp of its own (run, version, a random part); a server that was restarted has none. A
worker notes the stamp before it asks, and takes the answer only if the server still has it afterwards. So an answer
cannot come from other weights, whatever was restarted or pushed in between.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from uec_vlm.errors import EngineError
from uec_vlm.rollouts.vllm_client import FRESH, ServerFacts, ServerGone, VLLMClient, WeightsLost
from uec_vlm.rollouts.vllm_server import VLLMServer

Answer = TypeVar("Answer")
Ask = Callable[[int, VLLMClient], Awaitable[Answer]]

_FIRST_PAUSE_S = 0.25
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """How long things may take, and how often they are tried.

    request_timeout_s: all completions of one prompt. connect_timeout_s: a connection. give_up_after_s: with all
    servers gone. longest_pause_s: between two looks at a server that is gone. attempts: of one prompt whose server
    fails under it.
    """

    request_timeout_s: float = 1800.0
    connect_timeout_s: float = 10.0
    give_up_after_s: float = 900.0
    longest_pause_s: float = 10.0
    attempts: int = 5


@dataclass(frozen=True)
class Weights:
    """The weights that every answer must come from. run, version: the first parts of the stamp."""

    folder: str
    run: str
    version: str

    @property
    def name(self) -> str:
        """The stamp without its random part."""
        return f"{self.run}-{self.version}"


@dataclass
class Server:
    """What is known of one server between calls.

    stamp: of our last push to it. down_since: None while it answers. failures: since it last did what it was asked.
    """

    url: str
    process: VLLMServer | None = None
    facts: ServerFacts | None = None
    stamp: str | None = None
    down_since: float | None = None
    reason: str = ""
    failures: int = 0

    def went_down(self, reason: str) -> None:
        """Note that it does not answer; the first time is told."""
        self.reason, self.failures = reason, self.failures + 1
        if self.down_since is None:
            self.down_since = time.monotonic()
            _log.warning("vLLM server %s does not answer (%s); it is asked again until it does", self.url, reason)

    def came_up(self) -> None:
        """Note that it answers. Its failures are forgotten when it has done some work, not before."""
        if self.down_since is not None:
            _log.warning("vLLM server %s answers after %.0f s", self.url, time.monotonic() - self.down_since)
        self.down_since, self.reason = None, ""


@dataclass(frozen=True)
class Fleet:
    """The servers, how patient to be with them, and what to check of one before it is first used."""

    servers: tuple[Server, ...]
    patience: Patience
    concurrency: int
    check: Callable[[str, ServerFacts], None]
    api_key: str | None = None

    async def answers(self, count: int, ask: Ask[Answer], weights: Weights) -> list[Answer]:
        """Call `ask(place, client)` once with success for every place in `range(count)`; the answers in order.

        EngineError when all servers have been gone for too long, when one prompt fails again and again, or when a
        server refuses for a reason that waiting does not mend.
        """
        round_ = _Round(self, count, ask, weights)
        async with AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(
                    VLLMClient(
                        server.url,
                        request_timeout_s=self.patience.request_timeout_s,
                        connect_timeout_s=self.patience.connect_timeout_s,
                        api_key=self.api_key,
                    )
                )
                for server in self.servers
            ]
            return await round_.run(clients)


@dataclass
class _Round(Generic[Answer]):
    """One call of `Fleet.answers`: what is still to do, and who is ready to do it."""

    fleet: Fleet
    count: int
    ask: Ask[Answer]
    weights: Weights
    done: dict[int, Answer] = field(default_factory=dict)
    attempts: Counter[int] = field(default_factory=Counter)
    todo: asyncio.Queue[int] = field(default_factory=asyncio.Queue)
    finished: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, clients: list[VLLMClient]) -> list[Answer]:
        for place in range(self.count):
            self.todo.put_nowait(place)
        tasks: list[asyncio.Task[object]] = [asyncio.create_task(self.finished.wait())]
        for server, client in zip(self.fleet.servers, clients, strict=True):
            up, down = asyncio.Event(), asyncio.Event()
            down.set()
            tasks.append(asyncio.create_task(self._keep(server, client, up, down)))
            tasks += [
                asyncio.create_task(self._work(server, client, up, down))
                for _ in range(min(self.fleet.concurrency, self.count))
            ]
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()  # raises what ended it
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return [self.done[place] for place in range(self.count)]

    async def _work(self, server: Server, client: VLLMClient, up: asyncio.Event, down: asyncio.Event) -> None:
        """Take a prompt, ask the server, hand a prompt that failed back to whoever is ready."""
        while True:
            await up.wait()
            place = await self.todo.get()
            if not up.is_set():
                self.todo.put_nowait(place)
                continue
            stamp = server.stamp
            try:
                answer = await self.ask(place, client)
                if await client.stamp() != stamp:
                    raise WeightsLost("its weights changed while it answered")
            except (ServerGone, WeightsLost) as error:
                self.todo.put_nowait(place)
                if isinstance(error, ServerGone):
                    self._count_attempt(place, server, error)
                if server.stamp == stamp and up.is_set():  # nobody has seen to it meanwhile
                    server.failures += isinstance(error, ServerGone)
                    up.clear()
                    down.set()
                continue
            server.failures = 0
            self.done[place] = answer
            if len(self.done) == self.count:
                self.finished.set()

    async def _keep(self, server: Server, client: VLLMClient, up: asyncio.Event, down: asyncio.Event) -> None:
        """Whenever the server is not ready: wait for it, check it, give it the weights."""
        while True:
            await down.wait()
            if server.failures:
                pause = _FIRST_PAUSE_S * 2.0 ** min(server.failures - 1, 20)
                await asyncio.sleep(min(pause, self.fleet.patience.longest_pause_s))
            try:
                await self._prepare(server, client)
            except ServerGone as error:
                server.went_down(str(error))
                self._give_up_if_nobody_is_left()
                continue
            server.came_up()
            down.clear()
            up.set()

    async def _prepare(self, server: Server, client: VLLMClient) -> None:
        if server.process is not None and not server.process.running:
            server.process.start()
            server.facts = None
        if server.facts is None or server.down_since is not None:
            server.facts = await client.facts()
            self.fleet.check(server.url, server.facts)
        found = await client.stamp()
        if found == server.stamp and found.startswith(f"{self.weights.name}:"):
            return
        # One of our own that we do not know is of a push that was interrupted after it had done its work.
        if server.stamp is not None and found != FRESH and not found.startswith(f"{self.weights.run}-"):
            raise EngineError(
                f"vLLM server {server.url}: somebody else loads weights into it (it has '{found}', this run gave it "
                f"'{server.stamp}'). Two runs cannot share a server; give each run its own in rollout.vllm.servers."
            )
        if server.stamp is not None and found == FRESH:
            _log.warning("vLLM server %s was restarted and lost its weights; they are loaded again", server.url)
        stamp = f"{self.weights.name}:{secrets.token_hex(4)}"
        await client.load_folder(self.weights.folder, stamp)
        server.stamp = stamp

    def _count_attempt(self, place: int, server: Server, error: ServerGone) -> None:
        self.attempts[place] += 1
        if self.attempts[place] >= self.fleet.patience.attempts:
            raise EngineError(
                f"prompt {place + 1} of {self.count} failed {self.attempts[place]} times, the last time on vLLM "
                f"server {server.url} ({error}). If the server ends each time, this prompt ends it: see its log. If it "
                "takes too long, raise rollout.vllm.request_timeout_s."
            )

    def _give_up_if_nobody_is_left(self) -> None:
        servers, now = self.fleet.servers, time.monotonic()
        waited = [now - server.down_since if server.down_since is not None else 0.0 for server in servers]
        if min(waited) <= self.fleet.patience.give_up_after_s:
            return
        gone = "; ".join(f"{server.url}: {server.reason}" for server in servers)
        logs = "".join(server.process.last_lines() for server in servers if server.process is not None)
        raise EngineError(
            f"no vLLM server answers, after {min(waited):.0f} s of trying ({gone}). Start it again and resume the run; "
            f"rollout.vllm.give_up_after_s = {self.fleet.patience.give_up_after_s:.0f} is how long to wait.{logs}"
        )
