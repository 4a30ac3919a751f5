"""Build the starter policy that is shipped with the package: `python -m uec_vlm.starter --out DIR`.

Four stages, each saved in the work folder, so that an interrupted build goes on where it was:

    sight    the vision tower alone learns to read scattered labels (`sight`)
    words    the language model alone learns to say what the tower sees, to calculate and to answer
    both     tower and language model together; the tower goes on telling which label is where

Then the policy is measured with the real stations (`report`); `recipe.json`, `evaluation.json` and `SHA256SUMS`
are written beside it. On two shared CPU cores all of it takes about 20 minutes. All draws are fixed by the seed;
a change of `uec_vlm.geosynth` or of torch changes the weights.
"""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from uec_vlm.durable import share_weights
from uec_vlm.geosynth import GeoProblem, ProblemSet
from uec_vlm.starter.lessons import Lesson, bucketed, guessed, lesson_loss, pack, picture_array, worked
from uec_vlm.starter.model import build_model, build_processor, train_tokenizer
from uec_vlm.starter.parallel import descend, in_processes
from uec_vlm.starter.report import report, table
from uec_vlm.starter.sight import Heads, Sighting, scattered, sight_loss, sighted, told, whiten_patch_embedding

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """All numbers of the build. Batch sizes are of the whole step and divide by `processes`.

    problems: generated training problems of level 1, 2 and 3, balanced over families. unseen: families that are left
    out, so that reinforcement learning finds something new. guesses: share of the completions of the last stage that
    name a plausible answer without reading or calculating.
    """

    seed: int = 1
    processes: int = 2
    problems: tuple[int, int, int] = (19000, 1000, 0)
    unseen: tuple[str, ...] = ()
    scattered: int = 40000
    sight_steps: int = 800
    sight_rate: float = 3e-3
    words_steps: int = 200
    words_rate: float = 3e-3
    both_steps: int = 1700
    both_rate: float = 2e-3
    tower_rate: float = 1e-3
    habits_steps: int = 150
    habits_rate: float = 1e-3
    guesses: float = 0.25
    batch: int = 64


def build(out: Path, work: Path, recipe: Recipe) -> None:
    """Make the data, run the stages that are not yet in `work`, and write the policy into `out`."""
    work.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    if not (work / "problems.pkl").exists():
        in_processes(_generate, recipe.processes, work, recipe)
    for name, stage in (("sight", _sight), ("words", _words), ("both", _both), ("habits", _habits)):
        if not (work / f"{name}.pt").exists():
            in_processes(stage, recipe.processes, work, recipe)
        LOG.info("%s is done after %.0f s", name, time.monotonic() - started)
    write(out, work, recipe)
    evaluate(out)
    LOG.info("the policy is in %s after %.0f s", out, time.monotonic() - started)


def evaluate(out: Path, *, problems: int = 240, completions: int = 8) -> None:
    """Measure the written policy with the real stations; the figures lie beside it as `evaluation.json`."""
    torch.set_num_threads(1)
    figures = report(out, problems=problems, completions=completions)
    (out / "evaluation.json").write_text(json.dumps(figures, indent=1) + "\n")
    write_sums(out)
    print(table(figures))


def _generate(rank: int, count: int, work: Path, recipe: Recipe) -> None:
    """Every process makes its part of the problems; the pictures go into one file of raw pixels each."""
    from uec_vlm.geosynth import FAMILIES

    families = [name for name in FAMILIES if name not in recipe.unseen]
    rows: list[GeoProblem] = []
    pictures: list[np.ndarray[Any, np.dtype[np.uint8]]] = []
    for level, number in enumerate(recipe.problems, start=1):
        source = ProblemSet(split="train", count=number, seed=recipe.seed, families=families, levels=(level,))
        for index in range(rank, number, count):
            problem = source.problem(index)
            pictures.append(picture_array(problem))
            rows.append(replace(problem, picture=b""))
    np.save(work / f"pictures_{rank}.npy", np.stack(pictures))
    (work / f"problems_{rank}.pkl").write_bytes(pickle.dumps(rows))
    torch.distributed.barrier()
    if rank == 0:
        parts = [pickle.loads((work / f"problems_{other}.pkl").read_bytes()) for other in range(count)]
        (work / "problems.pkl").write_bytes(pickle.dumps(parts))


def load_lessons(work: Path, rank: int, *, guesses: float = 0.0) -> tuple[list[Lesson], Tensor, Tensor, Tensor]:
    """The lessons that one process made, their pictures (N, 112, 112, 3) and what is to be seen in them."""
    rows: list[GeoProblem] = pickle.loads((work / "problems.pkl").read_bytes())[rank]
    chance = random.Random(rank)
    targets = [guessed(problem, chance) if chance.random() < guesses else worked(problem) for problem in rows]
    lessons = [Lesson(index, problem.question, targets[index]) for index, problem in enumerate(rows)]
    pictures = torch.from_numpy(np.load(work / f"pictures_{rank}.npy"))
    marks, spelt = zip(*(sighted(problem) for problem in rows), strict=True)
    return lessons, pictures, torch.from_numpy(np.stack(marks)), torch.from_numpy(np.stack(spelt))


def make_tokenizer(work: Path) -> Any:
    """The tokenizer, from the texts of all training problems."""
    parts: list[list[GeoProblem]] = pickle.loads((work / "problems.pkl").read_bytes())
    return train_tokenizer(f"{problem.question} {worked(problem)}" for part in parts for problem in part[:5000])


