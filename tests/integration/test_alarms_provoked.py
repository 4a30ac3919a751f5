"""Each alarm of the run page goes off in a run that really goes wrong in that way, and not in a run that does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from uec_vlm.config import config_folder, load_config
from uec_vlm.errors import RunError
from uec_vlm.reports.alarms import CHECKS, find_alarms
from uec_vlm.reports.run import load_run
from uec_vlm.trainer.run import run_training

SMALL = (
    "run.trackers=[]", "run.steps=6", "rollout.prompts_per_step=6", "rollout.completions_per_prompt=4",
    "update.sequences_per_optimizer_step=24", "update.warmup_steps=0", "evaluate.every=0", "evaluate.controls=[]",
    "evaluate.validation_problems=16", "evaluate.validation_samples=2", "data.test=null", "log.rollouts_every=0",
    "objective.exploration={name: none}", "algorithm=grpo",
)  # fmt: skip
# A reward whose gradient is beyond float32.
REWARDS = """
def beyond(response, gold):
    return 1e30 if len(response) % 2 else -1e30
"""
PROVOKED = {
    "truncation": ("rollout.max_new_tokens=12",),
    "dead_groups": ("data.train.levels=[3]", "data.train.families=[polygon_angles, trigonometry]"),
    "format": ("update.learning_rate=0.01",),
    "worse": ("update.learning_rate=0.01", "evaluate.every=3"),
    "entropy_drift": (
        "algorithm=entropy_bonus", "objective.entropy_term={name: bonus, coef: 1.0}", "update.learning_rate=1e-3",
    ),
    # One problem, again and again, until it is known by heart.
    "entropy_collapse": (
        "run.steps=12", "data.train.count=1", "data.train.families=[parallelogram_angles]",
        "update.learning_rate=3e-4",
    ),
    "mismatch": ("rollout.temperature=1.5", "rollout.top_p=0.5"),
    # So few groups have both right and wrong answers that a batch waits for many steps.
    "staleness": (
        "run.steps=70", "algorithm=filter_only", "data.train.levels=[1, 2, 3]",
        "data.train.families=[polygon_angles, trigonometry]",
    ),
    "skipped": ("algorithm=dr_grpo", "REWARD=beyond", "reward.accuracy_weight=0.0"),
}  # fmt: skip


def _run(folder: Path, *changes: str) -> set[str]:
    """Trains in `folder` and returns the keys of its alarms; a run that gives up leaves a folder too."""
    (folder / "rewards.py").write_text(REWARDS)
    named = [
        f"reward.functions={{{folder / 'rewards.py'}:{change.partition('=')[2]}: 1.0}}"
        if change.startswith("REWARD=") else change
        for change in changes
    ]  # fmt: skip
    config = load_config(config_folder() / "quickstart.yaml", [*SMALL, f"run.dir={folder / 'run'}", *named])
    try:
        run_training(config, resume=None, console=Console(quiet=True))
    except RunError as error:
        assert "not finite" in str(error)
    return {alarm.key for alarm in find_alarms(load_run(folder / "run"))}


def test_every_alarm_is_provoked() -> None:
    assert set(PROVOKED) == set(CHECKS)


# Seventy steps take a minute; the other alarms need a few.
@pytest.mark.parametrize(
    "key", [pytest.param(key, marks=[pytest.mark.slow] if key == "staleness" else []) for key in PROVOKED]
)
def test_the_alarm_goes_off(key: str, tmp_path: Path) -> None:
    assert key in _run(tmp_path, *PROVOKED[key])


def test_a_healthy_run_has_none(tmp_path: Path) -> None:
    assert _run(tmp_path) == set()
