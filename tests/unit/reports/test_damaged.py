"""Run folders that were damaged after the run wrote them: what cannot be read is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.run_folders import make_run
from uec_vlm.errors import RunError
from uec_vlm.reports import load_groups, load_run


@pytest.mark.parametrize("name", ["config.yaml", "environment.json"])
@pytest.mark.parametrize("data", [b"{half: [", b"\xff\xfe"])
def test_a_damaged_file_of_settings_is_named(name: str, data: bytes, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=2)
    (run.path / name).write_bytes(data)
    for read in (lambda: load_run(run.path), lambda: load_groups([run.path])):
        with pytest.raises(RunError, match=rf"{name}(?s:.*)copy it again"):
            read()
