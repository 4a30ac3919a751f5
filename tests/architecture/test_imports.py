"""The import rules of the house: stations never import one another, and the light parts stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "uec_vlm"
EVERY_STATION = {"batches", "policy", "rollouts", "verifier", "objective"}
COMMON = {"records", "errors", "metrics", "pictures"}

# part -> parts of uec_vlm that it may import, besides its own folder
MAY_IMPORT = {
    "records": {"errors"},
    "errors": set(),
    "metrics": set(),
    "pictures": set(),
    "durable": set(),
    "sections": {"errors"},
    "engine_sections": {"sections"},
    "config": {"errors", "sections", "engine_sections"},
    "dumps": {"durable", "errors"},
    "runlog": {"errors", "metrics", "dumps", "durable", "sections"},
    **dict.fromkeys(EVERY_STATION, COMMON),
    "policy": COMMON | {"durable"},
    "geosynth": {"records", "errors"},
    "integrations": {"verifier", "records", "errors"},
    "reports": {"metrics", "runlog", "dumps", "errors", "pictures"},
    "trainer": COMMON
    | EVERY_STATION
    | {"config", "dumps", "engine_sections", "durable", "runlog", "geosynth", "reports"},
    "study": {"errors", "sections", "metrics", "config", "durable", "runlog", "reports"},
    "starter": COMMON | EVERY_STATION | {"durable", "geosynth", "reports", "trainer"},
    # preflight asks `trainer.build` for the very stations that a run would use
    "preflight": COMMON | EVERY_STATION | {"config", "runlog", "geosynth", "trainer"},
    "cli_support": {"errors"},
    "cli": COMMON
    | EVERY_STATION
    | {"cli_support", "config", "runlog", "geosynth", "reports", "trainer", "preflight", "study"},
}
# libraries that loading the part must not load
MUST_NOT_LOAD = {
    "uec_vlm": {"torch", "transformers", "numpy"},
    "uec_vlm.errors": {"torch", "transformers"},
    "uec_vlm.metrics": {"torch", "transformers"},
    "uec_vlm.config": {"torch", "transformers"},
    "uec_vlm.durable": {"torch", "transformers"},
    "uec_vlm.runlog": {"torch", "transformers"},
    "uec_vlm.records": {"transformers", "vllm"},
    "uec_vlm.objective": {"transformers", "vllm", "datasets"},
    "uec_vlm.verifier": {"transformers", "vllm", "datasets"},
    "uec_vlm.geosynth": {"transformers", "datasets"},
    "uec_vlm.reports": {"torch", "transformers"},
    "uec_vlm.study": {"torch", "transformers"},
    "uec_vlm.cli": {"torch", "transformers"},
    "data_prep": {"transformers"},
}


def _parts_imported(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    parts = set()
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module]
            if node.module == "uec_vlm":
                names = [f"uec_vlm.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            raise AssertionError(f"{file}: relative import; write the whole path")
        parts |= {name.split(".")[1] for name in names if name.startswith("uec_vlm.")}
        assert not any(name.split(".")[0] == "data_prep" for name in names) or "data_prep" in file.parts, file
    return parts


def _files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", _files(), ids=lambda f: str(f.relative_to(PACKAGE)))
def test_a_part_imports_only_what_the_house_allows(file: Path) -> None:
    part = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if part == "__init__":
        assert _parts_imported(file) == set()
        return
    extra = _parts_imported(file) - MAY_IMPORT[part] - {part}
    assert not extra, f"{file.relative_to(ROOT)} imports {sorted(extra)}"


@pytest.mark.parametrize("module", MUST_NOT_LOAD)
def test_loading_a_part_loads_nothing_heavy(module: str) -> None:
    code = f"import {module}, sys; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not MUST_NOT_LOAD[module] & set(loaded)


@pytest.mark.parametrize(
    ("command", "file"),
    [("train", "quickstart"), ("sft", "sft_geometry3k_starter"), ("plan", "quickstart")],
)
def test_a_configuration_that_is_refused_loads_nothing_heavy(command: str, file: str) -> None:
    """A mistyped key is told in half a second, before torch is imported."""
    code = f"""if True:
        import sys
        from typer.testing import CliRunner
        from uec_vlm.cli import app
        shown = CliRunner().invoke(app, ["{command}", "configs/{file}.yaml", "run.stepz=1"])
        assert shown.exit_code and "run.stepz = 1: there is no such key" in shown.output, shown.output
        print(" ".join(sys.modules))"""
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert "uec_vlm.config" in loaded.split()
    assert not {"torch", "transformers", "pandas"} & set(loaded.split())


def test_importing_the_package_is_quick() -> None:
    code = "import time; t = time.perf_counter(); import uec_vlm; print(time.perf_counter() - t)"
    seconds = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(3)]
    assert min(seconds) < 0.3


def test_no_file_is_too_long() -> None:
    long = {str(f.relative_to(ROOT)): n for f in _files() if (n := f.read_text().count("\n")) > 400}
    assert not long
