"""Every noun that crosses a stage boundary, and the glossary of tensor axes.

Axes are single capitals:

    B  sequences (completions) of a batch       T  completion positions, padded to the longest
    P  distinct prompts                         L  prompt positions
    G  completions of one prompt (its group)    V  vocabulary
    I  pictures                                 N  patches of all pictures
    D  values of one flattened patch

Records are frozen and complete when built. Padding is finite and neutral (0), and what a mask excludes is never read.
A mask is called after what it keeps; True keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from jaxtyping import Bool, Float, Int
from torch import Tensor

FinishReason = Literal["stop", "length"]
Source = Literal["regular", "extra"]

IMAGE_PLACEHOLDER = "<image>"


@dataclass(frozen=True)
class Sample:
    """One problem (data_prep, geosynth -> batches).

    problem: the question, with `<image>` where each picture stands; as many as there are images.
    images: encoded pictures (PNG or JPEG bytes), in the order of their placeholders; may be empty.
    answer: the normalised gold answer. choices: the texts of a multiple-choice problem, empty if there are none.
    answer_value: the gold as a number where it has one.
    metadata: what else the source knows (family, level, letter, goal, original spelling ...), JSON-serialisable.
    """

    id: str
    source: str
    problem: str
    answer: str
    images: tuple[bytes, ...] = ()
    choices: tuple[str, ...] = ()
    answer_value: float | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Prompt:
    """A rendered and tokenised problem with its processed pictures (batches -> rollouts, policy).

    text: what the chat template made, with one *unexpanded* placeholder per picture (what a server engine is sent).
    token_ids: with the placeholders expanded to one token per merged patch; not padded.
    pixel_values, image_grid_thw: what the image processor made; the first axis is 0 without pictures.
    """

    sample: Sample
    text: str
    token_ids: Int[Tensor, " L"]
    pixel_values: Float[Tensor, "N D"]
    image_grid_thw: Int[Tensor, "I 3"]

    @property
    def opened(self) -> str:
        """What the chat template began the answer with: the `<think>` of a thinking model, or nothing."""
        return "<think>\n" if self.text.rstrip().endswith("<think>") else ""


@dataclass(frozen=True)
class Rollout:
    """One sampled completion (rollouts -> verifier, policy, objective).

    text: the decoded completion without special tokens; for reading and judging, never for tokenising again.
    completion_ids: the sampled tokens; the last one is an end token exactly when finish is "stop".
    behaviour_logprobs: log-probability of each token under the distribution it was drawn from (its temperature,
        banned tokens renormalised away), <= 0.
    source: "regular", or "extra" for targeted exploration. temperature: of the sampling.
    policy_version: number of optimizer steps that the sampling weights had seen.
    """

    prompt: Prompt
    text: str
    completion_ids: Int[Tensor, " T"]
    behaviour_logprobs: Float[Tensor, " T"]
    finish: FinishReason
    source: Source
    temperature: float
    policy_version: int

    @property
    def answer(self) -> str:
        """The whole answer, which is judged: the text, behind a `<think>` with which the chat template opened it."""
        return f"{self.prompt.opened}{self.text}"


@dataclass(frozen=True)
class Verdict:
    """What the verifier says of one completion (verifier -> objective).

    reason: one of `uec_vlm.verifier.REASONS`. extracted: the answer as found in the text, None if there is none.
    """

    correct: bool
    reason: str
    extracted: str | None


@dataclass(frozen=True)
class Judged:
    """A rollout with its verdict and its rewards, which are never mixed (verifier -> objective).

    accuracy: 1.0 or 0.0 by the verdict. format: 1.0 where the completion keeps the asked format.
    reward: the number that the advantage is made of, by the weights of the configuration.
    """

    rollout: Rollout
    verdict: Verdict
    accuracy: float
    format: float
    reward: float


@dataclass(frozen=True)
class Trajectory:
    """A judged rollout with its advantage and the log-probabilities its ratio is taken against.

    old_logprobs: of the policy that the ratio compares with, at the training temperature.
    importance_weights: truncated importance weight per token, constant; ones where none applies.
    born: the step in which it was sampled. uses: updates that it has been part of.
    """

    judged: Judged
    advantage: float
    old_logprobs: Float[Tensor, " T"]
    importance_weights: Float[Tensor, " T"]
    born: int
    uses: int = 0


@dataclass(frozen=True)
class CompletionBatch:
    """Completions, padded on the right, and the distinct prompts they belong to (batches -> policy).

    prompt_index[b] is the place in `prompts` of the prompt of completion b.
    completion_mask is True where the policy sampled the token (the end token included).
    """

    prompts: tuple[Prompt, ...]
    prompt_index: Int[Tensor, " B"]
    completion_ids: Int[Tensor, "B T"]
    completion_mask: Bool[Tensor, "B T"]


@dataclass(frozen=True)
class TrainBatch:
    """A micro-batch (batches -> policy, objective): completions, and what the objective needs of each.

    advantages: one per sequence. old_logprobs, importance_weights: as in `Trajectory`, padded with 0 and 1.
    behaviour_logprobs: as in `Rollout`, padded with 0; only measured against.
    """

    completions: CompletionBatch
    advantages: Float[Tensor, " B"]
    old_logprobs: Float[Tensor, "B T"]
    importance_weights: Float[Tensor, "B T"]
    behaviour_logprobs: Float[Tensor, "B T"]


@dataclass(frozen=True)
class TokenScores:
    """What the policy says of the sampled tokens, over the sampling support (policy -> objective).

    Aligned once: position [b, t] belongs to completion_ids[b, t]. Padding is 0.

    logprobs: log-probability at the stated temperature, <= 0; carries the gradient.
    entropy: exact Shannon entropy of the whole vocabulary in nats, in [0, log V]; carries a gradient only when asked.
    moment: sum over the vocabulary of pi_a D_a with D_a = pi_a (log pi_a + H): what the predicted change of entropy
        needs; never carries a gradient.
    """

    logprobs: Float[Tensor, "B T"]
    entropy: Float[Tensor, "B T"]
    moment: Float[Tensor, "B T"]
