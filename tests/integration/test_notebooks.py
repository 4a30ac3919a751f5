"""Every notebook runs from its first cell to its last, on small runs made here; none carries outputs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from uec_vlm.config import config_folder

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SMALL = (
    "run.steps=3", "run.trackers=[]", "rollout.prompts_per_step=6", "rollout.completions_per_prompt=4",
    "update.sequences_per_optimizer_step=8", "objective.accumulate=false", "evaluate.every=1",
    "evaluate.validation_problems=12", "evaluate.validation_samples=4", "evaluate.test_problems=6",
    "evaluate.test_samples=4", "log.rollouts_every=1", "log.realised_dh_every=1", "model.device=cpu",
)  # fmt: skip
ARMS = {
    "uec": ("objective.exploration.completions=6", "objective.replay.every=2", "objective.replay.size=0.5"),
    "grpo": ("algorithm=grpo", "objective.exploration={name: none}"),
}


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of the notebooks: small runs of two algorithms, and a prepared Geometry3K."""
    folder = tmp_path_factory.mktemp("notebooks")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    runs = []
    for arm, own in ARMS.items():
        run = folder / arm
        words = [str(config_folder() / "quickstart.yaml"), *SMALL, *own, f"run.dir={run}", f"run.name={arm}"]
        subprocess.run([sys.executable, "-m", "uec_vlm.cli", "train", *words], env=environment, check=True, timeout=280)
        runs.append(str(run))
    source = ROOT / "tests" / "golden" / "geometry3k" / "source"
    prepare = ["geometry3k", "--source", str(source), "--out", str(folder / "geometry3k")]
    subprocess.run([sys.executable, "-m", "data_prep", *prepare], env=environment, check=True, timeout=120)
    return {
        **environment, "UEC_VLM_RUN": runs[0], "UEC_VLM_RUNS": f"{runs[1]},{runs[0]}",
        "UEC_VLM_GEOMETRY3K": str(folder / "geometry3k"),
    }  # fmt: skip


@pytest.mark.slow  # two runs are trained for them: minutes on two slow cores
@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_to_its_end(path: Path, surroundings: dict[str, str], tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env=surroundings)
    shown = [out for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]
    assert not [out for out in shown if out.output_type == "error"]
    assert shown


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_without_outputs_and_holds_no_logic(path: Path) -> None:
    tree = json.loads(path.read_text(encoding="utf-8"))
    code = [cell for cell in tree["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code)
    assert "uec_vlm" in "".join("".join(cell["source"]) for cell in code)
    assert sum(cell["cell_type"] == "markdown" for cell in tree["cells"]) >= 4
    assert "class " not in "".join("".join(cell["source"]) for cell in code)


def test_the_five_notebooks_are_there() -> None:
    assert [path.stem[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05"]
