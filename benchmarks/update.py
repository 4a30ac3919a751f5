"""How long one update takes against TRL's: loss and gradient of 8 prompts x 8 completions.

    python -m benchmarks.update [--runs 5] [--image-tokens 144 576]

Both sides get the same weights, tokens, pixels and advantages, and compute GRPO's loss (mean of sequence means, no
reference) and its gradient in float32; before the timing the two gradients are compared. Ours reads each prompt once.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import (
    IMAGES,
    TINY,
    Row,
    alternate,
    build_folder,
    make_samples,
    markdown,
    medians,
    plot_bars,
    save_results,
)
from benchmarks.trl_side import grpo_trainer, loss_and_backward, loss_inputs
from uec_vlm.batches import PromptSettings, collate, cut_rollouts, render
from uec_vlm.objective import ControllerState, Objective, StepTotals, build_objective, micro_batch_loss
from uec_vlm.policy import Policy, load_policy, score
from uec_vlm.records import Judged, Prompt, Rollout, Trajectory, Verdict

PROMPTS, COMPLETIONS, SHORTEST, LONGEST = 8, 8, 32, 64
MICRO_BATCH_TOKENS = 16_384
TARGETS = {144: 4.5, 576: 7.0}
GRPO: dict[str, Any] = {
    "advantage": {"name": "group_normalised"},
    "policy_loss": {"name": "clipped_ratio", "clip_low": 0.2, "clip_high": 0.2, "dual_clip": None},
    "reduction": {"name": "sequence_mean"},
}


def make_trajectories(
    policy: Policy, prompts: Sequence[Prompt], *, completions: int = COMPLETIONS, seed: int = 0
) -> list[Trajectory]:
    """Random completions of SHORTEST to LONGEST text tokens with random advantages, scored by the policy of now."""
    generator = torch.Generator().manual_seed(seed)
    allowed = torch.tensor([t for t in range(len(policy.tokenizer)) if t not in policy.banned_ids])
    made = []
    for prompt in prompts:
        for _ in range(completions):
            length = int(torch.randint(SHORTEST, LONGEST + 1, (), generator=generator))
            ids = allowed[torch.randint(0, len(allowed), (length,), generator=generator)]
            rollout = Rollout(prompt, "", ids, torch.zeros(length), "stop", "regular", 1.0, 0)
            judged = Judged(rollout, Verdict(True, "exact", ""), 1.0, 1.0, 1.0)
            advantage = float(torch.randn((), generator=generator))
            made.append(Trajectory(judged, advantage, torch.zeros(length), torch.ones(length), 0))
    with torch.no_grad():
        logprobs = score(policy, collate(made).completions, temperature=1.0, banned_ids=()).logprobs
    return [
        Trajectory(t.judged, t.advantage, row[: len(t.old_logprobs)].clone(), t.importance_weights, 0)
        for t, row in zip(made, logprobs, strict=True)
    ]


def our_update(policy: Policy, trajectories: Sequence[Trajectory], objective: Objective) -> float:
    """Our loss, its gradient left in the model's parameters: the forward and backward of `uec_vlm.trainer.update`."""
    rollouts = [trajectory.judged.rollout for trajectory in trajectories]
    totals = StepTotals(tokens=sum(len(r.completion_ids) for r in rollouts), sequences=len(rollouts))
    policy.model.zero_grad(set_to_none=True)
    total = 0.0
    for rows in cut_rollouts(rollouts, budget=MICRO_BATCH_TOKENS):
        part = [trajectories[row] for row in rows]
        batch = collate(part)
        scores = score(policy, batch.completions, temperature=1.0, banned_ids=())
        sources = ["regular"] * len(part)
        loss, _ = micro_batch_loss(
            scores, batch, None, objective=objective, totals=totals, controller=ControllerState(), sources=sources
        )
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    return total


def gradient_of(model: torch.nn.Module) -> Tensor:
    """All gradients in one vector, in the order of the parameters."""
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def same_update(policy: Policy, trainer: Any, trajectories: Sequence[Trajectory], objective: Objective) -> float:
    """By how much the two gradients differ, of their norm. SystemExit where loss or gradient are not the same."""
    batch = collate(trajectories)
    inputs = loss_inputs(trainer, batch.completions, batch.advantages)
    losses = our_update(policy, trajectories, objective), float(loss_and_backward(trainer, inputs))
    ours, theirs = gradient_of(policy.model), gradient_of(trainer.model)
    difference = float((ours - theirs).norm() / theirs.norm())
    if difference > 1e-4 or abs(losses[0] - losses[1]) > 1e-5:
        raise SystemExit(f"the two updates differ: losses {losses}, gradients by {difference:.1e} of their norm")
    return difference


def measure(image_tokens: int, *, runs: int) -> Row:
    """One row of the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = build_folder(Path(name), TINY)
        policy = load_policy(folder)
        policy.model.train()
        samples = make_samples(PROMPTS, image_tokens=image_tokens)
        prompts = [render(s, policy.processor, PromptSettings(max_prompt_tokens=4096)) for s in samples]
        trajectories = make_trajectories(policy, prompts)
        trainer = grpo_trainer(
            folder, samples, prompts=PROMPTS, completions=COMPLETIONS, max_new_tokens=LONGEST,
            reward=lambda completions, **_: [0.0] * len(completions),
        )  # fmt: skip
    objective = build_objective(GRPO)
    batch = collate(trajectories)
    inputs = loss_inputs(trainer, batch.completions, batch.advantages)
    difference = same_update(policy, trainer, trajectories, objective)
    sides = {
        "trl": lambda: loss_and_backward(trainer, inputs),
        "uec": lambda: our_update(policy, trajectories, objective),
    }
    seconds = medians(alternate(sides, runs=runs))
    return {
        "image tokens": image_tokens,
        "prompt tokens": max(len(prompt.token_ids) for prompt in prompts),
        "TRL, s": seconds["trl"],
        "uec-vlm, s": seconds["uec"],
        "times faster": seconds["trl"] / seconds["uec"],
        "target": TARGETS.get(image_tokens),
        "gradients differ by": difference,
    }


def main() -> None:
    """Check, time, print, plot and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each side, in turn (default 5)")
    parser.add_argument("--image-tokens", type=int, nargs="+", default=[16, 144, 576], help="per picture, square")
    arguments = parser.parse_args()
    rows = [measure(count, runs=arguments.runs) for count in arguments.image_tokens]
    print(markdown(rows))
    save_results(
        "update", rows, settings={"prompts": PROMPTS, "completions": COMPLETIONS, "completion tokens":
        f"{SHORTEST} to {LONGEST}", "model": TINY.name, "runs": arguments.runs},
    )  # fmt: skip
    plot_bars(
        IMAGES / "update.png", rows, label="image tokens",
        series={"TRL, s": "TRL GRPOTrainer", "uec-vlm, s": "uec-vlm"},
        title="Loss and gradient of 8 prompts x 8 completions", unit="seconds",
    )  # fmt: skip


if __name__ == "__main__":
    main()