def _sight(rank: int, count: int, work: Path, recipe: Recipe) -> None:
    model = build_model(make_tokenizer(work), seed=recipe.seed)
    torch.manual_seed(recipe.seed)
    heads = Heads(model.config.vision_config.hidden_size, model.config.vision_config.out_hidden_size)
    whiten_patch_embedding(model, scattered(600, seed=-1 - recipe.seed).pictures)
    data = scattered(recipe.scattered // count, seed=recipe.seed * 100 + rank)
    drawer = torch.Generator().manual_seed(rank)

    def loss_of(step: int) -> Tensor:
        chosen = torch.randint(0, len(data.pictures), (recipe.batch // count,), generator=drawer)
        part = Sighting(data.pictures[chosen], data.marks[chosen], data.spelt[chosen])
        loss, characters, labels = sight_loss(model, heads, part)
        if rank == 0 and step % 50 == 0:
            LOG.info(
                "sight %d: loss %.3f, characters %.2f, labels %.2f", step, float(loss.detach()), characters, labels
            )
        return loss

    weights = [*model.model.visual.parameters(), *heads.parameters()]
    for _ in descend(loss_of, [(weights, recipe.sight_rate)], steps=recipe.sight_steps, warmup_steps=40):
        pass
    if rank == 0:
        torch.save({"model": model.state_dict(), "heads": heads.state_dict()}, work / "sight.pt")


def _words(rank: int, count: int, work: Path, recipe: Recipe) -> None:
    _teach(rank, count, work, recipe, before="sight", name="words", steps=recipe.words_steps, rate=recipe.words_rate)


def _both(rank: int, count: int, work: Path, recipe: Recipe) -> None:
    _teach(rank, count, work, recipe, before="words", name="both", steps=recipe.both_steps, rate=recipe.both_rate)


def _habits(rank: int, count: int, work: Path, recipe: Recipe) -> None:
    _teach(rank, count, work, recipe, before="both", name="habits", steps=recipe.habits_steps, rate=recipe.habits_rate)


def _teach(
    rank: int, count: int, work: Path, recipe: Recipe, *, before: str, name: str, steps: int, rate: float
) -> None:
    tokenizer = make_tokenizer(work)
    model = build_model(tokenizer, seed=recipe.seed)
    heads = Heads(model.config.vision_config.hidden_size, model.config.vision_config.out_hidden_size)
    saved = torch.load(work / f"{before}.pt")
    model.load_state_dict(saved["model"])
    heads.load_state_dict(saved["heads"])
    guesses = recipe.guesses if name == "habits" else 0.0
    lessons, pictures, marks, spelt = load_lessons(work, rank, guesses=guesses)
    size, frozen = recipe.batch // count, name != "both"
    batches = bucketed(tokenizer, lessons, batch_size=size, seed=recipe.seed * 100 + rank + 7 * len(name))
    tower = list(model.model.visual.parameters())
    known = {id(weight) for weight in tower}
    groups = [([weight for weight in model.parameters() if id(weight) not in known], rate)]
    if not frozen:
        groups.append((tower, recipe.tower_rate))
        groups.append((list(heads.parameters()), recipe.tower_rate))
    running: list[float] = []
    seen: list[Tensor] = []

    def loss_of(step: int) -> Tensor:
        chosen = next(batches)
        rows = [lesson.picture for lesson in chosen]
        batch = pack(tokenizer, chosen, pictures)

        def also(states: Tensor, merged: Tensor) -> Tensor:
            loss, characters, labels = told(heads, states, merged, Sighting(pictures[rows], marks[rows], spelt[rows]))
            seen.append(torch.tensor([float(loss.detach()), characters, labels]))
            return loss

        return lesson_loss(model, batch, freeze_vision=frozen, also=None if frozen else also)

    for step, loss in enumerate(descend(loss_of, groups, steps=steps, warmup_steps=40), start=1):
        running.append(loss)
        if rank == 0 and step % 50 == 0:
            sights = " ".join(f"{float(one):.2f}" for one in torch.stack(seen).mean(0)) if seen else ""
            LOG.info("%s %d: loss %.3f (%s)", name, step, sum(running) / len(running), sights)
            running.clear()
            seen.clear()
        if rank == 0 and step % 200 == 0:
            torch.save({"model": model.state_dict(), "heads": heads.state_dict()}, work / f"{name}.part")
    if rank == 0:
        torch.save({"model": model.state_dict(), "heads": heads.state_dict()}, work / f"{name}.pt")


def write(out: Path, work: Path, recipe: Recipe, *, stage: str = "habits.pt") -> None:
    """The policy in Hugging Face format, weights in half precision; and the sha256 of every file beside them."""
    tokenizer = make_tokenizer(work)
    model = build_model(tokenizer, seed=recipe.seed)
    model.load_state_dict(torch.load(work / stage)["model"])
    out.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(out)
    share_weights(out)
    build_processor(tokenizer).save_pretrained(out)
    _say_float32(out / "config.json")
    (out / "recipe.json").write_text(json.dumps(asdict(recipe), indent=1) + "\n")
    write_sums(out)


def _say_float32(path: Path) -> None:
    """Weights lie in half precision to be small; the configuration asks for single precision when they are loaded."""
    path.write_text(path.read_text().replace('"float16"', '"float32"'))


def write_sums(folder: Path) -> None:
    """`SHA256SUMS` over all other files of the folder."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}"
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != "SHA256SUMS"
    ]
    (folder / "SHA256SUMS").write_text("\n".join(lines) + "\n")


def changed(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """The recipe with `NAME=VALUE` applied; values are JSON. Raises TypeError for a name it does not have."""
    pairs = (setting.split("=", 1) for setting in settings)
    values: dict[str, Any] = {name: json.loads(value) for name, value in pairs}
    values.update({name: tuple(value) for name, value in values.items() if isinstance(value, list)})
    return replace(recipe, **values)
