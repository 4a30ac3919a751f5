"""`docs/objective.md` is executed and compared with the code."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

from uec_vlm.objective.tables import BEGIN, END, registry_tables, renewed

DOCS = Path(__file__).parents[3] / "docs"
PRESETS = Path(__file__).parents[3] / "configs" / "presets"
PAGE = (DOCS / "objective.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The first code block of that language."""
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found, f"no {language} block in docs/objective.md"
    return found[1]


def test_the_hand_written_loop_is_short_and_prints_what_the_page_says() -> None:
    code = block("python")
    assert len(code.splitlines()) < 60
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(compile(code, "docs/objective.md", "exec"), {"__name__": "loop"})
    assert shown.getvalue() == block("text")


def test_the_tables_are_those_of_the_registries() -> None:
    """`python -m uec_vlm.objective.tables docs/objective.md` renews them."""
    assert registry_tables() in PAGE
    assert renewed(PAGE) == PAGE
    assert renewed(f"a{BEGIN}old{END}b").startswith(f"a{BEGIN}\n\n### `advantage`")


def test_every_preset_is_on_the_page() -> None:
    missing = [path.stem for path in PRESETS.glob("*.yaml") if f"`{path.stem}`" not in PAGE]
    assert missing == []


def test_the_plots_are_there() -> None:
    images = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", PAGE)
    assert len(images) == 4
    assert all((DOCS / image).is_file() for image in images)
