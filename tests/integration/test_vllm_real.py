"""UEC training against the real vLLM server: killed in the middle of a step, and asked by two processes."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from tests.support.processes import end_in_time, launched
from tests.support.vllm_real import ON_THE_CPU, WHY_NOT, vllm_python
from uec_vlm.config import config_folder, load_config
from uec_vlm.trainer.run import run_training

PROMPTS, COMPLETIONS, STEPS, FEWER = 12, 4, 20, 8


@pytest.mark.slow  # the server starts several times, about half a minute each
@pytest.mark.timeout(1800)
@pytest.mark.skipif(vllm_python() is None, reason=WHY_NOT)
def test_a_server_killed_in_a_step_costs_no_prompt_and_no_old_weights_are_sampled_from(tmp_path: Path) -> None:
    config = load_config(config_folder() / "quickstart.yaml", above(tmp_path, STEPS))
    killed: list[int] = []
    thread = threading.Thread(target=_kill_in_step, args=(tmp_path, killed), daemon=True)
    thread.start()
    run_training(config, resume=None, console=Console(quiet=True))
    thread.join(10)
    assert len(killed) == 1
    log = (tmp_path / "server.log").read_text(errors="replace")
    assert log.count("Started server process") == 2, "started, killed, started again, and then it stayed"
    assert_always_the_policy(tmp_path / "run", STEPS)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(vllm_python() is None, reason=WHY_NOT)
@pytest.mark.parametrize("engine", ["ddp", "zero3", "fsdp2"])
def test_two_processes_sample_from_what_they_train(engine: str, tmp_path: Path) -> None:
    # Validation between the steps may choose another checkpoint than the last for the test split.
    more = [*above(tmp_path, FEWER), "evaluate.every=2", "model.device=cpu"]
    told = {"engine": engine, "config": str(config_folder() / "quickstart.yaml"), "above": more}
    (tmp_path / "specification.json").write_text(json.dumps(told))
    shown = end_in_time(launched(["tests.support.served_training", str(tmp_path)], 2), limit=1700)
    assert f"2 processes under {engine}" in shown and shown.count("engine and policy agree") == 1
    log = (tmp_path / "server.log").read_text(errors="replace")
    assert log.count("Started server process") == 1, "the first process starts it, for both"
    assert_always_the_policy(tmp_path / "run", FEWER)


def above(folder: Path, steps: int) -> list[str]:
    """What lies above the quickstart: a server that the run starts, weights that move far in a step."""
    server = {
        "python": vllm_python(), "log": str(folder / "server.log"), "arguments": list(ON_THE_CPU),
        "environment": {"VLLM_CPU_KVCACHE_SPACE": "1"},
    }  # fmt: skip
    settings = {
        "run.dir": str(folder / "run"), "run.steps": steps, "run.trackers": [], "rollout.engine": "vllm",
        "rollout.prompts_per_step": PROMPTS, "rollout.completions_per_prompt": COMPLETIONS,
        "rollout.vllm": {"start": server, "untie_head": True}, "update.sequences_per_optimizer_step": 24,
        "update.learning_rate": 1e-3, "evaluate.validation_problems": 4, "evaluate.test_problems": 4,
        "log.rollouts_every": 1, "log.rollouts_per_step": 10_000,
    }  # fmt: skip
    return [f"{key}={json.dumps(value)}" for key, value in settings.items()]


def assert_always_the_policy(run: Path, steps: int) -> None:
    """Every step has every prompt once, sampled with the weights of then."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()][1:]
    assert [row["step"] for row in rows] == list(range(1, steps + 1))
    gaps = [(row["rollout/policy_gap_median_nats"], row["rollout/policy_gap_p99_nats"]) for row in rows]
    moved = [max(values) for row in rows if (values := [v for k, v in row.items() if "/staleness_nats_" in k])]
    print(json.dumps({"gap median and p99 of each step": gaps, "nats that the updates of a step moved a token": moved}))
    # Weights from before an update would be seen: within it alone the tokens move by a hundred times the largest gap.
    assert len(moved) >= steps // 4 and min(moved) > 1e-3
    assert max(median for median, _ in gaps) < 1e-5 and max(p99 for _, p99 in gaps) < 1e-4
    for step in range(1, steps + 1):
        dumped = pq.read_table(run / "rollouts" / f"step_{step:06d}.parquet").to_pylist()
        regular = Counter(line["id"] for line in dumped if line["source"] == "regular")
        assert len(regular) == PROMPTS and set(regular.values()) == {COMPLETIONS}


def _kill_in_step(folder: Path, killed: list[int]) -> None:
    """SIGKILL to all processes of the server, once the second step samples."""
    log, metrics = folder / "server.log", folder / "run" / "metrics.jsonl"
    while not (metrics.is_file() and len(metrics.read_text().splitlines()) >= 2):
        time.sleep(0.05)
    asked = log.read_text(errors="replace").count("/v1/chat/completions")
    while log.read_text(errors="replace").count("/v1/chat/completions") < asked + 3:
        time.sleep(0.01)
    leader = _leader(str(folder / "server.log"))
    os.killpg(leader, signal.SIGKILL)
    killed.append(leader)


def _leader(log: str) -> int:
    """The process that leads the group whose output goes to this file."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "fd" / "1") == log and os.getpgid(int(process.name)) == int(process.name):
                return int(process.name)
        except OSError:
            continue
    raise AssertionError("the server is not running")
