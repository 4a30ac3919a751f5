"""Cutting a list of trajectories into micro-batches by a budget of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from uec_vlm.batches.collate import prompt_places
from uec_vlm.records import Prompt, Rollout, Trajectory


@dataclass(frozen=True)
class _Load:
    """What a micro-batch holds: the padded rectangle of its prompts, and that of its completions."""

    prompts: int = 0
    longest_prompt: int = 0
    completions: int = 0
    longest_completion: int = 0

    def adding(self, prompt_length: int, completion_lengths: Sequence[int]) -> _Load:
        return replace(
            self,
            prompts=self.prompts + 1,
            longest_prompt=max(self.longest_prompt, prompt_length),
            completions=self.completions + len(completion_lengths),
            longest_completion=max(self.longest_completion, *completion_lengths),
        )

    @property
    def tokens(self) -> int:
        return self.prompts * self.longest_prompt + self.completions * self.longest_completion


def cut_by_tokens(trajectories: Sequence[Trajectory], *, budget: int) -> list[list[Trajectory]]:
    """Cut into micro-batches of at most `budget` tokens, padding included; a shared prompt counts once.

    Completions of one prompt stay together where they fit, and similar lengths come together. Every trajectory is in
    exactly one micro-batch, none is empty; one that alone exceeds the budget stands alone. The cut depends on the
    input only.
    """
    places = cut_rollouts([trajectory.judged.rollout for trajectory in trajectories], budget=budget)
    return [[trajectories[place] for place in part] for part in places]


def cut_rollouts(rollouts: Sequence[Rollout], *, budget: int) -> list[list[int]]:
    """As `cut_by_tokens`, for rollouts; returns their places, so that results can be put back into order."""
    if budget < 1:
        raise ValueError(f"budget = {budget}: a micro-batch needs at least 1 token")
    lengths = [len(rollout.completion_ids) for rollout in rollouts]
    pieces = []
    for members in _members_by_prompt([rollout.prompt for rollout in rollouts]):
        prompt_length = len(rollouts[members[0]].prompt.token_ids)
        for piece in _split_group(members, lengths, prompt_length, budget):
            pieces.append((prompt_length, piece))
    # Stable: pieces of equal lengths keep the order of the input.
    pieces.sort(key=lambda item: (-max(lengths[place] for place in item[1]), -item[0]))
    parts: list[list[int]] = []
    load = _Load()
    for prompt_length, piece in pieces:
        grown = load.adding(prompt_length, [lengths[place] for place in piece])
        if not parts or grown.tokens > budget:
            parts.append([])
            grown = _Load().adding(prompt_length, [lengths[place] for place in piece])
        parts[-1] += piece
        load = grown
    return parts


def cut_for_ranks(rollouts: Sequence[Rollout], *, budget: int, ranks: int) -> list[list[list[int]]]:
    """The micro-batches of each rank, as places: `ranks` lists of equal length, filled up with empty micro-batches.

    The completions are dealt so that every rank gets about as many tokens, those of one prompt together as long as no
    rank would stay without; then each share is cut as by `cut_rollouts`. One rank gets exactly `cut_rollouts`.
    """
    if ranks < 1:
        raise ValueError(f"ranks = {ranks}: need at least 1")
    if ranks == 1:
        return [cut_rollouts(rollouts, budget=budget)]
    cuts = []
    for share in _deal(rollouts, ranks):
        parts = cut_rollouts([rollouts[place] for place in share], budget=budget)
        cuts.append([[share[place] for place in part] for part in parts])
    rounds = max(len(parts) for parts in cuts)
    return [parts + [[] for _ in range(rounds - len(parts))] for parts in cuts]


def _deal(rollouts: Sequence[Rollout], ranks: int) -> list[list[int]]:
    """Places for each rank, in rising order: the dearest piece goes to whoever has the least, the lower rank first."""
    at_most = -(-len(rollouts) // ranks)
    pieces: list[tuple[int, list[int]]] = []
    for members in _members_by_prompt([rollout.prompt for rollout in rollouts]):
        for start in range(0, len(members), at_most):
            piece = members[start : start + at_most]
            tokens = len(rollouts[piece[0]].prompt.token_ids) + sum(len(rollouts[p].completion_ids) for p in piece)
            pieces.append((tokens, piece))
    shares: list[list[int]] = [[] for _ in range(ranks)]
    loads = [0] * ranks
    for tokens, piece in sorted(pieces, key=lambda item: -item[0]):
        least = loads.index(min(loads))
        shares[least] += piece
        loads[least] += tokens
    return [sorted(share) for share in shares]


def _members_by_prompt(prompts: Sequence[Prompt]) -> list[list[int]]:
    groups: dict[int, list[int]] = {}
    for member, number in enumerate(prompt_places(prompts)):
        groups.setdefault(number, []).append(member)
    return list(groups.values())


def _split_group(members: list[int], lengths: Sequence[int], prompt_length: int, budget: int) -> list[list[int]]:
    """Cut the completions of one prompt, longest first, into pieces that fit; usually one."""
    pieces: list[list[int]] = []
    for member in sorted(members, key=lambda place: -lengths[place]):
        grown = [*(pieces[-1] if pieces else []), member]
        if pieces and _Load().adding(prompt_length, [lengths[place] for place in grown]).tokens <= budget:
            pieces[-1] = grown
        else:
            pieces.append([member])
    return pieces
