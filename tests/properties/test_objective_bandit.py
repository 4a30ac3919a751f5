"""Learning on a table policy: exploration solves hard prompts, the law of entropy holds, the band is held.

The full evidence (20 seeds, 200 prompts) is `benchmarks/bandit.py`; here are small worlds, and the claim at full size
under the marker slow.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks.bandit import HARD, SGD, objective_of, paired_interval
from benchmarks.table_policy import Schedule, World, make_world, pass_rates, run, single_source_updates

SMALL = Schedule(steps=40, prompts=20, completions=5, sequences=100, learning_rate=30.0)


def small_world(seed: int) -> World:
    return make_world(seed=seed, prompts=60, answers=32, lowest=1e-3)


def hard_solved(name: str, world: World, schedule: Schedule, seed: int) -> int:
    final = pass_rates(run(world, objective_of(name), schedule, seed=seed).table, world.right)
    return int((final[world.pass_rates < HARD] > 0.5).sum())


def test_a_world_has_the_pass_rates_that_were_asked_for() -> None:
    rates = make_world(seed=0).pass_rates
    assert int((rates < HARD).sum()) == 108
    torch.testing.assert_close(rates[[0, -1]], torch.tensor([1e-4, 0.5]), rtol=0, atol=1e-5)


def test_uec_solves_more_hard_prompts_than_grpo_at_equal_steps() -> None:
    seeds = range(4)
    gaps = [
        float(hard_solved("uec", small_world(s), SMALL, s) - hard_solved("grpo", small_world(s), SMALL, s))
        for s in seeds
    ]
    assert paired_interval(gaps)[0] > 0.0


@pytest.mark.slow
def test_uec_solves_more_prompts_below_one_percent_over_twenty_seeds() -> None:
    gaps = []
    for seed in range(20):
        world = make_world(seed=seed)
        gaps.append(float(hard_solved("uec", world, SGD, seed) - hard_solved("grpo", world, SGD, seed)))
    assert paired_interval(gaps)[0] > 0.0


def test_a_bandit_learns() -> None:
    world = make_world(seed=0, prompts=20, answers=8, lowest=0.1)
    accuracy = run(
        world, objective_of("grpo"), Schedule(steps=60, prompts=20, sequences=100, learning_rate=100.0), seed=0
    )
    assert accuracy.column("accuracy")[0] < 0.35
    assert accuracy.column("accuracy")[-1] > 0.95


def test_the_same_seed_gives_the_same_run_and_another_one_differs() -> None:
    world = small_world(0)
    short = Schedule(steps=6, prompts=20, completions=5, sequences=100, learning_rate=30.0)
    first, again, other = (run(world, objective_of("uec"), short, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.table, again.table)
    assert first.rows == again.rows
    assert not torch.equal(first.table, other.table)


def test_the_sign_of_the_predicted_change_of_entropy_is_that_of_the_realised_one() -> None:
    updates: list[dict[str, Any]] = []
    for seed in range(2):
        updates += single_source_updates(
            small_world(seed), objective_of("uec", kl={"name": "none"}), SMALL, seed=seed, every=5
        )
    assert {row["source"] for row in updates} == {"regular", "extra", "replay"}
    agreeing = sum(row["predicted"] * row["realised"] > 0 for row in updates)
    assert len(updates) >= 30
    assert agreeing >= 0.95 * len(updates)


def band_entropies(name: str, **changes: Any) -> list[float]:
    world = make_world(seed=0, prompts=20, answers=32, right_answers=8, lowest=0.05, highest=0.6)
    schedule = Schedule(steps=110, prompts=20, sequences=100, learning_rate=30.0)
    return run(world, objective_of(name, **changes), schedule, seed=0).column("entropy")[50:]


def test_uec_band_holds_its_band_where_uec_leaves_it() -> None:
    held = band_entropies("uec_band", controller={"low": 0.8, "high": 1.2})
    assert min(held) > 0.7
    assert max(held) < 1.3
    assert sum(0.8 <= value <= 1.2 for value in held) >= 0.8 * len(held)
    assert band_entropies("uec")[-1] < 0.6
