"""Evidence for the objective on a bandit: who solves the hard prompts, what entropy does, whether its laws hold.

    python -m benchmarks.bandit --out runs/bandit --images docs/img

trains every arm over 20 seeds on one CPU core (about 10 minutes), keeps each run as JSON under --out (a second call
continues where the first stopped; --minutes bounds one call), prints the tables and draws the plots.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml

from benchmarks.table_policy import Schedule, entropy_of, make_world, pass_rates, run, single_source_updates
from uec_vlm.config import merge
from uec_vlm.objective import Objective, build_objective

PRESETS = Path(__file__).parents[1] / "configs" / "presets"
SEEDS = 20
HARD = 0.01
STEPS = 100
BAND = (0.8, 1.2)
SGD = Schedule(steps=STEPS, optimizer="sgd", learning_rate=60.0)
ADAM = Schedule(steps=STEPS, optimizer="adam", learning_rate=0.2)


def objective_of(name: str, **changes: Any) -> Objective:
    """A preset with some sections changed."""
    return build_objective(merge(yaml.safe_load((PRESETS / f"{name}.yaml").read_text())["objective"], changes))


@dataclass(frozen=True)
class Arm:
    """A method of the comparison: preset, changed sections, group size, regular temperature, learning rate factor."""

    preset: str
    changes: dict[str, Any]
    completions: int = 5
    temperature: float = 1.0
    rate: float = 1.0


REPLAY = {"size": 2.0, "every": 5, "old_logprobs": "recomputed", "max_reuse": 4}
ARMS: dict[str, Arm] = {
    "grpo": Arm("grpo", {}),
    "grpo, G = 15": Arm("grpo", {}, completions=15),
    "grpo, rate x 3": Arm("grpo", {}, rate=3.0),
    "grpo at T = 1.2": Arm("grpo", {}, temperature=1.2),
    "filter_only": Arm("filter_only", {}),
    "uec": Arm("uec", {}),
    "uec without replay": Arm("uec", {"replay": {"name": "none"}}),
    "uec, replay by |A|": Arm("uec", {"replay": {"name": "absolute_above", **REPLAY}}),
    "uec_reference": Arm("uec_reference", {}),
}
ADAM_ARMS = ("grpo", "uec", "uec without replay", "uec, replay by |A|")


def schedule_of(arm: Arm, base: Schedule) -> Schedule:
    """The schedule of an arm; an optimizer step holds 200 sequences in all of them, so a larger group makes more."""
    rate = base.learning_rate * arm.rate
    return replace(base, completions=arm.completions, temperature=arm.temperature, learning_rate=rate)


def compare(arm: Arm, base: Schedule, seed: int) -> dict[str, Any]:
    """One run of an arm on the world of this seed; its curves, and how many hard prompts it solved."""
    world = make_world(seed=seed)
    history = run(world, objective_of(arm.preset, **arm.changes), schedule_of(arm, base), seed=seed)
    hard = world.pass_rates < HARD
    final = pass_rates(history.table, world.right)
    return {
        "hard_solved": int((final[hard] > 0.5).sum()),
        "hard": int(hard.sum()),
        "solved": int((final > 0.5).sum()),
        "final_accuracy": float(final.mean()),
        "final_entropy": float(entropy_of(history.table).mean()),
        "sampled": history.sampled,
        "optimizer_steps": history.optimizer_steps,
        "accuracy": [round(value, 5) for value in history.column("accuracy")],
        "entropy": [round(value, 5) for value in history.column("entropy")],
    }


def band(name: str, seed: int) -> dict[str, Any]:
    """Entropy over 300 steps on a table with eight right answers per prompt."""
    world = make_world(seed=seed, prompts=40, answers=32, right_answers=8, lowest=0.05, highest=0.6)
    schedule = Schedule(steps=300, prompts=20, sequences=100, learning_rate=30.0)
    controller = {"low": BAND[0], "high": BAND[1]}
    changes = {
        "uec": {},
        "uec_band": {"controller": controller},
        "uec_band, truncated weights": {"controller": controller, "old_logprobs": {"extra": "truncated"}},
    }[name]
    history = run(world, objective_of(name.split(",")[0], **changes), schedule, seed=seed)
    return {key: [round(value, 5) for value in history.column(key)] for key in ("entropy", "accuracy", "level")}


def predictions(seed: int) -> list[dict[str, Any]]:
    """Predicted and realised change of entropy of small plain-SGD updates, each of one source."""
    return single_source_updates(make_world(seed=seed), objective_of("uec", kl={"name": "none"}), SGD, seed=seed)


def jobs() -> Iterator[tuple[str, Any]]:
    """Everything there is to run, by the name of its file."""
    for seed in range(SEEDS):
        for name, arm in ARMS.items():
            yield f"sgd/{name}/{seed}", partial(compare, arm, SGD, seed)
            if name in ADAM_ARMS:
                yield f"adam/{name}/{seed}", partial(compare, arm, ADAM, seed)
        yield f"dh/updates/{seed}", partial(predictions, seed)
        if seed < 5:
            for name in ("uec", "uec_band", "uec_band, truncated weights"):
                yield f"band/{name}/{seed}", partial(band, name, seed)


def run_missing(out: Path, *, minutes: float) -> bool:
    """Runs what has no file yet until the time is up; whether everything is there."""
    end = time.monotonic() + 60.0 * minutes
    for name, job in jobs():
        path = out / f"{name}.json"
        if path.exists():
            continue
        if time.monotonic() > end:
            return False
        result = job()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result), encoding="utf-8")
    return True


def load(out: Path, group: str) -> dict[str, list[Any]]:
    """The results of a group by arm, in the order of the seeds."""
    found: dict[str, list[Any]] = {}
    for folder in sorted((out / group).iterdir()):
        files = sorted(folder.glob("*.json"), key=lambda path: int(path.stem))
        found[folder.name] = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    return found


def paired_interval(differences: list[float], *, draws: int = 10_000) -> tuple[float, float]:
    """95 % interval of the mean of paired differences: percentile bootstrap over the seeds, fixed seed."""
    values = torch.tensor(differences, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    picks = torch.randint(len(values), (draws, len(values)), generator=generator)
    means = values[picks].mean(dim=1).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64))
    return float(means[0]), float(means[1])


def table(results: dict[str, list[Any]], order: tuple[str, ...]) -> str:
    """Markdown: hard prompts solved, paired difference to GRPO, accuracy, entropy, cost; mean and spread over seeds."""
    head = "| arm | hard prompts solved | minus grpo (95 %) | accuracy | entropy (nats) | tokens | optimizer steps |"
    lines = [head, "|---|---|---|---|---|---|---|"]
    for name in order:
        rows = results[name]
        columns = {key: [row[key] for row in rows] for key in rows[0] if not isinstance(rows[0][key], list)}
        pairs = [row["hard_solved"] - base["hard_solved"] for row, base in zip(rows, results["grpo"], strict=True)]
        low, high = paired_interval(pairs)
        spread = {key: f"{statistics.mean(v):.2f} ± {statistics.stdev(v):.2f}" for key, v in columns.items()}
        gap = "" if name == "grpo" else f"{statistics.mean(pairs):+.1f} [{low:+.1f}, {high:+.1f}]"
        lines.append(
            f"| {name} | {spread['hard_solved']} of {rows[0]['hard']} | {gap} | {spread['final_accuracy']} | "
            f"{spread['final_entropy']} | {statistics.mean(columns['sampled']):.0f} | "
            f"{statistics.mean(columns['optimizer_steps']):.0f} |"
        )
    return "\n".join(lines)


def entropy_at(results: dict[str, list[Any]], level: float) -> dict[str, float]:
    """Mean entropy at the step in which a run first reaches that accuracy, over the runs that do."""
    found = {}
    for name, rows in results.items():
        at = [
            next(
                entropy for entropy, accuracy in zip(row["entropy"], row["accuracy"], strict=True) if accuracy >= level
            )
            for row in rows
            if row["accuracy"][-1] >= level
        ]
        found[name] = statistics.mean(at)
    return found


def main() -> None:
    """Runs what is missing, prints the tables, draws the plots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/bandit"), help="folder of the results")
    parser.add_argument("--images", type=Path, default=None, help="folder for the plots; without it none are drawn")
    parser.add_argument("--minutes", type=float, default=600.0, help="stop starting runs after this time")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if not run_missing(arguments.out, minutes=arguments.minutes):
        print("time is up; call again to continue")
        return
    sgd, adam = load(arguments.out, "sgd"), load(arguments.out, "adam")
    print(f"SGD, {SEEDS} seeds, {STEPS} steps\n\n{table(sgd, tuple(ARMS))}\n")
    print(f"Adam, {SEEDS} seeds, {STEPS} steps\n\n{table(adam, ADAM_ARMS)}\n")
    for optimizer, results in (("SGD", sgd), ("Adam", adam)):
        shown = ", ".join(f"{name} {value:.2f}" for name, value in entropy_at(results, 0.3).items())
        rise = max(max(row["entropy"]) - row["entropy"][0] for rows in results.values() for row in rows)
        print(f"{optimizer}: entropy at accuracy 0.30: {shown}; highest rise over the start in any run {rise:.4f}")
    updates = [row for rows in load(arguments.out, "dh")["updates"] for row in rows]
    for source in ("regular", "extra", "replay"):
        own = [row for row in updates if row["source"] == source]
        agreeing = sum(row["predicted"] * row["realised"] > 0 for row in own)
        print(f"{source}: the signs of predicted and realised dH agree in {agreeing} of {len(own)} updates")
    bands = load(arguments.out, "band")
    for name, rows in bands.items():
        late = [value for row in rows for value in row["entropy"][60:]]
        inside = sum(BAND[0] <= value <= BAND[1] for value in late) / len(late)
        accuracy = statistics.mean(row["accuracy"][-1] for row in rows)
        print(
            f"{name}: entropy in [{min(late):.2f}, {max(late):.2f}] after step 60, inside the band in {inside:.1%} of "
            f"the steps, final accuracy {accuracy:.3f}"
        )
    if arguments.images is not None:
        from benchmarks.bandit_plots import draw_all

        draw_all(sgd, adam, updates, bands, band=BAND, folder=arguments.images)


if __name__ == "__main__":
    main()
