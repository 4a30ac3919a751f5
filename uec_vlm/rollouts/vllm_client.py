"""One vLLM server over HTTP: what it is, which weights it has, new weights, completions. No retries here.

What can mend itself (the server is starting, restarting, unreachable, busy) is `ServerGone`; what cannot is an
`EngineError` that names the server and the remedy. Seen with vLLM 0.32; the routes below `/v1` are the server's
own, the others are there in its development mode only and have no authentication.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from uec_vlm.errors import EngineError

# Questions that the server answers at once, if it answers at all.
_QUESTION_S = 120.0

FRESH = "default"
"""The stamp of a server that nobody has given weights since it was started."""


class ServerGone(Exception):
    """The server does not answer, or says that it cannot now: worth another try."""


class WeightsLost(Exception):
    """The server's weights are not (or no longer) those that the answer should come from: push, then ask again."""


@dataclass(frozen=True)
class ServerFacts:
    """What a server says of itself."""

    model: str
    logprobs_mode: str


class VLLMClient:
    """Speaks to one server; used as an asynchronous context manager, since it holds connections."""

    def __init__(
        self, url: str, *, request_timeout_s: float, connect_timeout_s: float, api_key: str | None = None
    ) -> None:
        """Take the server's address (`http://host:port`) and how long to wait for an answer and for a connection."""
        self.url = url.rstrip("/")
        self._question = httpx.Timeout(min(_QUESTION_S, request_timeout_s), connect=connect_timeout_s)
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._http = httpx.AsyncClient(
            base_url=self.url,
            timeout=httpx.Timeout(request_timeout_s, connect=connect_timeout_s),
            limits=httpx.Limits(max_connections=None),
            headers=headers,
            trust_env=False,
        )

    async def __aenter__(self) -> VLLMClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def facts(self) -> ServerFacts:
        """Ask the server what it serves; EngineError if it lacks the development routes."""
        models = await self._call("GET", "/v1/models")
        info = await self._call("GET", "/server_info", params={"config_format": "json"})
        try:
            served, settings = models["data"][0], info["vllm_config"]
            return ServerFacts(
                model=str(served["id"]),
                logprobs_mode=str(settings["model_config"]["logprobs_mode"]),
            )
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise self.malformed("/server_info", f"{type(error).__name__}: {error}") from None

    async def stamp(self) -> str:
        """The version stamp of the weights that the server has now; `FRESH` after a start."""
        reply = await self._call("GET", "/weight_info")
        if not isinstance(reply, dict) or not isinstance(reply.get("weight_version"), str):
            raise self.malformed("/weight_info", f"no weight_version in {str(reply)[:200]}")
        return str(reply["weight_version"])

    async def load_folder(self, folder: str, stamp: str) -> None:
        """Load a checkpoint folder in place, forget everything computed from the old weights, and set the stamp.

        Requests in flight are aborted: they would go on with a mixture of old and new weights.
        """
        await self._call("POST", "/pause", params={"mode": "abort"})
        try:
            body = {"method": "reload_weights", "kwargs": {"weights_path": folder}}
            await self._load(body, folder)
            for cache in ("/reset_prefix_cache", "/reset_mm_cache", "/reset_encoder_cache"):
                reply = await self._call("POST", cache)
                if isinstance(reply, dict) and reply.get("success") is False:
                    raise ServerGone(f"{cache} could not be done now")
            await self._call("POST", "/update_weight_version", json={"new_version": stamp})
        finally:
            await self._call("POST", "/resume")
        found = await self.stamp()
        if found != stamp:
            raise ServerGone(f"its weights are '{found}' right after '{stamp}' was loaded")

    async def _load(self, body: Mapping[str, Any], folder: str) -> None:
        try:
            await self._call("POST", "/collective_rpc", json=body)
        except ServerGone as error:
            if "500" not in str(error):
                raise
            raise EngineError(
                f"vLLM server {self.url}: it could not load the weights in {folder} ({error}). It must see that folder "
                "(rollout.vllm.weights_dir) and serve the same model. It cannot be used any more: restart it."
            ) from None

    async def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST a chat completion and return the reply."""
        reply = await self._call("POST", "/v1/chat/completions", json=body)
        if not isinstance(reply, dict):
            raise self.malformed("/v1/chat/completions", f"{type(reply).__name__} instead of an object")
        return reply

    async def _call(self, method: str, path: str, **arguments: Any) -> Any:
        try:
            timeout = self._question if method == "GET" else httpx.USE_CLIENT_DEFAULT
            response = await self._http.request(method, path, timeout=timeout, **arguments)
        except httpx.TimeoutException as error:
            raise ServerGone(f"no answer to {path} in time ({type(error).__name__})") from None
        except httpx.TransportError as error:
            raise ServerGone(f"{path}: {str(error) or type(error).__name__}") from None
        if response.status_code >= 500 or response.status_code in (408, 425, 429):
            raise ServerGone(f"{path} gave HTTP {response.status_code}: {_reason(response)}")
        if response.status_code >= 400:
            raise EngineError(f"vLLM server {self.url}: {self._refusal(path, response)}")
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError:
            raise self.malformed(path, f"no JSON but {response.text[:200]!r}") from None

    def malformed(self, path: str, what: str) -> EngineError:
        """The error for a reply that is not what the protocol promises."""
        return EngineError(
            f"vLLM server {self.url}: the reply of {path} is not understood ({what}). Is this vLLM 0.32 or newer, and "
            "nothing between that changes its replies?"
        )

    def _refusal(self, path: str, response: httpx.Response) -> str:
        reason = _reason(response)
        known = (
            ("trust-request-chat-template", "start it with --trust-request-chat-template"),
            ("trust-request-mm-kwargs", "start it with --trust-request-mm-kwargs"),
            ("does not exist", "the model it serves has changed; restart the run, or give rollout.vllm.servers anew"),
            (
                "Out of range float",
                "its log-probabilities are not finite, so the weights diverged: restart it (its cache "
                "keeps them) and resume from an older checkpoint",
            ),
            ("At most", "start it with a larger --limit-mm-per-prompt"),
            ("max_model_len", "start it with a larger --max-model-len, or lower rollout.max_new_tokens"),
            ("maximum context length", "start it with a larger --max-model-len, or lower rollout.max_new_tokens"),
            ("max_num_seqs", "start it with a larger --max-num-seqs, or lower the completions per prompt"),
        )
        remedies = [remedy for phrase, remedy in known if phrase in reason]
        if response.status_code == 404 and not path.startswith("/v1/"):
            remedies = [
                "it has no such route: start vLLM 0.32 or newer with VLLM_SERVER_DEV_MODE=1 in its environment (bound "
                "to 127.0.0.1 or a private network, since these routes have no authentication)"
            ]
        if response.status_code in (401, 403):
            remedies = ["give its key in the environment variable that rollout.vllm.api_key_variable names"]
        remedy = remedies[0] if remedies else "see its log"
        return f"{path} is refused (HTTP {response.status_code}: {reason}): {remedy}."


def _reason(response: httpx.Response) -> str:
    """The message inside an error reply, or the beginning of whatever it is."""
    try:
        reply = response.json()
    except ValueError:
        return response.text[:300].strip() or "no reason given"
    error = reply.get("error", reply.get("detail", reply)) if isinstance(reply, dict) else reply
    return str(error.get("message", error) if isinstance(error, dict) else error)[:500]
