"""Names and settings of the configuration become functions, or an error that can be acted on."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import Field

from uec_vlm.errors import ConfigError
from uec_vlm.objective.policy_losses import POLICY_LOSSES
from uec_vlm.objective.registry import bind, named_section, settings_of, takes


def scaled(value: float, *, factor: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5, kind: Literal["a", "b"]) -> float:
    return value * factor


def refused(name: str, settings: dict[str, object]) -> str:
    with pytest.raises(ConfigError) as caught:
        bind({"scaled": scaled}, name, settings, place="objective.axis")
    return str(caught.value)


def test_defaults_and_given_settings_are_bound() -> None:
    bound = bind({"scaled": scaled}, "scaled", {"kind": "b"}, place="objective.axis")
    assert settings_of(bound) == {"factor": 0.5, "kind": "b"}
    assert bound(3.0) == 1.5


def test_a_yaml_number_without_a_point_is_a_number() -> None:
    settings = yaml.safe_load("{factor: 1e-5, kind: a}")
    assert settings["factor"] == "1e-5"
    assert settings_of(bind({"scaled": scaled}, "scaled", settings, place="p")) == {"factor": 1e-5, "kind": "a"}


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    assert refused("scale", {}) == (
        "objective.axis.name = 'scale': no such entry (did you mean 'scaled'?); choose one of ['scaled']."
    )


def test_an_unknown_setting_is_refused_with_the_accepted_ones() -> None:
    assert refused("scaled", {"kind": "a", "facter": 0.3}) == (
        "objective.axis.facter = 0.3: no such setting (did you mean 'factor'?); 'scaled' accepts ['factor', 'kind']."
    )


def test_a_value_out_of_range_is_refused_with_the_range() -> None:
    message = refused("scaled", {"kind": "a", "factor": 1.5})
    assert re.match(r"objective\.axis\.factor = 1\.5: .*less than or equal to 1 \(a setting of 'scaled'\)", message)


@pytest.mark.parametrize("value", [float("nan"), "many", None, [1.0]])
def test_what_is_no_number_in_range_is_refused(value: object) -> None:
    assert "objective.axis.factor" in refused("scaled", {"kind": "a", "factor": value})


def test_a_truth_value_is_no_number() -> None:
    assert "truth value" in refused("scaled", {"kind": "a", "factor": yaml.safe_load("yes")})


def test_a_setting_without_default_must_be_given() -> None:
    assert refused("scaled", {}) == "objective.axis.kind is missing: 'scaled' has no default for it; give it a value."


def test_a_section_is_a_name_or_a_mapping_with_one() -> None:
    assert named_section("scaled", place="p") == ("scaled", {})
    assert named_section({"name": "scaled", "factor": 1}, place="p") == ("scaled", {"factor": 1})
    with pytest.raises(ConfigError, match="must be a name, or a mapping"):
        named_section({"factor": 1}, place="p")


def test_clip_cov_accepts_the_bounds_that_its_source_uses() -> None:
    bound = bind(POLICY_LOSSES, "clip_cov", {"clip_low": 1, "clip_high": 1}, place="p")
    assert settings_of(bound)["clip_low"] == 1.0


def test_takes_sees_through_bound_settings() -> None:
    assert takes(bind(POLICY_LOSSES, "kl_cov", {}, place="p"), "context")
    assert not takes(bind(POLICY_LOSSES, "cispo", {}, place="p"), "context")
