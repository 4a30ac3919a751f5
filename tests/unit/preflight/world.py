"""A small healthy training configuration on files, to plant faults in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from tests.support.tiny_models import picture


def row(name: str, **changes: Any) -> dict[str, Any]:
    """A row of a prepared data set."""
    made = {
        "id": name,
        "source": "test",
        "images": [picture(60, 60, seed=sum(map(ord, name)) % 1000)],
        "problem": f"<image>Find {name}.",
        "answer": "12",
        "choices": [],
        "answer_value": 12.0,
        "metadata": "{}",
    }
    return {**made, **changes}


def healthy(folder: Path, model: Path, **splits: Sequence[dict[str, Any]]) -> Path:
    """Write model, data and configuration into `folder`; `splits` replace the rows of a split."""
    own = folder / "model"
    shutil.copytree(model, own)
    rows = {split: [row(f"{split}{place}") for place in range(4)] for split in ("train", "validation")} | splits
    for split, content in rows.items():
        pq.write_table(pa.Table.from_pylist(list(content)), folder / f"{split}.parquet")
    config = {
        "algorithm": "uec",
        "run": {"dir": str(folder / "run")},
        "model": {"path": str(own)},
        "data": {
            **{split: {"kind": "parquet", "path": str(folder / f"{split}.parquet")} for split in rows},
            "prompt": {"max_pixels": 50176, "max_tokens": 200},
        },
        "rollout": {"prompts_per_step": 4, "max_new_tokens": 16},
    }
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def edit_json(path: Path, **changes: Any) -> None:
    """Set keys of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
