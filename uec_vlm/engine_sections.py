"""The sections of the configuration that concern rollouts and the engines that sample them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from uec_vlm.sections import Count, Positive, Rate, Section, Temperature


class VLLMStart(Section):
    """A vLLM server that the run starts on this machine, with the model of `model.path`, and stops at its end.

    python: interpreter of the environment with vLLM (it pins its own torch). port: 0 takes a free one. arguments: more
    of the server's own. environment: variables for it. log: file for its output; null is in a temporary folder.
    """

    python: str = "python"
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = Field(default_factory=dict)
    log: str | None = None


class GapSection(Section):
    """The preflight: how far the log-probabilities of engine and policy may differ on real prompts, in nats per token.

    prove_push: it is done twice, the first time with halved weights, so that a push that does not arrive is found.
    """

    prompts: Positive = 4
    completions: Positive = 2
    max_new_tokens: Positive = 64
    median_nats: Annotated[float, Field(gt=0.0)] = 0.02
    p99_nats: Annotated[float, Field(gt=0.0)] = 0.5
    prove_push: bool = True


class VLLMSection(Section):
    """Rollouts by vLLM servers: either `servers` that you start, or `start` (see `docs/vllm.md`).

    concurrency: prompts in flight per server. weights_dir: where new weights are written; all servers must see it; null
    is a temporary folder of this machine. untie_head: write a head of its own where the model shares its embeddings
    (vLLM on the CPU needs that). request_timeout_s: for all completions of a prompt. give_up_after_s: with no server
    left. attempts: of one prompt whose server fails under it. api_key_variable: environment variable with the key.
    """

    servers: tuple[str, ...] = ()
    start: VLLMStart | None = None
    concurrency: Positive = 64
    weights_dir: str | None = None
    untie_head: bool = False
    request_timeout_s: Annotated[float, Field(gt=0.0)] = 1800.0
    connect_timeout_s: Annotated[float, Field(gt=0.0)] = 10.0
    give_up_after_s: Annotated[float, Field(ge=0.0)] = 900.0
    attempts: Positive = 5
    api_key_variable: str | None = None
    gap: GapSection = GapSection()

    @model_validator(mode="after")
    def _reachable(self) -> VLLMSection:
        if bool(self.servers) == (self.start is not None):
            raise ValueError("give either servers (their addresses) or start (one is started here), and not both")
        if len(set(self.servers)) != len(self.servers):
            raise ValueError(f"servers = {list(self.servers)} names one twice; name each once")
        for url in self.servers:
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"the server '{url}' is no address; write http://HOST:PORT")
            here = url.split("//", 1)[1].startswith(("127.0.0.1", "localhost", "[::1]"))
            if not here and self.weights_dir is None:
                raise ValueError(
                    f"the server {url} is on another machine and cannot read a temporary folder of this one; set "
                    "weights_dir to a folder that both see"
                )
        return self


class RolloutSection(Section):
    """The regular rollouts: P prompts a step, G completions of each.

    batch_tokens: cached tokens held while sampling. prefix_mib: MiB of prompts kept read until the extra rollouts.
    cuda_graphs: on a GPU, a token's kernels are recorded and replayed (`engine: hf`, families of the lean loop).
    vllm: for `engine: vllm` only.
    """

    engine: Literal["hf", "vllm"] = "hf"
    prompts_per_step: Positive = 8
    completions_per_prompt: Annotated[int, Field(ge=2)] = 5
    temperature: Temperature = 1.0
    top_p: Rate = 1.0
    max_new_tokens: Positive = 256
    batch_tokens: Positive = 65_536
    prefix_mib: Count = 1024
    cuda_graphs: bool = True
    vllm: VLLMSection | None = None

    @model_validator(mode="after")
    def _engine(self) -> RolloutSection:
        if self.engine == "vllm" and self.vllm is None:
            raise ValueError("engine = vllm needs a section vllm: give vllm.servers, or vllm.start")
        return self

    @property
    def outside(self) -> bool:
        """Whether other processes sample, which are given the weights: the trainer then holds no cache of its own."""
        return self.engine != "hf"

    @property
    def per_step(self) -> int:
        """P x G: the regular rollouts of a step."""
        return self.prompts_per_step * self.completions_per_prompt
