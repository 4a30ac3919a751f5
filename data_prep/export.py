"""Write a prepared folder as other trainers read it: TRL's GRPOTrainer, verl, EasyR1. Rows are streamed.

trl     `prompt` (one user message; its pictures stand as parts where the placeholders were), `images`, and the columns
        that our TRL reward function reads: `answer`, `choices`, `problem`
verl    `data_source`, `prompt` (one user message with `<image>`), `images`, `ability`, `reward_model`, `extra_info`:
        the columns of verl's examples/data_preprocess/geo3k.py (commit 0646a9b) and utils/dataset/rl_dataset.py
easyr1  `problem` (with `<image>`), `answer`, `images`: hiyouga/EasyR1, verl/utils/dataset.py, commit 0243608

A split without any picture has no column `images`, since these trainers take the column as the sign of a picture.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from data_prep.common import SPLITS
from data_prep.parquet import parquet_rows
from data_prep.write import GROUP_ROWS, write_manifest
from uec_vlm.errors import ConfigError, DataError
from uec_vlm.records import IMAGE_PLACEHOLDER

Row = Mapping[str, Any]
MANIFEST = "manifest.json"


def export(folder: Path, form: str, out: Path, *, template: str = "{problem}", list_choices: bool = False) -> Path:
    """Write `out/<split>.parquet` for every split of a prepared folder, and the manifest with what was exported.

    template: `{problem}` stands for the question. list_choices: the lettered choices follow the question.
    Raises `ConfigError` for an unknown form or template, `DataError` where nothing prepared is in `folder`.
    """
    if form not in FORMS:
        raise ConfigError(f"--format {form}: there is no such form; choose one of {', '.join(FORMS)}")
    if "{problem}" not in template:
        raise ConfigError(f"--template {template!r}: it has no {{problem}}, so no question would be asked; add it")
    files = {split: folder / f"{split}.parquet" for split in SPLITS if (folder / f"{split}.parquet").is_file()}
    if not files:
        raise DataError(
            f"{folder}: nothing prepared is in it; run python -m data_prep NAME --source SOURCE --out {folder}"
        )
    if out.resolve() == folder.resolve():
        raise ConfigError(f"--out {out}: it is the prepared folder itself, whose files would be lost; choose another")
    out.mkdir(parents=True, exist_ok=True)
    columns, features = FORMS[form]
    for split, file in files.items():
        pictured = _has_pictures(file)
        rows = (_asked(row, template, list_choices) for row in parquet_rows(file))
        made = (columns(row, split, number, pictured) for number, row in enumerate(rows))
        _write(out / f"{split}.parquet", made, features(pictured))
    known = json.loads((folder / MANIFEST).read_text(encoding="utf-8")) if (folder / MANIFEST).is_file() else {}
    write_manifest(out / MANIFEST, {**known, "export": {"format": form, "template": template, "choices": list_choices}})
    return out


def _has_pictures(file: Path) -> bool:
    return any(IMAGE_PLACEHOLDER in row["problem"] for row in parquet_rows(file, ["problem"]))


def _asked(row: dict[str, Any], template: str, list_choices: bool) -> dict[str, Any]:
    """The row with `asked`: the question as the trainer puts it, its placeholders kept."""
    problem = row["problem"]
    if list_choices and row["choices"]:
        lines = (f"({letter}) {text}" for letter, text in zip("ABCDEFGHIJ", row["choices"], strict=False))
        problem = "\n".join((problem, "Choices:", *lines))
    return {**row, "asked": template.replace("{problem}", problem)}


def _images(row: Row) -> list[dict[str, Any]]:
    return [{"bytes": one, "path": None} for one in row["images"]]


def _trl(row: Row, split: str, number: int, pictured: bool) -> dict[str, Any]:
    content: Any = row["asked"]
    if pictured:
        content = []
        for place, text in enumerate(row["asked"].split(IMAGE_PLACEHOLDER)):
            content += [{"type": "image", "text": None}] if place else []
            content += [{"type": "text", "text": text}] if text else []
    made = {"prompt": [{"role": "user", "content": content}], "id": row["id"], "problem": row["problem"]}
    made |= {"answer": row["answer"], "choices": row["choices"]}
    return made | {"images": _images(row)} if pictured else made


def _verl(row: Row, split: str, number: int, pictured: bool) -> dict[str, Any]:
    made = {
        "data_source": f"uec_vlm/{row['source']}",
        "prompt": [{"role": "user", "content": row["asked"]}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": row["answer"]},
        "extra_info": {
            "split": split,
            "index": number,
            "answer": row["answer"],
            "question": row["problem"],
            "choices": row["choices"],
            "id": row["id"],
        },
    }
    return made | {"images": _images(row)} if pictured else made


def _easyr1(row: Row, split: str, number: int, pictured: bool) -> dict[str, Any]:
    made = {"problem": row["asked"], "answer": row["answer"], "id": row["id"]}
    return made | {"images": _images(row)} if pictured else made


def _features(columns: Callable[[bool], dict[str, Any]]) -> Callable[[bool], Any]:
    def made(pictured: bool) -> Any:
        import datasets

        known = columns(pictured)
        return datasets.Features({**known, "images": datasets.List(datasets.Image())} if pictured else known)

    return made


def _text() -> Any:
    import datasets

    return datasets.Value("string")


def _trl_columns(pictured: bool) -> dict[str, Any]:
    content: Any = [{"type": _text(), "text": _text()}] if pictured else _text()
    return {
        "prompt": [{"role": _text(), "content": content}],
        "id": _text(),
        "problem": _text(),
        "answer": _text(),
        "choices": [_text()],
    }


def _verl_columns(pictured: bool) -> dict[str, Any]:
    import datasets

    facts = {name: _text() for name in ("split", "answer", "question", "id")}
    return {
        "data_source": _text(),
        "prompt": [{"role": _text(), "content": _text()}],
        "ability": _text(),
        "reward_model": {"style": _text(), "ground_truth": _text()},
        "extra_info": {**facts, "index": datasets.Value("int64"), "choices": [_text()]},
    }


def _easyr1_columns(pictured: bool) -> dict[str, Any]:
    return {"problem": _text(), "answer": _text(), "id": _text()}


def _write(path: Path, rows: Iterator[dict[str, Any]], features: Any) -> None:
    """Stream rows with the schema that makes the `datasets` library decode the pictures."""
    import pyarrow as pa

    schema = features.arrow_schema
    try:
        with pq.ParquetWriter(path, schema, compression="ZSTD") as writer:
            while group := list(islice(rows, GROUP_ROWS)):
                writer.write_table(pa.Table.from_pylist(group, schema=schema))
    except BaseException:
        path.unlink(missing_ok=True)
        raise


FORMS: dict[str, tuple[Callable[[Row, str, int, bool], dict[str, Any]], Callable[[bool], Any]]] = {
    "trl": (_trl, _features(_trl_columns)),
    "verl": (_verl, _features(_verl_columns)),
    "easyr1": (_easyr1, _features(_easyr1_columns)),
}
"""Form -> its row (of a prepared row, split, number, whether the split has pictures), and its features."""
