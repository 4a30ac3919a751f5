"""Drawing a token from logits with a given uniform number: pure functions, the same on every device."""

from __future__ import annotations

import hashlib

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def completion_uniforms(seed: int, completion: int, count: int) -> Float[Tensor, " T"]:
    """Uniform numbers in [0, 1) of one completion: number t decides its token t. A function of its arguments only."""
    digest = hashlib.blake2b(f"rollout/{seed}/{completion}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
    return torch.rand(count, generator=generator, dtype=torch.float64)


def support_logprobs(
    logits: Float[Tensor, "B V"], banned: Bool[Tensor, " V"], *, temperature: float, top_p: float
) -> Float[Tensor, "B V"]:
    """Log-probabilities that tokens are drawn with: banned tokens and the tail beyond top_p have minus infinity."""
    logprobs = (logits.float() / temperature).masked_fill(banned, float("-inf")).log_softmax(-1)
    if top_p >= 1.0:
        return logprobs
    ordered, order = logprobs.sort(dim=-1, descending=True)
    before = ordered.exp().cumsum(-1) - ordered.exp()
    # A token is kept while what stands before it has less than top_p: so the first one always is.
    outside = torch.zeros_like(banned.expand_as(logprobs)).scatter(-1, order, before >= top_p)
    return logprobs.masked_fill(outside, float("-inf")).log_softmax(-1)


def draw_tokens(logprobs: Float[Tensor, "B V"], uniforms: Float[Tensor, " B"]) -> Int[Tensor, " B"]:
    """Invert the cumulative distribution at the uniform numbers. A token of probability 0 is never drawn.

    Where the log-probabilities are not numbers, any token is returned; its log-probability says so to the caller.
    """
    cumulative = logprobs.double().exp().cumsum(-1)
    threshold = uniforms.unsqueeze(-1) * cumulative[:, -1:]
    drawn = torch.searchsorted(cumulative, threshold, right=True).clamp(max=logprobs.shape[-1] - 1)
    # Rounding in a parallel sum may open a hair's breadth at a token without probability: then take the likeliest.
    impossible = logprobs.gather(-1, drawn) == float("-inf")
    if impossible.is_cuda or bool(impossible.any()):  # a GPU is not waited for
        drawn = torch.where(impossible, logprobs.argmax(-1, keepdim=True), drawn)
    return drawn.squeeze(-1)


def choose(
    logits: Float[Tensor, "B V"],
    uniforms: Float[Tensor, " B"],
    banned: Bool[Tensor, " V"],
    *,
    temperature: float,
    top_p: float,
) -> tuple[Int[Tensor, " B"], Float[Tensor, " B"]]:
    """Draw one token per row; return it with the log-probability it was drawn with."""
    if temperature == 0:
        tokens = logits.masked_fill(banned, float("-inf")).argmax(-1)
        # log 1 = 0, but not a number where the logits are none, so that the caller is told.
        return tokens, logits.gather(-1, tokens.unsqueeze(-1)).squeeze(-1).float() * 0.0
    logprobs = support_logprobs(logits, banned, temperature=temperature, top_p=top_p)
    tokens = draw_tokens(logprobs, uniforms)
    return tokens, logprobs.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
