"""Every entry of every registry keeps its contract; an algorithm added by one function and one line does too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pytest
import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from tests.contracts import objective_suite as suite
from uec_vlm import objective as station
from uec_vlm.objective import policy_losses
from uec_vlm.objective.policy_losses import POLICY_LOSSES, PolicyLoss, per_token

REGISTRIES: dict[str, tuple[Mapping[str, Any], suite.Check]] = {
    "advantage": (station.ADVANTAGES, suite.check_advantage),
    "reduction": (station.REDUCTIONS, suite.check_reduction),
    "kl": (station.KL, suite.check_kl),
    "entropy_term": (station.ENTROPY_TERMS, suite.check_entropy_term),
    "controller": (station.CONTROLLERS, suite.check_controller),
    "exploration": (station.EXPLORATION, suite.check_exploration),
    "retention": (station.RETENTION, suite.check_retention),
    "replay": (station.REPLAY, suite.check_replay),
}
ENTRIES = [(axis, name) for axis, (registry, _) in REGISTRIES.items() for name in registry]


@pytest.mark.parametrize("check", sorted(suite.POLICY_LOSS_SUITE))
@pytest.mark.parametrize("name", sorted(POLICY_LOSSES))
def test_every_policy_loss_keeps_the_contract(name: str, check: str) -> None:
    suite.POLICY_LOSS_SUITE[check](POLICY_LOSSES, name)


@pytest.mark.parametrize(("axis", "name"), ENTRIES)
def test_every_entry_keeps_the_contract_of_its_axis(axis: str, name: str) -> None:
    registry, check = REGISTRIES[axis]
    check(registry, name)
    suite.check_settings_are_documented_and_ranged(registry, name)
    suite.check_settings_come_back(registry, name)


Slope = Annotated[float, Field(gt=0.0, le=10.0)]


def tempered(
    logprobs: Float[Tensor, "B T"],
    old_logprobs: Float[Tensor, "B T"],
    advantages: Float[Tensor, " B"] | Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    *,
    slope: Slope = 1.0,
) -> PolicyLoss:
    """-A tanh(slope (r - 1)) / slope: an algorithm made up for this test. slope: sharpness of the bend."""
    ratio = (logprobs - old_logprobs).masked_fill(~mask, 0.0).clamp(-20, 20).exp()
    return PolicyLoss(-per_token(advantages, mask) * torch.tanh(slope * (ratio - 1.0)) / slope)


def careless(
    logprobs: Float[Tensor, "B T"],
    old_logprobs: Float[Tensor, "B T"],
    advantages: Float[Tensor, " B"] | Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    *,
    slope: float = 1.0,
) -> PolicyLoss:
    """An algorithm with the usual faults."""
    centred = advantages - advantages.mean()
    return PolicyLoss(-slope * centred[:, None] * (logprobs - old_logprobs).exp() * mask)


def halved(rewards: Float[Tensor, " G"], *, low: Slope = 1.0) -> Float[Tensor, " G"]:
    """Half of what is below the mean, as in `group_centred`."""
    return low * (rewards - rewards.mean()) / 2


def test_the_suite_notices_a_setting_that_is_only_a_part_of_another_word() -> None:
    with pytest.raises(AssertionError, match="does not name the setting low"):
        suite.check_settings_are_documented_and_ranged({"halved": halved}, "halved")


@pytest.mark.parametrize("check", sorted(suite.POLICY_LOSS_SUITE))
def test_an_algorithm_is_added_by_one_function_and_one_line(check: str) -> None:
    registry = {**POLICY_LOSSES, "tempered": tempered}
    suite.POLICY_LOSS_SUITE[check](registry, "tempered")


@pytest.mark.parametrize("check", sorted(suite.POLICY_LOSS_SUITE))
def test_the_algorithm_that_the_documentation_adds_keeps_the_contract(check: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "extend.md").read_text(encoding="utf-8")
    source = page.split("```python\n")[1].split("```")[0]
    namespace = dict(vars(policy_losses))
    exec(source, namespace)
    suite.POLICY_LOSS_SUITE[check]({**POLICY_LOSSES, "upper_clip": namespace["upper_clip"]}, "upper_clip")


@pytest.mark.parametrize("check", ["settings", "padding", "cut", "on_policy", "whole"])
def test_the_suite_notices_a_careless_algorithm(check: str) -> None:
    registry = {**POLICY_LOSSES, "careless": careless}
    with pytest.raises((AssertionError, ValueError, TypeError)):
        suite.POLICY_LOSS_SUITE[check](registry, "careless")


def test_the_registries_are_what_users_are_promised() -> None:
    for axis in ("ADVANTAGES", "POLICY_LOSSES", "REDUCTIONS", "KL", "ENTROPY_TERMS", "CONTROLLERS", "EXPLORATION",
                 "RETENTION", "REPLAY"):  # fmt: skip
        registry = getattr(station, axis)
        assert isinstance(registry, dict)
        assert all(callable(entry) for entry in registry.values())
