"""Is `uec-vlm plan` right? Its predictions beside measured runs on this machine.

    python -m benchmarks.plan_check memory      # hidden 512, 8 layers: peak memory of a fresh process
    python -m benchmarks.plan_check time        # the starter policy: seconds of a run

Memory: the peak resident set of a process that trains two steps, less that of one which only imports the libraries.
Time: `uec-vlm plan --calibrate 3`, then the whole run.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import MID, ROOT, build_folder, markdown, save_results
from uec_vlm.config import RunConfig, merge, parse_config, preset

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
    save_results("plan_memory", rows, settings={"model": "hidden 512, 8 layers", "bare_imports_mb": bare / 1e6})
    return rows


def check_time(steps: int) -> list[dict[str, Any]]:
    """Predicted and measured seconds of the quickstart with fewer steps; both begin with a fresh process."""
    quickstart = str(ROOT / "configs" / "quickstart.yaml")
    with tempfile.TemporaryDirectory() as folder:
        own = [f"run.dir={folder}/run", f"run.steps={steps}", "run.trackers=[]", f"evaluate.every={steps // 2}"]
        own += ["evaluate.validation_problems=64", "evaluate.test_problems=64", "evaluate.test_samples=2"]
        plan = _command("plan", quickstart, *own, "--calibrate", "3", "--processes", "1", "--json")
        told: dict[str, Any] = json.loads(plan[plan.index("{") :])
        begun = time.perf_counter()
        _command("train", quickstart, *own)
        rows = [_row(f"{steps} steps of the quickstart", told["seconds"], time.perf_counter() - begun)]
    save_results("plan_time", rows, settings={"steps": steps, "pace": told["pace"]})
    print(told["pace"])
    return rows


def _command(*arguments: str) -> str:
    command = [sys.executable, "-m", "uec_vlm.cli", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout


def _row(case: str, predicted: float, measured: float) -> dict[str, Any]:
    return {"case": case, "predicted": predicted, "measured": measured, "off": f"{predicted / measured - 1:+.0%}"}


def _child(model: str, case: str, *, steps: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.plan_check", "child", "--model", model, "--case", case]
    shown = subprocess.run([*command, "--steps", str(steps)], check=True, capture_output=True, text=True, cwd=ROOT)
    found: dict[str, Any] = json.loads(shown.stdout.splitlines()[-1])
    return found


def main() -> None:
    """See the head of the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["memory", "time", "child"])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--model", default="")
    parser.add_argument("--case", choices=list(CASES), help="One case instead of all.")
    given = parser.parse_args()
    if given.what == "child":
        print(json.dumps(measure_memory(given.model, given.case or "full", steps=given.steps)))
    elif given.what == "memory":
        print("MB above the bare imports\n\n" + markdown(check_memory([given.case] if given.case else list(CASES))))
    else:
        print("seconds\n\n" + markdown(check_time(given.steps)))


if __name__ == "__main__":
    main()
