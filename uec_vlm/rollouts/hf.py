"""The engine that samples with the Hugging Face model in memory.

A prompt, pictures included, is read once for all its completions, which are then decoded together and leave the batch
when they have ended. Token ids are carried, never made again from text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from uec_vlm.errors import EngineError
from uec_vlm.records import Prompt, Rollout, Source
from uec_vlm.rollouts.clock import PhaseClock
from uec_vlm.rollouts.decode import Decoder, LeanDecoder, PlainDecoder, ReadPrompts
from uec_vlm.rollouts.engine import SamplingSettings
from uec_vlm.rollouts.graphs import Recorder, StaticDecoder, Tape
from uec_vlm.rollouts.layers import TextModel, read_text_model, vision_tower
from uec_vlm.rollouts.prefixes import PrefixStore
from uec_vlm.rollouts.sampling import completion_uniforms
from uec_vlm.rollouts.wave import Wave

# Finished rows are taken out of the cache when they are a quarter of it: a copy of the cache is dearer than a few
# idle rows.
_IDLE_SHARE = 0.25
# On a GPU so few rows cost as much as one.
_FEW_ROWS = 64


class SamplingPolicy(Protocol):
    """What the engine needs of a policy; `uec_vlm.policy.Policy` has it."""

    @property
    def model(self) -> nn.Module: ...  # noqa: D102
    @property
    def tokenizer(self) -> Any: ...  # noqa: D102
    @property
    def banned_ids(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def end_ids(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def device(self) -> torch.device: ...  # noqa: D102
    def extend(self, token_ids: Tensor, *, mask: Tensor, positions: Tensor, cache: Any) -> Tensor: ...  # noqa: D102
    def logits(self, hidden: Tensor) -> Tensor: ...  # noqa: D102


Prefill = Callable[[Any, Sequence[Prompt]], ReadPrompts]


@dataclass(frozen=True)
class _Row:
    """One completion to sample: which prompt, and which of its completions."""

    prompt: int
    completion: int


class HFEngine:
    """Samples with a policy in memory; it is a class because it holds that policy and its version."""

    def __init__(
        self,
        policy: SamplingPolicy,
        prefill: Prefill,
        *,
        batch_tokens: int = 65_536,
        prefix_bytes: int = 0,
        lean: bool = True,
        graphs: bool = False,
    ) -> None:
        """Take the policy and the function that reads prompts.

        batch_tokens: how many cached tokens, padding included, may be held. prefix_bytes: keys and values of prompts
        that regular rollouts have read, kept so that extra rollouts of the same weights need not read them again
        (with the lean loop only). lean: whether layers of a known family are run by the engine's own loop; the model's
        own forward does the same, slower. graphs: whether a step of that loop is recorded on a GPU and replayed.
        """
        if batch_tokens < 1:
            raise EngineError(f"batch_tokens = {batch_tokens}: the engine needs room for at least 1 token.")
        self._policy = policy
        self._prefill = prefill
        self._batch_tokens = batch_tokens
        self._lean = lean
        self._graphs = graphs
        self._tape: Tape | None = None
        self._prefixes = PrefixStore(prefix_bytes)
        self._text_model: TextModel | None = None
        self._clock = PhaseClock()
        self._version = 0

    @property
    def policy_version(self) -> int:
        """Number of optimizer steps that the sampling weights have seen."""
        return self._version

    @property
    def seconds(self) -> Mapping[str, float]:
        """Wall seconds since the engine was made, by phase: vision, prefill, decode."""
        return dict(self._clock.totals)

    def load_weights(self, policy: SamplingPolicy, *, version: int | None = None) -> None:
        """Sample with this policy from now on. Weights changed in place are seen at the next call in any case."""
        self._prefixes.drop()
        self._policy = policy
        self._version = self._version + 1 if version is None else version

    @torch.no_grad()
    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        completions: int,
        sampling: SamplingSettings,
        seeds: Sequence[int],
        source: Source = "regular",
    ) -> list[list[Rollout]]:
        """See `RolloutEngine.generate`. The model is in evaluation mode meanwhile."""
        if len(seeds) != len(prompts):
            raise ValueError(f"{len(seeds)} seeds for {len(prompts)} prompts: need one each")
        if completions < 1:
            raise ValueError(f"completions = {completions}: need at least 1")
        made: dict[_Row, Rollout] = {}
        was_training = self._policy.model.training
        self._policy.model.eval()
        try:
            # The joined weights are read anew at every call: weights may have been changed in place.
            self._text_model = read_text_model(self._policy.model) if self._lean else None
            shared = self._text_model is not None
            for wave in _waves(prompts, completions, sampling.max_new_tokens, budget=self._batch_tokens, shared=shared):
                uniforms = [
                    completion_uniforms(seeds[row.prompt], row.completion, sampling.max_new_tokens) for row in wave
                ]
                drawn = self._decode([prompts[row.prompt] for row in wave], torch.stack(uniforms), sampling, source)
                for row, (ids, logprobs) in zip(wave, drawn, strict=True):
                    made[row] = self._rollout(prompts[row.prompt], ids, logprobs, sampling, source)
        finally:
            if source == "extra":  # nothing comes after it that would read the same prompts with the same weights
                self._prefixes.drop()
            self._text_model = None
            self._policy.model.train(was_training)
        return [[made[_Row(prompt, completion)] for completion in range(completions)] for prompt in range(len(prompts))]

    def _decode(
        self, prompts: Sequence[Prompt], uniforms: Float[Tensor, "B T"], sampling: SamplingSettings, source: Source
    ) -> list[tuple[Int[Tensor, " _"], Float[Tensor, " _"]]]:
        """Sample one completion for each entry of `prompts`; an entry that repeats is read once."""
        policy, device = self._policy, self._policy.device
        distinct = list({id(prompt): prompt for prompt in prompts}.values())
        places = {id(prompt): place for place, prompt in enumerate(distinct)}
        index = torch.tensor([places[id(prompt)] for prompt in prompts], device=device)
        with self._clock.reading(vision_tower(policy.model), device):
            read = self._read(distinct, source)
        # The same prompt may stand in two places of a step; a decoder wants its rows beside each other.
        order = index.argsort(stable=True)
        with self._clock.phase("decode", device):
            drawn = self._sample(read, index[order], uniforms[order.cpu()], sampling)
        return [drawn[place] for place in order.argsort().tolist()]

    def _read(self, prompts: Sequence[Prompt], source: Source) -> ReadPrompts:
        """Read prompts; those of extra rollouts are recalled where the regular rollouts have read them."""
        policy = self._policy
        if source == "extra" and self._text_model is not None:
            return self._prefixes.recall(prompts, policy.model, lambda missing: self._prefill(policy, missing))
        read = self._prefill(policy, prompts)
        if self._text_model is not None:
            self._prefixes.keep(prompts, read, policy.model)
        return read

    def _sample(
        self, read: ReadPrompts, index: Int[Tensor, " B"], uniforms: Float[Tensor, "B T"], sampling: SamplingSettings
    ) -> list[tuple[Int[Tensor, " _"], Float[Tensor, " _"]]]:
        """Sample row by row of `index` from the prompts that have been read."""
        decoder = self._decoder(read, index, sampling.max_new_tokens)
        wave = Wave(self._policy, decoder, read.hidden[index], uniforms.to(index.device), sampling)
        if isinstance(decoder, StaticDecoder):
            self._run_recorded(wave, decoder, sampling.max_new_tokens)
        else:
            _run(wave, sampling.max_new_tokens)
        drawn = wave.drawn()
        if not bool(torch.cat([logprobs for _, logprobs in drawn]).isfinite().all()):
            raise EngineError(
                "the model's logits are not finite: its weights diverged. Resume from an older checkpoint."
            )
        return drawn

    def _decoder(self, read: ReadPrompts, index: Int[Tensor, " B"], new_tokens: int) -> Decoder:
        if self._text_model is None:
            return PlainDecoder(self._policy, read, index)
        made = StaticDecoder if self._graphs and index.is_cuda else LeanDecoder
        return made(self._text_model, read, index, new_tokens=new_tokens)

    def _run_recorded(self, wave: Wave, decoder: StaticDecoder, limit: int) -> None:
        """As `_run`, from recordings; rows leave less often, for then another recording is made."""
        self._tape = self._tape or Tape(self._policy.device)
        recorder = Recorder(wave.draw_and_read, decoder, self._tape)
        for _ in range(limit):
            recorder.step()
            count = wave.going_on
            if count == 0:
                break
            if len(wave) > _FEW_ROWS and count <= len(wave) // 2:
                wave.leave()
                recorder.changed()

    def _rollout(
        self, prompt: Prompt, ids: Tensor, logprobs: Tensor, sampling: SamplingSettings, source: Source
    ) -> Rollout:
        text = self._policy.tokenizer.decode(ids.tolist(), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Rollout(
            prompt=prompt,
            text=text,
            completion_ids=ids,
            behaviour_logprobs=logprobs,
            finish="stop" if int(ids[-1]) in self._policy.end_ids else "length",
            source=source,
            temperature=sampling.temperature,
            policy_version=self._version,
        )


def _run(wave: Wave, limit: int) -> None:
    """Draw tokens until every row has ended, or has as many as it may."""
    for step in range(limit):
        tokens: Tensor | None = wave.draw()
        count = wave.going_on
        if count == 0 or step + 1 == limit:
            break
        if count <= (1 - _IDLE_SHARE) * len(wave):
            tokens = wave.leave(tokens)
        if tokens is not None:
            wave.read(tokens)


def _waves(
    prompts: Sequence[Prompt], completions: int, new_tokens: int, *, budget: int, shared: bool
) -> list[list[_Row]]:
    """Group the completions, prompts of similar length together, so that a group's cache keeps within the budget.

    shared: a prompt is held once for all its completions of the group, else once for each.
    """
    by_length = sorted(range(len(prompts)), key=lambda place: len(prompts[place].token_ids))
    waves: list[list[_Row]] = []
    held: set[int] = set()
    for prompt in by_length:
        # Prompts come in rising length, so the newest is the widest of the wave.
        width = len(prompts[prompt].token_ids)
        for completion in range(completions):
            rows = len(waves[-1]) + 1 if waves else 1
            read = len(held | {prompt}) if shared else rows
            if not waves or read * width + rows * new_tokens > budget:
                waves.append([])
                held = set()
            waves[-1].append(_Row(prompt, completion))
            held.add(prompt)
    return waves
