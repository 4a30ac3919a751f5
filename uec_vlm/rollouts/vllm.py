"""The engine that samples with vLLM servers over HTTP.

A server is sent the unexpanded prompt with its pictures, already of the size that the policy sees, and gives token ids
back; nothing is ever tokenised again. Log-probabilities are those of the distribution that was sampled from: at the
sampling temperature, vision tokens renormalised away (`--logprobs-mode processed_logprobs`).
"""

from __future__ import annotations

import atexit
import base64
import hashlib
import secrets
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from anyio.from_thread import start_blocking_portal

from uec_vlm.errors import EngineError
from uec_vlm.records import Prompt, Rollout, Source
from uec_vlm.rollouts.engine import SamplingSettings
from uec_vlm.rollouts.vllm_client import ServerFacts, VLLMClient, WeightsLost
from uec_vlm.rollouts.vllm_fleet import Fleet, Patience, Server, Weights
from uec_vlm.rollouts.vllm_server import StartSettings, VLLMServer

# The text of a prompt is already what the chat template makes; the server is to take it as it is.
_AS_IT_IS = "{{ messages[0]['content'] }}"
_BAN = -100.0
# What the server writes where a log-probability is not a number or minus infinity.
_NO_NUMBER = -9999.0


class ServedPolicy(Protocol):
    """What the engine needs of a policy; `uec_vlm.policy.Policy` has it."""

    @property
    def tokenizer(self) -> Any: ...  # noqa: D102
    @property
    def banned_ids(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def end_ids(self) -> tuple[int, ...]: ...  # noqa: D102


@dataclass(frozen=True)
class VLLMSettings:
    """Where the servers are and how they are used.

    servers: their addresses; with `start` none. start: how to start one here. model: what it then serves, with which
    dtype, max_model_len (tokens of prompt and completion), images (at most, per prompt; 0 for text).
    pixel_limits: smallest and largest area of a picture, None for text. patch_size: side of a patch in pixels.
    concurrency: prompts in flight per server.
    weights_dir: where new weights are written for the servers to read; None is a folder of this machine.
    """

    servers: tuple[str, ...] = ()
    start: StartSettings | None = None
    model: str = ""
    dtype: str = "float32"
    max_model_len: int = 4096
    images: int = 1
    pixel_limits: tuple[int, int] | None = None
    patch_size: int = 14
    concurrency: int = 64
    patience: Patience = field(default_factory=Patience)
    weights_dir: str | None = None
    api_key: str | None = None


class VLLMEngine:
    """Samples with servers that are given the policy's weights; it is a class because it holds both and must be closed.

    The weights of a version are written once, when `load_weights` is called, and loaded by each server before it is
    next asked. `close` ends a server that was started here and removes the written weights.
    """

    def __init__(
        self,
        policy: ServedPolicy,
        pictures: Callable[[Prompt], Sequence[bytes]],
        write_weights: Callable[[Any, Path], object],
        settings: VLLMSettings,
    ) -> None:
        """Take the policy, a function that encodes a prompt's pictures as the policy sees them, and one that writes a
        policy's weights into a folder as safetensors."""
        if not settings.servers and settings.start is None:
            raise EngineError("there is no vLLM server to ask: give rollout.vllm.servers, or rollout.vllm.start.")
        self._policy, self._pictures, self._write, self._settings = policy, pictures, write_weights, settings
        self._version, self._writes, self._run = 0, 0, f"uec-vlm-{secrets.token_hex(4)}"
        self._weights: Weights | None = None
        parent = Path(settings.weights_dir) if settings.weights_dir is not None else None
        if parent is not None:
            parent.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix="uec-vlm-", dir=parent))
        servers = tuple(Server(url.rstrip("/")) for url in settings.servers)
        if settings.start is not None:
            servers = (*servers, self._started(settings.start))
        self._fleet = Fleet(
            servers, settings.patience, settings.concurrency, check=_check_facts, api_key=settings.api_key
        )
        atexit.register(self.close)

    @property
    def policy_version(self) -> int:
        """Number of optimizer steps that the sampling weights have seen."""
        return self._version

    @property
    def servers(self) -> tuple[str, ...]:
        """The addresses of the servers."""
        return tuple(server.url for server in self._fleet.servers)

    def load_weights(self, policy: ServedPolicy, *, version: int | None = None) -> None:
        """Write this policy's weights as they are now; servers load them before they are next asked.

        The policy that is loaded already, at the version that it has, is not written again: the version counts the
        changes of its weights.
        """
        if self._weights is not None and policy is self._policy and version == self._version:
            return
        self._policy = policy
        self._version = self._version + 1 if version is None else version
        self._write_now()

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        completions: int,
        sampling: SamplingSettings,
        seeds: Sequence[int],
        source: Source = "regular",
    ) -> list[list[Rollout]]:
        """See `RolloutEngine.generate`. Waits for servers that are gone, and gives restarted ones the weights again.

        A prompt gets the same from the same kind of server; across kinds of GPU, or sizes of batch, rounding differs.
        """
        if len(seeds) != len(prompts):
            raise ValueError(f"{len(seeds)} seeds for {len(prompts)} prompts: need one each")
        if completions < 1:
            raise ValueError(f"completions = {completions}: need at least 1")
        if not prompts:
            return []
        if self._weights is None:
            self._write_now()
        assert self._weights is not None
        weights = self._weights

        async def ask(place: int, client: VLLMClient) -> list[Rollout]:
            prompt = prompts[place]
            reply = await client.complete(self._request(prompt, completions, sampling, seeds[place], client, weights))
            return self._rollouts(prompt, reply, completions, sampling, source, client)

        async def answers() -> list[list[Rollout]]:
            return await self._fleet.answers(len(prompts), ask, weights)

        # A loop of its own in a thread of its own: so it works in a notebook, whose thread has a running loop.
        with start_blocking_portal() as portal:
            return portal.call(answers)

    def close(self) -> None:
        """End the server that was started here, and remove the written weights; also done when Python ends."""
        atexit.unregister(self.close)
        for server in self._fleet.servers:
            if server.process is not None:
                server.process.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _started(self, start: StartSettings) -> Server:
        settings = self._settings
        log = Path(start.log) if start.log is not None else self._folder / "server.log"
        process = VLLMServer(
            settings.model,
            start,
            dtype=settings.dtype,
            max_model_len=settings.max_model_len,
            images=settings.images,
            log=log,
        )
        process.start()
        return Server(process.url, process)

    def _write_now(self) -> None:
        self._writes += 1
        target = self._folder / f"weights_{self._writes}"
        self._write(self._policy, target)
        old, self._weights = self._weights, Weights(str(target), self._run, f"{self._version}.{self._writes}")
        if old is not None:
            shutil.rmtree(old.folder, ignore_errors=True)

    def _request(
        self,
        prompt: Prompt,
        completions: int,
        sampling: SamplingSettings,
        seed: int,
        client: VLLMClient,
        weights: Weights,
    ) -> dict[str, Any]:
        """The body of a chat completion. Whatever the model's generation_config would change is set, too."""
        pictures = [_picture(data) for data in self._pictures(prompt)]
        body = {
            "model": self._model_at(client.url),
            "messages": [{"role": "user", "content": [*pictures, {"type": "text", "text": prompt.text}]}],
            "chat_template": _AS_IT_IS,
            "chat_template_content_format": "string",
            "add_generation_prompt": False,
            "add_special_tokens": False,
            "n": _drawn(completions, sampling),
            "seed": _seed(seed),
            "temperature": sampling.temperature,
            "top_p": sampling.top_p if sampling.temperature > 0 else 1.0,
            "top_k": -1,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "max_completion_tokens": sampling.max_new_tokens,
            "stop_token_ids": list(self._policy.end_ids),
            "logit_bias": {str(token): _BAN for token in self._policy.banned_ids},
            "logprobs": True,
            "top_logprobs": 0,
            "return_token_ids": True,
            "cache_salt": weights.name,
        }
        if pictures and self._settings.pixel_limits is not None:
            smallest, largest = _with_room(self._settings.pixel_limits, self._areas(prompt))
            body["mm_processor_kwargs"] = {"size": {"shortest_edge": smallest, "longest_edge": largest}}
        return body

    def _areas(self, prompt: Prompt) -> list[int]:
        """Pixels of each picture as it is sent."""
        return [int(area) * self._settings.patch_size**2 for area in prompt.image_grid_thw.prod(-1)]

    def _model_at(self, url: str) -> str:
        facts = next(server.facts for server in self._fleet.servers if server.url == url)
        assert facts is not None  # a server is asked only after it has said what it serves
        return facts.model

    def _rollouts(
        self,
        prompt: Prompt,
        reply: Mapping[str, Any],
        completions: int,
        sampling: SamplingSettings,
        source: Source,
        client: VLLMClient,
    ) -> list[Rollout]:
        """The rollouts in a reply; EngineError for whatever must not be trained on."""
        where = "/v1/chat/completions"
        try:
            read = [int(token) for token in reply["prompt_token_ids"]]
            choices = sorted(reply["choices"], key=lambda choice: int(choice["index"]))
            drawn = [_read_choice(choice) for choice in choices]
        except (KeyError, TypeError, ValueError) as error:
            raise client.malformed(where, f"{type(error).__name__}: {error}") from None
        asked = _drawn(completions, sampling)
        if len(drawn) != asked:
            raise client.malformed(where, f"{len(drawn)} completions instead of {asked}")
        if read != prompt.token_ids.tolist():
            raise EngineError(
                f"vLLM server {client.url} reads sample '{prompt.sample.id}' as {len(read)} tokens, the policy as "
                f"{len(prompt.token_ids)}, and they must be the same tokens: it serves another model, or its processor "
                "makes another size of the picture. Serve the folder in model.path."
            )
        made = [self._rollout(prompt, choice, sampling, source, client) for choice in drawn]
        return made * (completions // asked)

    def _rollout(
        self, prompt: Prompt, choice: _Choice, sampling: SamplingSettings, source: Source, client: VLLMClient
    ) -> Rollout:
        policy = self._policy
        if choice.finish not in ("stop", "length"):
            raise WeightsLost(f"it ended a completion with '{choice.finish}'")
        fault = _fault(choice, policy, sampling)
        if fault:
            raise client.malformed("/v1/chat/completions", f"sample '{prompt.sample.id}': {fault}")
        if min(choice.logprobs) <= _NO_NUMBER:
            raise EngineError(
                f"vLLM server {client.url}: the model's logits are not finite: its weights diverged. Resume from an "
                "older checkpoint."
            )
        logprobs = torch.tensor(choice.logprobs, dtype=torch.float32).clamp(max=0.0)
        return Rollout(
            prompt=prompt,
            text=policy.tokenizer.decode(choice.ids, skip_special_tokens=True, clean_up_tokenization_spaces=False),
            completion_ids=torch.tensor(choice.ids, dtype=torch.long),
            # The server reports the likeliest token's own probability; it was drawn with certainty.
            behaviour_logprobs=logprobs if sampling.temperature > 0 else torch.zeros_like(logprobs),
            finish="stop" if choice.ids[-1] in policy.end_ids else "length",
            source=source,
            temperature=sampling.temperature,
            policy_version=self._version,
        )


def _drawn(completions: int, sampling: SamplingSettings) -> int:
    """How many completions are asked for: the likeliest tokens are the same each time, and the server refuses more."""
    return completions if sampling.temperature > 0 else 1


@dataclass(frozen=True)
class _Choice:
    ids: list[int]
    logprobs: list[float]
    finish: str


def _read_choice(choice: Mapping[str, Any]) -> _Choice:
    finish = str(choice["finish_reason"])
    if finish not in ("stop", "length"):  # aborted: the rest may be missing
        return _Choice([], [], finish)
    ids = [int(token) for token in choice["token_ids"]]
    return _Choice(ids, [float(token["logprob"]) for token in choice["logprobs"]["content"]], finish)


def _fault(choice: _Choice, policy: ServedPolicy, sampling: SamplingSettings) -> str:
    """What is wrong with a finished completion; "" if nothing is."""
    ids = choice.ids
    if not 1 <= len(ids) <= sampling.max_new_tokens:
        return f"{len(ids)} tokens where 1 to {sampling.max_new_tokens} were asked for"
    if len(ids) != len(choice.logprobs):
        return f"{len(choice.logprobs)} log-probabilities for {len(ids)} tokens"
    if any(token in policy.banned_ids for token in ids):
        return "a banned vision token was sampled"
    if any(token in policy.end_ids for token in ids[:-1]):
        return "it goes on after an end token"
    if (ids[-1] in policy.end_ids) != (choice.finish == "stop"):
        return f"it finished with '{choice.finish}' and its last token is {ids[-1]}"
    if not max(choice.logprobs) <= 1e-3:
        return f"a log-probability of {max(choice.logprobs)}"
    return ""


def _check_facts(url: str, facts: ServerFacts) -> None:
    """EngineError if the server's log-probabilities are not of the distribution it samples from."""
    if facts.logprobs_mode != "processed_logprobs":
        raise EngineError(
            f"vLLM server {url}: it reports {facts.logprobs_mode}, and training needs the log-probabilities of the "
            "distribution that was sampled from. Start it with --logprobs-mode processed_logprobs."
        )


def _with_room(limits: tuple[int, int], areas: Sequence[int]) -> tuple[int, int]:
    """Limits that hold these pictures: with sides of whole patches they may leave ours, and would be resized again."""
    smallest, largest = limits
    return min([smallest, *areas]), max([largest, *areas])


def _picture(data: bytes) -> dict[str, Any]:
    url = "data:image/png;base64," + base64.b64encode(data).decode("ascii")
    return {"type": "image_url", "image_url": {"url": url}}


def _seed(seed: int) -> int:
    """The server gives completion k the seed plus k: seeds that stand close together must not share noise."""
    digest = hashlib.blake2b(f"vllm/{seed}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 2
