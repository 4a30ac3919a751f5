"""The page about performance says what the result files say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from benchmarks.common import RESULTS
from benchmarks.page import PAGE, page


def test_the_page_is_what_its_result_files_make() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "write it anew: python -m benchmarks.page"


def test_another_figure_makes_another_page(tmp_path: Path) -> None:
    for file in RESULTS.glob("*.json"):
        shutil.copy(file, tmp_path)
    path = tmp_path / "update.json"
    result = json.loads(path.read_text(encoding="utf-8"))
    result["rows"][0]["times faster"] = 123.0
    path.write_text(json.dumps(result), encoding="utf-8")
    assert "| 123 |" in page(tmp_path) and page(tmp_path) != page()


def test_every_plot_and_table_of_the_page_is_there() -> None:
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("!["):
            assert (PAGE.parent / line.split("](")[1].rstrip(")")).is_file(), line
