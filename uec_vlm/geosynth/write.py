"""Problems as Parquet, in the columns that `python -m data_prep` writes (a test compares the two)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from uec_vlm.geosynth.splits import ProblemSet
from uec_vlm.records import Sample

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("images", pa.list_(pa.binary())),
        ("problem", pa.string()),
        ("answer", pa.string()),
        ("choices", pa.list_(pa.string())),
        ("answer_value", pa.float64()),
        ("metadata", pa.string()),
    ]
)
_GROUP_ROWS = 256


def write_splits(sets: Mapping[str, ProblemSet], folder: Path) -> dict[str, Any]:
    """Write `<split>.parquet` for every set and `manifest.json`; returns the manifest.

    One row group of problems is in memory at a time. Files of the same names are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for split, problems in sets.items():
        path = folder / f"{split}.parquet"
        with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
            for start in range(0, len(problems), _GROUP_ROWS):
                rows = [_as_row(sample) for sample in problems[start : start + _GROUP_ROWS]]
                writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        files[path.name] = {"rows": len(problems), "sha256": digest}
    first = next(iter(sets.values()))
    manifest = {
        "source": "geosynth",
        "licence": "Apache-2.0",
        "seed": first.seed,
        "image_size": first.image_size,
        "families": sorted({family for family, _ in first.cells}),
        "levels": sorted({level for _, level in first.cells}),
        "files": files,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return manifest


def _as_row(sample: Sample) -> dict[str, Any]:
    return {
        "id": sample.id,
        "source": sample.source,
        "images": list(sample.images),
        "problem": sample.problem,
        "answer": sample.answer,
        "choices": list(sample.choices),
        "answer_value": sample.answer_value,
        "metadata": json.dumps(sample.metadata, sort_keys=True, allow_nan=False),
    }
