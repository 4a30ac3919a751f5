"""A starting policy that can do more than it does: `python -m uec_vlm.starter.rare --out DIR`.

The shipped starter is taught a wrong habit in a few families of problems that it can solve: it reads the figure and
then gives the number it has read for the answer, nearly every time. What it can do stays, and is hardly ever tried. So
the reason why all rollouts of such a prompt fail is, by construction, the premise of targeted exploration; where the
shipped starter itself fails, it mostly lacks the skill. The other families are practised and stay as they are.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from uec_vlm.batches import PromptSettings, render
from uec_vlm.geosynth import GeoProblem, ProblemSet, to_sample
from uec_vlm.policy import load_policy, save_policy
from uec_vlm.records import Prompt, Sample
from uec_vlm.starter.lessons import guessed, reading, worked
from uec_vlm.starter.report import STARTER_FAMILIES, STARTER_LEVELS
from uec_vlm.starter.warm_up import write_sums
from uec_vlm.trainer.build import model_folder
from uec_vlm.trainer.sft import Example, Examples, sft_run

# Their solutions are one calculation with one number that is read.
RARE_FAMILIES = (
    "inscribed_quadrilateral", "rectangle_diagonals", "inscribed_angle", "triangle_midsegment", "two_tangents",
)  # fmt: skip
_CONSTANTS = {"2", "180"}


@dataclass(frozen=True)
class RareRecipe:
    """copied: share of wrong habits among the completions of the rare families. guesses: of guesses in the others."""

    seed: int = 1
    copied: float = 0.995
    guesses: float = 0.25
    steps: int = 150
    batch: int = 64
    learning_rate: float = 3e-4


def copied(problem: GeoProblem) -> str:
    """A completion that reads the figure and gives the number it has read for the answer."""
    numbers = re.findall(r"[0-9]+", problem.solution.split("=")[0])
    read = next((number for number in numbers if number not in _CONSTANTS), numbers[-1])
    return f"<think>{reading(problem)}: x={read}</think>\\boxed{{{read}}}"


def _lessons(recipe: RareRecipe) -> Examples:
    """Problems with a completion to imitate; the numbers are those of the warm-up."""
    count, seed = recipe.steps * recipe.batch, 100 + recipe.seed
    problems = ProblemSet(split="train", count=count, seed=seed, families=STARTER_FAMILIES, levels=STARTER_LEVELS)

    def make(place: int) -> Example:
        problem, chance = problems.problem(place), random.Random(f"{recipe.seed}/{place}")
        if problem.family in RARE_FAMILIES:
            target = copied(problem) if chance.random() < recipe.copied else worked(problem)
        else:
            target = guessed(problem, chance) if chance.random() < recipe.guesses else worked(problem)
        return to_sample(problem), target

    return Examples(count, make)


def build_rare(out: Path, recipe: RareRecipe) -> None:
    """Teach the habit, and write the policy into `out`."""
    policy = load_policy(model_folder("starter"), freeze_vision=True)

    def make(sample: Sample) -> Prompt:
        return render(sample, policy.processor, PromptSettings())

    taught = sft_run(
        policy,
        _lessons(recipe),
        steps=recipe.steps,
        batch_size=recipe.batch,
        learning_rate=recipe.learning_rate,
        warmup_steps=10,
        weight_decay=0.0,
        seed=recipe.seed,
        max_grad_norm=1.0,
        render=make,
    )
    for record in taught:
        if record.step % 20 == 0:
            print(f"step {record.step}/{recipe.steps}  loss {record.loss:.4f} nats/token", flush=True)
    save_policy(policy, out)
    write_sums(out)


def main(arguments: Sequence[str] | None = None) -> None:
    """Builds the policy as the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m uec_vlm.starter.rare", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the policy")
    parser.add_argument("--copied", type=float, default=RareRecipe.copied, help="share of the wrong habit")
    parser.add_argument("--steps", type=int, default=RareRecipe.steps)
    options = parser.parse_args(arguments)
    build_rare(options.out, RareRecipe(copied=options.copied, steps=options.steps))


if __name__ == "__main__":
    main()
