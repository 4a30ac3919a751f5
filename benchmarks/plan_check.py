"""Is `uec-vlm plan` right? Its predictions beside measured runs on this machine.

    python -m benchmarks.plan_check memory      # hidden 512, 8 layers: peak memory of a fresh process
    python -m benchmarks.plan_check time --steps 20 --seed 1        # the starter policy: seconds of a run

Memory: the peak resident set of a process that trains two steps, less that of one which only imports the libraries.
The plan is of memory in use. glibc keeps freed blocks below its threshold for itself, which an adapter's many small
tensors made 1.0 GB of 2.8; with `MALLOC_MMAP_THRESHOLD_` set (`THRESHOLD`) they go back to the system at once.
Time: `uec-vlm plan --calibrate 3`, then the whole run.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import MID, RESULTS, ROOT, build_folder, markdown, save_results
from uec_vlm.config import RunConfig, merge, parse_config, preset

THRESHOLD = {"MALLOC_MMAP_THRESHOLD_": "262144"}
CASES: dict[str, dict[str, Any]] = {
    "full": {},
    "small micro-batch": {"update": {"micro_batch_tokens": 1500}},
    "checkpointed": {"model": {"gradient_checkpointing": True}},
    "LoRA": {"model": {"lora": {"rank": 16, "alpha": 32}}},
}


def memory_config(model: str, case: str) -> RunConfig:
    """Two steps of GRPO with a reference on pictures of 144 tokens."""
    data = {"kind": "geosynth", "count": 64, "image_size": 336}
    tree: dict[str, Any] = {
        "algorithm": "grpo",
        "run": {"steps": 2, "trackers": []},
        "model": {"path": model, "device": "cpu", "freeze_vision": True},
        "data": {"train": data, "validation": {**data, "count": 4}},
        "rollout": {"prompts_per_step": 8, "completions_per_prompt": 8, "max_new_tokens": 64},
        "update": {"micro_batch_tokens": 4096},
        "log": {"realised_dh_every": 0},
        "evaluate": {"validation_problems": 1},  # nothing is evaluated, so no such prompt is kept
    }
    return parse_config(
        merge(merge(preset("grpo"), tree), CASES[case]), RunConfig, place="plan_check", name="plan_check"
    )


def measure_memory(model: str, case: str, *, steps: int) -> dict[str, Any]:
    """In this process: import, and train where steps > 0. Returns the peak resident set in bytes."""
    import deepspeed  # noqa: F401
    import transformers.models.qwen2_5_vl.modeling_qwen2_5_vl  # noqa: F401

    from uec_vlm.trainer.build import build_circle, first_state, resolve
    from uec_vlm.trainer.loop import train

    longest = 0
    if steps:
        circle, _ = build_circle(resolve(memory_config(model, case)))
        for turn in train(circle, first_state(), last_step=steps):
            lengths = [len(j.rollout.completion_ids) for chosen in turn.chosen for j in chosen.group.judged]
            longest = max(longest, *lengths)
    return {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "longest": longest}


def check_memory(cases: Sequence[str]) -> list[dict[str, Any]]:
    """Predicted and measured memory of these cases."""
    from uec_vlm.preflight.plan import make_plan

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        model = str(build_folder(Path(folder), MID))
        bare = _child(model, "full", steps=0)["peak"]
        for case in cases:
            need = make_plan(memory_config(model, case), config_json=None, processes=1, pace=None).memory["ddp", 1]
            predicted, measured = need.peak + need.host, _child(model, case, steps=2)["peak"] - bare
            rows.append(_row(case, predicted / 1e6, measured / 1e6))
            print(case, need, flush=True)
            print(rows[-1], flush=True)
    settings = {"model": "hidden 512, 8 layers", "bare_imports_mb": bare / 1e6, **THRESHOLD}
    save_results("plan_memory", _with_known("plan_memory", rows), settings=settings)
    return rows


def _with_known(name: str, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """These rows, and those of other cases that an earlier call has written."""
    file = RESULTS / f"{name}.json"
    known = json.loads(file.read_text(encoding="utf-8"))["rows"] if file.is_file() else []
    made = {row["case"]: row for row in (*known, *rows)}
    return list(made.values())


def check_time(steps: int, *, seed: int) -> list[dict[str, Any]]:
    """Predicted and measured seconds of the quickstart with fewer steps; both begin with a fresh process."""
    quickstart = str(ROOT / "configs" / "quickstart.yaml")
    with tempfile.TemporaryDirectory() as folder:
        own = [f"run.dir={folder}/run", f"run.steps={steps}", "run.trackers=[]", f"evaluate.every={steps // 2}"]
        own += [f"run.seed={seed}"]
        own += ["evaluate.validation_problems=64", "evaluate.test_problems=64", "evaluate.test_samples=2"]
        plan = _command("plan", quickstart, *own, "--calibrate", "3", "--processes", "1", "--json")
        told: dict[str, Any] = json.loads(plan[plan.index("{") :])
        begun = time.perf_counter()
        _command("train", quickstart, *own)
        case = f"{steps} steps of the quickstart, seed {seed}"
        rows = [_row(case, told["seconds"], time.perf_counter() - begun)]
    save_results("plan_time", _with_known("plan_time", rows), settings={"last_pace": told["pace"]})
    print(told["pace"])
    return rows


def _command(*arguments: str) -> str:
    command = [sys.executable, "-m", "uec_vlm.cli", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout


def _row(case: str, predicted: float, measured: float) -> dict[str, Any]:
    return {"case": case, "predicted": predicted, "measured": measured, "off": f"{predicted / measured - 1:+.0%}"}


def _child(model: str, case: str, *, steps: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.plan_check", "child", "--model", model, "--case", case]
    command += ["--steps", str(steps)]
    environment = {**os.environ, **THRESHOLD}
    shown = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=environment)
    found: dict[str, Any] = json.loads(shown.stdout.splitlines()[-1])
    return found


def main() -> None:
    """See the head of the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["memory", "time", "child"])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="")
    parser.add_argument("--case", choices=list(CASES), help="One case instead of all.")
    given = parser.parse_args()
    if given.what == "child":
        print(json.dumps(measure_memory(given.model, given.case or "full", steps=given.steps)))
    elif given.what == "memory":
        print("MB above the bare imports\n\n" + markdown(check_memory([given.case] if given.case else list(CASES))))
    else:
        print("seconds\n\n" + markdown(check_time(given.steps, seed=given.seed)))


if __name__ == "__main__":
    main()
