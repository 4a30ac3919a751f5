"""Objectives from configurations: every preset, the resolved form, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.support.objective_worlds import PLAIN, objective
from uec_vlm.config import preset
from uec_vlm.errors import ConfigError
from uec_vlm.objective import build_objective, resolved
from uec_vlm.objective.registry import settings_of

PRESETS = sorted(path.stem for path in (Path(__file__).parents[3] / "configs" / "presets").glob("*.yaml"))
BASELINES = {
    "grpo", "filter_only", "dr_grpo", "rloo", "dapo", "gspo", "cispo", "sapo", "entropy_bonus", "adaptive_entropy",
    "entropic", "clip_cov", "kl_cov", "entropy_adv", "forking_tokens", "aepo", "qae", "uec", "uec_reference",
    "uec_band",
}  # fmt: skip


def test_every_baseline_has_a_preset() -> None:
    assert set(PRESETS) >= BASELINES


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_binds_and_its_resolved_form_is_the_same_objective(name: str) -> None:
    chosen = build_objective(preset(name)["objective"])
    full = resolved(chosen)
    assert resolved(build_objective(yaml.safe_load(yaml.safe_dump(full)))) == full
    for key, section in preset(name)["objective"].items():
        given = section if isinstance(section, dict) else {key: section}
        found = full[key] if isinstance(section, dict) else full
        assert all(found[inner] == value for inner, value in given.items() if not isinstance(value, dict)), key


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_says_its_source(name: str) -> None:
    text = (Path(__file__).parents[3] / "configs" / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    head = text[: text.index("objective:")]
    assert "Source: " in head


def test_the_values_of_the_uec_presets_are_those_of_the_specification() -> None:
    ours, theirs = (build_objective(preset(name)["objective"]) for name in ("uec", "uec_reference"))
    for chosen in (ours, theirs):
        assert (chosen.exploration_settings.completions, chosen.exploration_settings.temperature) == (20, 1.2)
        assert (chosen.replay_settings.size, chosen.replay_settings.every) == (2.0, 5)
        assert (chosen.kl_coef, chosen.names["kl"], settings_of(chosen.kl)["clamp"]) == (0.01, "k3", 10.0)
        assert settings_of(chosen.policy_loss) == {"clip_low": 0.2, "clip_high": 0.2, "dual_clip": 3.0}
        assert settings_of(chosen.retention_regular)["threshold"] == 0.05
        assert settings_of(chosen.replay) == {"threshold": 1.0}
        assert (chosen.accumulate, chosen.names["reduction"]) == (True, "token_mean")
    assert (ours.names["retention.extra"], settings_of(ours.retention_extra)["threshold"]) == ("above", 0.0)
    assert (theirs.names["retention.extra"], settings_of(theirs.retention_extra)["threshold"]) == (
        "absolute_above",
        1.0,
    )
    assert (ours.names["replay"], theirs.names["replay"]) == ("above", "absolute_above")
    assert (ours.old_logprobs.extra, ours.old_logprobs.weight_cap, theirs.old_logprobs.extra) == (
        "truncated", 2.0, "recomputed",
    )  # fmt: skip
    assert (ours.old_logprobs.queue, theirs.old_logprobs.queue) == ("recomputed", "stored")
    assert (ours.replay_settings.old_logprobs, theirs.replay_settings.old_logprobs) == ("recomputed", "stored")
    assert (ours.replay_settings.max_reuse, theirs.replay_settings.max_reuse) == (4, None)
    rollout = [preset(name)["rollout"] for name in ("uec", "uec_reference")]
    assert [(r["completions_per_prompt"], r["temperature"], r["top_p"]) for r in rollout] == [
        (5, 1.0, 1.0),
        (5, 1.0, 0.99),
    ]


def test_grpo_and_uec_differ_in_the_reduction_too() -> None:
    assert build_objective(preset("grpo")["objective"]).names["reduction"] == "sequence_mean"
    assert build_objective(preset("filter_only")["objective"]).names["reduction"] == "token_mean"


def test_what_an_objective_needs_follows_from_its_entries() -> None:
    plain = objective()
    assert (plain.needs_reference, plain.needs_context, plain.entropy_gradient) == (False, False, False)
    assert (plain.explores, plain.replays) == (False, False)
    assert objective(kl="k3").needs_reference
    assert objective(policy_loss="clip_cov").needs_context
    assert objective(entropy_term="forking_tokens").needs_context
    assert objective(entropy_term="bonus").entropy_gradient
    assert objective(exploration="all_failed").explores
    assert objective(replay="above").replays


def test_an_objective_built_by_hand_needs_no_names() -> None:
    banded = objective(controller={"name": "uec_band", "low": 0.1, "high": 0.2}, replay="above")
    by_hand = replace(banded, names={})
    assert by_hand.controls
    assert not replace(objective(), names={}).controls
    assert by_hand.keeps_everything


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"advantages": "x"}, r"objective.advantages = 'x': no such section \(did you mean 'advantage'\?\)"),
        ({"advantage": "grpo"}, r"objective.advantage.name = 'grpo': no such entry"),
        ({"kl": {"name": "k3", "beta": 0.1}}, r"objective.kl.beta = 0.1: no such setting; 'k3' accepts .*'coef'"),
        ({"kl": {"name": "k3", "coef": -1}}, r"objective.kl.coef = -1: .*greater than or equal to 0"),
        ({"kl": {"name": "none", "coef": 0.1}}, r"objective.kl.coef: there is no penalty"),
        (
            {"reduction": {"name": "constant", "length": 0}},
            r"objective.reduction.length = 0: .*greater than or equal to 1",
        ),
        ({"retention": {"extras": "above"}}, r"objective.retention.extras"),
        ({"retention": ["above"]}, r"objective.retention = .*must be a mapping"),
        ({"replay": {"name": "above", "every": 0}}, r"objective.replay.every = 0: .*greater than or equal to 1"),
        ({"old_logprobs": {"extra": "stale"}}, r"objective.old_logprobs.extra = 'stale'"),
        ({"accumulate": 3}, r"objective.accumulate = 3"),
        ({"controller": "adaptive_entropy"}, r"work only together"),
        ({"entropy_term": "asymmetric_weights"}, r"work only together"),
        ({"controller": "uec_band"}, r"acts on exploration and replay, and both are 'none'"),
        (
            {"controller": {"name": "uec_band", "low": 2.0, "high": 1.0}, "replay": "above"},
            r"objective.controller.low = 2.0 is not below",
        ),
        (
            {"exploration": {"name": "all_failed", "completions": 10, "max_rollouts": 5}},
            r"objective.exploration.max_rollouts = 5 is below objective.exploration.completions = 10",
        ),
        (
            {"exploration": {"name": "all_failed", "first_step": 10, "last_step": 5}},
            r"objective.exploration.last_step = 5 is before objective.exploration.first_step = 10",
        ),
        ({"exploration": {"name": "all_failed", "completions": 1}}, r"a group of one has no advantage"),
        ({"controller": "switched_temperature"}, r"sets the temperature of extra rollouts, and there are none"),
    ],
)
def test_what_cannot_work_is_refused_by_its_key(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_objective(PLAIN | changes)


@pytest.mark.parametrize("section", ["advantage", "policy_loss", "reduction"])
def test_the_three_axes_without_a_neutral_choice_must_be_named(section: str) -> None:
    with pytest.raises(ConfigError, match=f"objective.{section} is missing"):
        build_objective({key: value for key, value in PLAIN.items() if key != section})
