"""The health of a run: alarms, each with the step at which it went off and what to do.

An alarm looks at the median of five steps, so that one odd step is no alarm, and compares with the run's own beginning
where there is no absolute measure. The limits are constants of this file, and the texts name the values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from uec_vlm.reports.run import Run
from uec_vlm.reports.tables import validation_accuracy

WINDOW = 5
"""Steps of the running median; a run shorter than that is judged on what it has, from three steps on."""

COLLAPSE_SHARE = 0.25
"""Entropy collapse: the entropy is below this share of where it began."""
DRIFT_FACTOR, DRIFT_NATS = 2.0, 0.1
"""Entropy drift: the entropy is above this multiple of where it began, and higher by at least that much."""
TRUNCATED_SHARE = 0.2
"""Truncation: more than this share of the regular completions is cut."""
DEAD_SHARE = 0.8
"""Dead groups: more than this share of the prompts has nothing to teach."""
FORMAT_SHARE, FORMAT_LOSS = 0.5, 0.2
"""Format: fewer than this share is well-formed to the end, or the share is lower by that much than at the beginning."""
GAP_NATS = 0.05
"""Mismatch: sampler and trainer differ by more than this in log-probability per token."""
STALE_STEPS, STALE_NATS = 4.0, 0.1
"""Staleness: what is trained on is older than this, or the policy has moved away from it by more than that."""


@dataclass(frozen=True)
class Alarm:
    """Something that a run's owner should look at. step: where it first held. evidence: with the numbers."""

    key: str
    title: str
    step: int
    evidence: str
    advice: str


@dataclass(frozen=True)
class _Over:
    """Where a smoothed series is beyond a limit: the first such step, its value, and whether it still is at the end."""

    step: int
    value: float
    lasts: bool

    @property
    def still(self) -> str:
        return "and it still is" if self.lasts else "though not at the end"


def find_alarms(run: Run) -> list[Alarm]:
    """All alarms of a run, the earliest first; an empty list is a healthy run (or one that measured nothing)."""
    found = [check(run) for check in CHECKS.values()]
    return sorted((alarm for alarm in found if alarm is not None), key=lambda alarm: alarm.step)


def entropy_collapse(run: Run) -> Alarm | None:
    """The policy has become nearly certain: nothing new is sampled any more."""
    entropy = _smooth(run.series("rollout/entropy"))
    if entropy.empty or entropy.iloc[0] <= 0:
        return None
    start = float(entropy.iloc[0])
    over = _beyond(entropy, entropy < COLLAPSE_SHARE * start)
    if over is None:
        return None
    return Alarm(
        "entropy_collapse",
        "Entropy collapse",
        over.step,
        f"Exact entropy fell to {over.value:.3f} nats/token, from {start:.3f} at the beginning, {over.still}.",
        "Raise the entropy term or its controller's target (algorithm uec_band or adaptive_entropy), lower "
        "update.learning_rate, or explore more: objective.exploration.completions and temperature.",
    )


def entropy_drift(run: Run) -> Alarm | None:
    """The policy becomes ever less certain: the answers dissolve."""
    entropy = _smooth(run.series("rollout/entropy"))
    if entropy.empty:
        return None
    start = float(entropy.iloc[0])
    over = _beyond(entropy, (entropy > DRIFT_FACTOR * start) & (entropy > start + DRIFT_NATS))
    if over is None:
        return None
    return Alarm(
        "entropy_drift",
        "Entropy drift",
        over.step,
        f"Exact entropy rose to {over.value:.3f} nats/token, from {start:.3f} at the beginning, {over.still}.",
        "Lower the weight of the entropy term, the exploration temperature, or update.learning_rate; more replay "
        "(objective.replay.every) holds the policy to what worked.",
    )


def truncation(run: Run) -> Alarm | None:
    """The length limit cuts answers, which are then wrong for that reason alone."""
    share = _smooth(run.series("rollout/truncated"))
    over = _beyond(share, share > TRUNCATED_SHARE)
    limit = run.setting("rollout", "max_new_tokens", default="the limit")
    if over is None:
        return None
    return Alarm(
        "truncation",
        "Truncated completions",
        over.step,
        f"{_percent(over.value)} of the regular completions were cut at {limit} tokens, {over.still}.",
        "Raise rollout.max_new_tokens, or punish length: objective.reward_shaping.",
    )


def dead_groups(run: Run) -> Alarm | None:
    """Most prompts are solved or failed by all of their rollouts: their advantages are zero."""
    dead = _smooth(dead_share(run))
    over = _beyond(dead, dead > DEAD_SHARE)
    if over is None:
        return None
    return Alarm(
        "dead_groups",
        "Dead groups",
        over.step,
        f"{_percent(over.value)} of the prompts had nothing to teach: all rollouts right, or all wrong and not solved "
        f"by exploration, {over.still}.",
        "Take problems of another difficulty, more rollout.completions_per_prompt, dynamic sampling "
        "(algorithm dapo), or exploration of hard prompts (algorithm uec).",
    )


