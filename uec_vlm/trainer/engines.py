"""Engines outside the process: how the vLLM engine is bound, and the proof that it samples from the policy."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from uec_vlm.batches.vision import resize_pictures
from uec_vlm.config import PromptSection, RunConfig
from uec_vlm.engine_sections import GapSection, VLLMSection
from uec_vlm.errors import ConfigError, EngineError
from uec_vlm.objective import Gap, gap_of
from uec_vlm.policy import Policy, save_policy, save_untied
from uec_vlm.records import Prompt
from uec_vlm.rollouts import ENGINES, RolloutEngine
from uec_vlm.trainer.circle import Circle
from uec_vlm.trainer.exchange import Packed, pack_rollout, unpack_rollout
from uec_vlm.trainer.first_engine import engine_of_first
from uec_vlm.trainer.learner import Learner
from uec_vlm.trainer.ranks import ALONE, Ranks
from uec_vlm.trainer.scoring import score_rollouts
from uec_vlm.trainer.seeds import seed_for

_MOST_PICTURES = 8


def build_vllm(config: RunConfig, policy: Policy, model: str, ranks: Ranks = ALONE) -> RolloutEngine:
    """The engine over vLLM servers, which the first rank asks for all ranks.

    model: what a server that is started here serves. ConfigError for a key that is not in the environment.
    """
    section = config.rollout.vllm
    assert section is not None  # the configuration refuses the engine without its section
    write = save_untied if section.untie_head else save_policy

    def make(pictures: Callable[[Prompt], list[bytes]]) -> RolloutEngine:
        served = model
        if section.start is not None and section.untie_head:
            served = str(save_untied(policy, Path(tempfile.mkdtemp(prefix="uec-vlm-served-"))))
        settings = _vllm_settings(config, section, policy, model=served)
        made: RolloutEngine = ENGINES["vllm"]()(policy, pictures, write, settings)
        return made

    return engine_of_first(ranks, picture_encoder(policy, config.data.prompt), make)


def _vllm_settings(config: RunConfig, section: VLLMSection, policy: Policy, *, model: str) -> Any:
    from uec_vlm.rollouts.vllm import VLLMSettings
    from uec_vlm.rollouts.vllm_fleet import Patience
    from uec_vlm.rollouts.vllm_server import StartSettings

    prompt, sees = config.data.prompt, policy.traits.sees
    return VLLMSettings(
        servers=section.servers,
        start=StartSettings(**section.start.model_dump()) if section.start is not None else None,
        model=model,
        dtype=config.model.dtype,
        max_model_len=prompt.max_tokens + config.rollout.max_new_tokens,
        images=_MOST_PICTURES if sees else 0,
        pixel_limits=(prompt.min_pixels, prompt.max_pixels) if sees else None,
        patch_size=policy.processor.image_processor.patch_size if sees else 0,
        concurrency=section.concurrency,
        patience=Patience(
            request_timeout_s=section.request_timeout_s,
            connect_timeout_s=section.connect_timeout_s,
            give_up_after_s=section.give_up_after_s,
            attempts=section.attempts,
        ),
        weights_dir=section.weights_dir,
        api_key=_key(section.api_key_variable),
    )


def picture_encoder(policy: Policy, prompt: PromptSection) -> Callable[[Prompt], list[bytes]]:
    """A function that encodes a prompt's pictures as the policy sees them: resized by us, without loss (PNG).

    A server that resizes the original itself does it by another method; the log-probabilities then differ by up to
    3e-3 nats, instead of 1e-5 (measured in float32 on the starter policy).
    """

    def encoded(asked: Prompt) -> list[bytes]:
        if not asked.sample.images:
            return []
        resized = resize_pictures(
            asked.sample.images,
            policy.processor.image_processor,
            min_pixels=prompt.min_pixels,
            max_pixels=prompt.max_pixels,
            place=f"sample '{asked.sample.id}'",
        )
        return [_png(picture) for picture in resized]

    return encoded


def preflight(circle: Circle, limits: GapSection) -> list[Gap]:
    """The gaps between engine and policy on the first training prompts; EngineError above the limits.

    With `prove_push` the first gap is taken with all weights halved (which is exact, and undone exactly): an engine
    that keeps any old weight through a push differs widely then, while with the weights it began with it would agree.
    """
    gaps = []
    if limits.prove_push:
        with halved(circle.learner):
            gaps.append(_measured(circle, limits, version=-1))
        _refuse(gaps[-1], limits, "after halved weights were given to it: new weights do not arrive whole", _UNTIE)
    gaps.append(_measured(circle, limits, version=0))
    _refuse(gaps[-1], limits, "with the weights that training starts from", _DIFFERS)
    return gaps


_UNTIE = (
    "A vLLM on the CPU keeps the head of a model that shares it with its embeddings: set rollout.vllm.untie_head = "
    "true and let the run start the server (rollout.vllm.start), or serve what uec_vlm.policy.save_untied writes"
)
_DIFFERS = "Serve the folder in model.path with the dtype in model.dtype, or raise the limit if you know the reason"


@contextmanager
def halved(learner: Learner) -> Iterator[None]:
    """All floating-point weights times one half meanwhile: a power of two, so nothing is rounded.

    After an error in one of several processes they stay so: the others may never come to the undoing.
    """
    learner.scale(0.5)
    try:
        yield
    except BaseException:
        if learner.ranks.world == 1:
            learner.scale(2.0)
        raise
    learner.scale(2.0)


def _measured(circle: Circle, limits: GapSection, *, version: int) -> Gap:
    settings = circle.settings
    places = range(min(limits.prompts, len(circle.samples)))
    sampling = replace(settings.sampling, max_new_tokens=min(limits.max_new_tokens, settings.sampling.max_new_tokens))
    circle.refill_engine(version)

    def work(mine: Sequence[int]) -> list[list[Packed]]:
        groups = circle.engine.generate(
            [circle.render(circle.samples[place]) for place in mine],
            completions=limits.completions,
            sampling=sampling,
            seeds=[seed_for(settings.seed, "preflight", place) for place in mine],
        )
        return [[pack_rollout(rollout) for rollout in group] for group in groups]

    prompts = [circle.sharing.remember(circle.samples[place]) for place in places]
    groups = circle.ranks.spread(places, work)
    rollouts = [unpack_rollout(one, prompt) for prompt, group in zip(prompts, groups, strict=True) for one in group]
    scores = score_rollouts(circle.scorer, rollouts, sharing=circle.sharing)
    return gap_of([rollout.behaviour_logprobs for rollout in rollouts], [item.logprobs for item in scores])


def _refuse(gap: Gap, limits: GapSection, when: str, remedy: str) -> None:
    for name, value, limit in (("median", gap.median, limits.median_nats), ("p99", gap.p99, limits.p99_nats)):
        if not value <= limit:
            raise EngineError(
                f"the engine's log-probabilities are not the policy's, {when}: the {name} of the gap over {gap.tokens} "
                f"tokens is {value:.3g} nats, above rollout.vllm.gap.{name}_nats = {limit}. {remedy}."
            )


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    if variable not in os.environ:
        raise ConfigError(
            f"rollout.vllm.api_key_variable = '{variable}': the environment has no such variable; set it."
        )
    return os.environ[variable]


def _png(picture: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
