"""Every family against the suite, and the README's table against what ran."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contracts.family_suite import FEATURES, cells, families_table
from tests.support.tiny_models import TINY_FAMILIES
from uec_vlm.policy import FAMILIES

ROOT = Path(__file__).resolve().parents[2]
PASSED: set[tuple[str, str]] = set()


def test_every_family_has_a_tiny_model() -> None:
    assert set(FAMILIES) == set(TINY_FAMILIES)
    assert all(FAMILIES[name].sees == (made.vision is not None) for name, made in TINY_FAMILIES.items())


@pytest.mark.parametrize(("family", "feature"), cells())
def test_the_family_has_the_feature(
    tiny_model: Callable[[str], Path], family: str, feature: str, tmp_path: Path
) -> None:
    FEATURES[feature].check(tiny_model(family), tmp_path)
    PASSED.add((family, feature))


def test_the_readme_says_what_was_tested(request: pytest.FixtureRequest) -> None:
    assert families_table() in (ROOT / "README.md").read_text(encoding="utf-8"), "run python docs/generate.py"
    collected = [item for item in request.session.items if item.path == request.path]
    if len(collected) == len(cells()) + 2:
        assert set(cells()) == PASSED
