"""An update whose first micro-batch does not fit into memory, under the kernel's own limit on a process's data.

    python -m tests.reliability.out_of_memory MODEL_FOLDER

Prints one JSON line. Two forked children measure what the update takes whole and in small micro-batches; a third gets a
limit between the two. It must halve its micro-batch, and end with the weights of the first.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

import torch

from tests.support.records import bare_prompt, bare_trajectory
from tests.support.worlds import tiny_circle
from uec_vlm.metrics import StepReport
from uec_vlm.objective import ControllerState
from uec_vlm.trainer.update import Work, update

WHOLE, SMALL = 16_000, 1_000
LENGTH, COUNT = 700, 16


def main(folder: Path) -> None:
    """Runs the three children and prints what they found."""
    trajectories = []
    for number in range(COUNT):
        prompt = bare_prompt(str(number), 40)
        trajectories.append(bare_trajectory(prompt, LENGTH, advantage=1.0 if number % 2 else -1.0, token=40 + number))

    def work(budget: int, limit: int | None) -> dict[str, Any]:
        settings = {"sequences_per_optimizer_step": COUNT, "micro_batch_tokens": budget}
        circle = tiny_circle(folder, "grpo", rollout={"completions_per_prompt": 4}, update=settings)
        resident = _bytes_of("VmRSS")
        if limit is not None:
            most = _bytes_of("VmData") + limit
            resource.setrlimit(resource.RLIMIT_DATA, (most, most))
        report = StepReport()
        done = update(circle, Work(trajectories, "train", 1, 0, ControllerState()), report)
        weights = torch.cat([parameter.detach().flatten() for parameter in circle.policy.model.parameters()])
        return {
            "steps": done,
            "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - resident,
            "halved": report.totals.get("update/out_of_memory", 0.0),
            "notes": report.notes,
            "weights": weights.tolist(),
            "moved": float(report.totals["update/grad_norm"]),
        }

    whole = _in_child(lambda: work(WHOLE, None))
    small = _in_child(lambda: work(SMALL, None))
    limited = _in_child(lambda: work(WHOLE, (whole["peak"] + small["peak"]) // 2))
    weights = {name: torch.tensor(found.pop("weights")) for name, found in (("whole", whole), ("limited", limited))}
    small.pop("weights")
    gap = float((weights["whole"] - weights["limited"]).abs().max())
    print(json.dumps({"whole": whole, "small": small, "limited": limited, "gap": gap}))


def _in_child(job: Any) -> dict[str, Any]:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        with os.fdopen(writer, "w") as out:
            json.dump(job(), out)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    os.waitpid(child, 0)
    return found


def _bytes_of(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0]) * 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]))