def dead_share(run: Run) -> pd.Series:
    """Per step: the share of prompts whose rollouts are all right, or all wrong without an extra one that is right."""
    prompts = run.setting("rollout", "prompts_per_step", default=0)
    solved_by_all, passed = run.series("rollout/all_correct"), run.series("rollout/pass@K")
    if not prompts or solved_by_all.empty or passed.empty:
        return pd.Series(dtype=float)
    drawn = prompts * (1 + run.series("select/refills").reindex(passed.index, fill_value=0))
    explored = run.series("explore/solved").reindex(passed.index, fill_value=0)
    share: pd.Series = (solved_by_all - explored) / drawn + 1 - passed
    return share.clip(0, 1)


def lost_format(run: Run) -> Alarm | None:
    """Fewer completions keep the asked format, or few do and the run did not learn it."""
    share = _smooth(run.series("rollout/format"))
    if share.empty:
        return None
    start = float(share.iloc[0])
    never_learned = float(share.iloc[-1]) < FORMAT_SHARE
    over = _beyond(share, (share < start - FORMAT_LOSS) | ((share < FORMAT_SHARE) & never_learned))
    if over is None:
        return None
    return Alarm(
        "format",
        "Format",
        over.step,
        f"{_percent(over.value)} of the regular completions kept the asked format ({_percent(start)} at the "
        f"beginning), {over.still}.",
        "Give the format a weight (reward.format_weight = 0.1), show it in data.prompt.template, or begin with a "
        "cold start (uec-vlm sft).",
    )


def mismatch(run: Run) -> Alarm | None:
    """Sampler and trainer give the same tokens different probabilities."""
    gap = _smooth(run.series("rollout/policy_gap_nats"))
    over = _beyond(gap, gap > GAP_NATS)
    if over is None:
        return None
    return Alarm(
        "mismatch",
        "Sampler and trainer disagree",
        over.step,
        f"Their log-probabilities differ by {over.value:.3f} nats per token, {over.still}.",
        "Sample in the trainer's precision, set rollout.top_p = 1.0, check that the engine has the newest weights, or "
        "take truncated importance weights (objective.old_logprobs).",
    )


def staleness(run: Run) -> Alarm | None:
    """What is trained on was sampled by a policy of long ago."""
    ages = _smooth(run.series("update/staleness"))
    over = _beyond(ages, ages > STALE_STEPS)
    what = f"was {over.value:.1f} steps old on average" if over else ""
    if over is None:
        nats = _smooth(run.series("update/staleness_nats_regular"))
        over = _beyond(nats, nats > STALE_NATS)
        what = f"was {over.value:.3f} nats per token away from the policy that sampled it" if over else ""
    if over is None:
        return None
    return Alarm(
        "staleness",
        "Stale training data",
        over.step,
        f"What was trained on {what}, {over.still}.",
        "Draw more prompts a step (rollout.prompts_per_step), keep more of them (objective.retention), or take "
        "objective.accumulate off, so that less waits in the queue.",
    )


def skipped_updates(run: Run) -> Alarm | None:
    """Loss or gradient was not finite."""
    skipped = run.series("update/skipped")
    skipped = skipped[skipped > 0]
    if skipped.empty:
        return None
    return Alarm(
        "skipped",
        "Skipped updates",
        int(skipped.index[0]),
        f"{int(skipped.sum())} optimizer steps were skipped because loss or gradient was not finite.",
        "Lower update.learning_rate, or train in float32 (model.dtype).",
    )


def worse_than_base(run: Run) -> Alarm | None:
    """Validation is below the untouched model."""
    accuracy = validation_accuracy(run)
    if accuracy.empty or accuracy.index[0] > 0:
        return None
    gain = accuracy - accuracy.iloc[0]
    worse = gain[gain < -0.05]
    if worse.empty or gain.iloc[-1] >= -0.05:
        return None
    return Alarm(
        "worse",
        "Worse than the untouched model",
        int(worse.index[0]),
        f"Validation accuracy is {abs(gain.iloc[-1]):.3f} below that of step 0.",
        "Lower update.learning_rate, add a KL term, and look at wrong rollouts below for what the reward pays for.",
    )


CHECKS: dict[str, Callable[[Run], Alarm | None]] = {
    "entropy_collapse": entropy_collapse,
    "entropy_drift": entropy_drift,
    "truncation": truncation,
    "dead_groups": dead_groups,
    "format": lost_format,
    "mismatch": mismatch,
    "staleness": staleness,
    "skipped": skipped_updates,
    "worse": worse_than_base,
}


def _smooth(series: pd.Series) -> pd.Series:
    """The running median of `WINDOW` steps, from the third value on."""
    return series.rolling(WINDOW, min_periods=min(3, WINDOW)).median().dropna()


def _beyond(series: pd.Series, over: pd.Series) -> _Over | None:
    places = series[over]
    if places.empty:
        return None
    return _Over(int(places.index[0]), float(places.iloc[0]), bool(over.iloc[-1]))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
