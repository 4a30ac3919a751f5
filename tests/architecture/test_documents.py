"""What the documents say is what the code does."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from uec_vlm.config import config_folder

ROOT = Path(__file__).resolve().parents[2]
_spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
assert _spec and _spec.loader
generate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(generate)


@pytest.mark.parametrize("page", generate.PAGES)
def test_generated_pages_are_current(page: str) -> None:
    assert (ROOT / page).read_text(encoding="utf-8") == generate.PAGES[page](), "run python docs/generate.py"


@pytest.mark.parametrize("path", [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("configs/*.md")], ids=str)
def test_links_inside_the_project_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{path.relative_to(ROOT)} links to {target}"


def test_the_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "site" / "index.html").is_file()


def test_every_shipped_configuration_is_explained() -> None:
    page = (config_folder() / "README.md").read_text(encoding="utf-8")
    for path in [*config_folder().glob("*.yaml"), *(config_folder() / "presets").glob("*.yaml")]:
        assert f"`{path.stem}" in page, path.name


def test_the_readme_has_both_commands() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "uec-vlm train configs/quickstart.yaml" in page.split("<!-- main command -->")[1].split("```")[1]
    assert "pytest" in page.split("<!-- test command -->")[1].split("```")[1]
