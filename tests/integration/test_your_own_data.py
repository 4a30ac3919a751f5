"""Ten pictures become a trained checkpoint by the commands of docs/your_own_data.md, as they stand there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "your_own_data.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture()
def place(tmp_path: Path) -> Path:
    """The user's folder: ten pictures, the page's table carried on, its mapping and its configuration."""
    (tmp_path / "mine" / "pictures").mkdir(parents=True)
    header, *example = blocks("csv")[0].splitlines()
    rows = []
    for number in range(10):
        image = Image.new("RGB", (84, 84), "white")
        for dot in range(number + 1):
            x, y = 8 + 24 * (dot % 3), 8 + 18 * (dot // 3)
            ImageDraw.Draw(image).ellipse([x, y, x + 9, y + 9], fill="black")
        image.save(tmp_path / "mine" / "pictures" / f"{number}.png")
        rows.append(f"pictures/{number}.png,How many dots are there?,{number + 1}")
    assert rows[:2] == example, "the page shows the first rows of this table"
    for name, part in (("train", rows[:6]), ("validation", rows[6:])):
        (tmp_path / "mine" / f"{name}.csv").write_text("\n".join([header, *part]) + "\n")
    mapping, config, *_ = blocks("yaml")
    (tmp_path / "mapping.yaml").write_text(mapping)
    (tmp_path / "dots.yaml").write_text(config)
    (tmp_path / "bin").mkdir()
    for name, call in (("python", '"$@"'), ("uec-vlm", '-m uec_vlm.cli "$@"')):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\nexec {sys.executable} {call}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


@pytest.mark.timeout(900)
def test_the_pages_commands_lead_from_pictures_to_a_checkpoint(place: Path) -> None:
    path = f"{place / 'bin'}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    said = ""
    for commands in blocks("bash"):
        ran = subprocess.run(
            ["sh", "-ec", commands], cwd=place, env=environment, capture_output=True, text=True, timeout=280
        )
        assert ran.returncode == 0, f"{commands}\n{ran.stdout[-2000:]}\n{ran.stderr[-3000:]}"
        said += ran.stdout
    assert "train: 6 rows written of 6, 0 refused" in said and "validation: 4 rows written of 4" in said
    manifest = json.loads((place / "data/dots/manifest.json").read_text())
    assert (manifest["dataset"], manifest["licence"], manifest["refused"]) == ("dots", "CC0", {})
    assert (place / "audits/dots/audit.html").stat().st_size > 10_000
    assert (place / "data/dots_trl/train.parquet").is_file()
    rows = [json.loads(line) for line in (place / "runs/dots/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1, 2]
    from transformers import AutoModelForImageTextToText

    assert AutoModelForImageTextToText.from_pretrained(place / "runs/dots/checkpoints/step_2").num_parameters() > 10**6
