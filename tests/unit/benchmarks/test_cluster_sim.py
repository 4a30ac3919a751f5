"""The simulated cluster obeys what no cluster can break, and its page is what the script makes."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import cluster_sim as sim
from benchmarks.cluster_sim import MODELS, SEVEN, SEVENTY_TWO, Calibration, Hardware, Load

MEASURED, LOAD, REAL = Calibration(share=0.6, score=0.4, extra=0.5), Load(), Hardware()
# Communication costs nothing, and memory is no limit: what is left is work.
IDEAL = replace(REAL, link=math.inf, network=math.inf, memory=1e15)
COUNTS = (8, 16, 24, 64, 96, 512, 1024)


def steps(model: sim.Model, hardware: Hardware, gpus: int, load: Load = LOAD) -> list[sim.Step]:
    half = gpus // 2 // model.tensor * model.tensor or model.tensor
    made = [sim.together(model, load, hardware, MEASURED, gpus)]
    if gpus > half:
        made += [sim.apart(model, load, hardware, MEASURED, gpus, half, ahead=ahead) for ahead in (False, True)]
    return made


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.name)
@pytest.mark.parametrize("gpus", COUNTS)
def test_the_phases_are_the_wall_time(model: sim.Model, gpus: int) -> None:
    for step in steps(model, REAL, gpus):
        assert set(step.seconds) == set(sim.PHASES)
        assert all(seconds >= 0 for seconds in step.seconds.values())
        assert step.wall == pytest.approx(sum(step.seconds.values())) and step.wall > 0


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.name)
@pytest.mark.parametrize("layout", [0, 1, 2])
def test_without_communication_more_gpus_are_never_slower(model: sim.Model, layout: int) -> None:
    counts = [gpus for gpus in COUNTS if gpus >= 2 * model.tensor]
    walls = [steps(model, IDEAL, gpus)[layout].wall for gpus in counts]
    assert walls == sorted(walls, reverse=True)
    assert walls[0] > walls[-1]


def test_work_is_conserved_where_it_divides() -> None:
    """Groups of equal size on GPUs that divide them: GPU-seconds of the update do not depend on their number."""
    spent = [gpus * sim.training(SEVEN, LOAD, IDEAL, MEASURED, gpus)["update"] for gpus in (1, 2, 8, 64, 128)]
    assert spent == pytest.approx([spent[0]] * len(spent))
    # 128 groups of an optimizer step leave three quarters of 512 GPUs without work.
    assert 512 * sim.training(SEVEN, LOAD, IDEAL, MEASURED, 512)["update"] == pytest.approx(4 * spent[0])


def test_the_longest_completion_bounds_a_rollout_from_below() -> None:
    endless = sim.decoding(SEVEN, LOAD, REAL, 10**6, LOAD.completions)
    floor = LOAD.limit * (REAL.step_latency + SEVEN.weights * 2 / (REAL.bandwidth * REAL.read_share))
    assert floor < endless < 1.05 * floor


@pytest.mark.parametrize("gpus", [8, 64, 512])
def test_running_ahead_hides_the_shorter_part_and_costs_age(gpus: int) -> None:
    whole, turns, ahead = steps(SEVENTY_TWO, IDEAL, gpus * 2)
    generation = turns.seconds["rollout"] + turns.seconds["explore"]
    rest = turns.wall - generation
    assert ahead.wall == pytest.approx(max(generation, rest))
    assert (whole.age, turns.age, ahead.age) == (0, 0, LOAD.trajectories / LOAD.sequences)


def test_a_slower_network_is_never_faster_and_one_gpu_needs_none() -> None:
    slow = replace(REAL, network=REAL.network / 10)
    for model in MODELS:
        for fast_step, slow_step in zip(steps(model, REAL, 64), steps(model, slow, 64), strict=True):
            assert slow_step.wall > fast_step.wall or slow_step.layout == "apart, one step ahead"
            assert slow_step.wall >= fast_step.wall
    assert sim.exchanging(SEVEN, REAL, 1, 9) == 0.0


def test_more_work_takes_longer() -> None:
    for bigger in (replace(LOAD, completion_tokens=900), replace(LOAD, limit=4096), replace(LOAD, prompts=1024)):
        pairs = zip(steps(SEVEN, REAL, 64), steps(SEVEN, REAL, 64, bigger), strict=True)
        assert all(more.wall > less.wall for less, more in pairs)


def test_the_calibration_is_read_from_measured_results(tmp_path: Path) -> None:
    files = {
        "roofline": [{"share": 0.5}, {"share": 0.7}],
        "step": [{"of it score, s": 1.0, "of it update, s": 4.0}],
        "methods": [{"method": "uec", "of them extra": 30.0, "sampled tokens a step": 90.0}],
    }
    for name, rows in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({"rows": rows}))
    assert sim.calibrate(tmp_path) == Calibration(share=pytest.approx(0.6), score=0.25, extra=0.5)


def test_the_page_holds_what_the_script_makes() -> None:
    """Of the calibration that its results were made with: other benchmarks may have been run again since."""
    found = json.loads((sim.RESULTS / "cluster_sim.json").read_text())
    measured = Calibration(**found["settings"]["calibration"])
    rows = sim.simulate(measured)
    assert found["rows"] == json.loads(json.dumps(rows))
    written = sim.PAGE.read_text(encoding="utf-8").split(sim.MARK)[1].strip()
    assert written == sim.section(rows, measured, LOAD, REAL, found["settings"]["check"])
