"""Memory that runs out in an update: under a limit of the kernel, in a process of its own; and at a chosen place."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.support.records import bare_prompt, bare_trajectory
from tests.support.worlds import tiny_circle
from uec_vlm.metrics import StepReport
from uec_vlm.objective import ControllerState
from uec_vlm.policy.forward import backbone_of
from uec_vlm.trainer.update import Work, update

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(900)
def test_a_micro_batch_that_does_not_fit_is_halved_and_the_gradient_is_the_same(
    tiny_model: Callable[[str], Path],
) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "tests.reliability.out_of_memory", str(tiny_model("qwen2"))],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    found = json.loads(shown.stdout.splitlines()[-1])
    assert found["whole"]["peak"] > 1.5 * found["small"]["peak"], "there must be something to save"
    assert found["whole"]["halved"] == 0
    assert found["limited"]["halved"] >= 1
    assert "done again with at most 8000 tokens in each" in found["limited"]["notes"][0]
    assert found["limited"]["steps"] == 1
    assert found["limited"]["moved"] == pytest.approx(found["whole"]["moved"], rel=1e-5)
    assert found["gap"] < 1e-5, "the order of a sum, and no more"


def test_what_a_failed_attempt_left_is_not_in_the_gradient(tiny_model: Callable[[str], Path]) -> None:
    """Memory runs out in the last backward pass, when those before it have left their gradients."""
    trajectories = [
        bare_trajectory(bare_prompt(str(n), 10), 20 + n, advantage=1.0 + n if n % 2 else -1.0, token=40 + n)
        for n in range(8)
    ]

    def updated(failing: int | None) -> tuple[StepReport, torch.Tensor, int]:
        settings = {"sequences_per_optimizer_step": 8, "micro_batch_tokens": 150}
        circle = tiny_circle(
            tiny_model("qwen2"), "grpo", rollout={"completions_per_prompt": 4}, update=settings, objective={}
        )
        passes = 0

        def run_out(gradient: torch.Tensor) -> None:
            nonlocal passes
            passes += 1
            if passes == failing:
                raise torch.OutOfMemoryError("chosen by the test")

        def watch(module: torch.nn.Module, given: object, out: torch.Tensor) -> None:
            if out.requires_grad:
                out.register_hook(run_out)

        backbone_of(circle.policy.model).norm.register_forward_hook(watch)
        report = StepReport()
        assert update(circle, Work(trajectories, "train", 1, 0, ControllerState()), report) == 1
        return report, torch.cat([p.detach().flatten() for p in circle.policy.model.parameters()]), passes

    undisturbed, wanted, passes = updated(None)
    assert passes >= 3, "several micro-batches, so that there is something to leave behind"
    report, found, _ = updated(passes)
    assert report.totals["update/out_of_memory"] == 1
    assert report.totals["update/grad_norm"] == pytest.approx(undisturbed.totals["update/grad_norm"], rel=1e-5)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
