"""A tiny made-up Geometry3K: problem folders in the Inter-GPS layout, the same as archives and as Parquet files."""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from data_prep.common import RawRow, Source
from data_prep.prepare import prepare
from data_prep.registry import DATASETS
from data_prep.sources import open_source

SIZES = {"train": 5, "val": 3, "test": 4}
SHARED = Path(__file__).resolve().parents[3] / ".." / "shared" / "data"


def diagram(number: int, *, mode: str = "RGBA", size: tuple[int, int] = (64, 48), form: str = "PNG") -> bytes:
    """A triangle whose corners depend on `number`, as PNG or JPEG bytes."""
    image = Image.new(mode, size, "white")
    ImageDraw.Draw(image).polygon([(2, 2), (5 + number % 50, 40), (60, 3 + number % 40)], outline="black")
    file = BytesIO()
    image.save(file, form)
    return file.getvalue()


def with_comment(png: bytes, comment: str) -> bytes:
    """The same picture with a text chunk before its end, so that the bytes differ."""
    body = b"tEXt" + b"Comment\0" + comment.encode()
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png[:-12] + chunk + png[-12:]


def record(number: int, **changes: Any) -> dict[str, Any]:
    """A `data.json` whose right choice is B; a change to `...` (Ellipsis) removes the key."""
    fields = {
        "problem_text": f"Find side {number}.",
        "choices": [str(number), f"{number + 1} \\sqrt {{ 3 }}", f"{number + 2}", f"{number + 3}.5"],
        "answer": "B",
        "problem_type_graph": ["Triangle"],
        "problem_type_goal": ["Length"],
        "precise_value": [number, (number + 1) * 3**0.5, number + 2, number + 3.5],
        "annotat_text": f"In $\\triangle ABC$, ∠{number} is right. Find side ${number}$.",
        "data_type": "train",
        "id": number,
    }
    fields.update(changes)
    return {name: value for name, value in fields.items() if value is not ...}


def put_problem(root: Path, split: str, name: str, fields: dict[str, Any], image: bytes | None) -> None:
    """Write one problem folder; no picture if `image` is None."""
    folder = root / split / name
    folder.mkdir(parents=True)
    (folder / "data.json").write_text(json.dumps(fields), encoding="utf-8")
    if image is not None:
        (folder / "img_diagram.png").write_bytes(image)


def make_folders(root: Path) -> Path:
    """A complete tree of `SIZES`; ids run on from split to split, as in the real data."""
    number = 0
    for split, count in SIZES.items():
        for _ in range(count):
            number += 1
            put_problem(root, split, str(number), record(number), diagram(number))
    return root


def make_zips(root: Path, into: Path) -> Path:
    """`train.zip`, `val.zip`, `test.zip` of the folders of `root`, each with its folder inside."""
    into.mkdir()
    for split in SIZES:
        with zipfile.ZipFile(into / f"{split}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted((root / split).rglob("*"), reverse=True):
                archive.write(path, path.relative_to(root))
    return into


def make_hub_parquet(root: Path, into: Path) -> Path:
    """The folders of `root` as the Hub data set's Parquet files, written by the `datasets` library."""
    (into / "data").mkdir(parents=True)
    features = datasets.Features(
        images=datasets.List(datasets.Image()), problem=datasets.Value("string"), answer=datasets.Value("string")
    )
    for split, name in (("train", "train"), ("val", "validation"), ("test", "test")):
        rows = []
        for folder in sorted((root / split).iterdir(), key=lambda one: int(one.name)):
            fields = json.loads((folder / "data.json").read_text())
            image = {"bytes": (folder / "img_diagram.png").read_bytes(), "path": None}
            answer = fields["choices"]["ABCD".index(fields["answer"])]
            rows.append({"images": [image], "problem": "<image>" + fields["annotat_text"], "answer": answer})
        table = datasets.Dataset.from_list(rows, features=features)
        table.to_parquet(into / "data" / f"{name}-00000-of-00001.parquet")
    return into


def make_many(into: Path, layout: str, count: int, png: bytes) -> Path:
    """A source with `count` training rows whose pictures are `png` with a comment: a zip, or row groups of 50."""
    into.mkdir()
    pictures = (with_comment(png, str(number)) for number in range(count))
    if layout == "zip":
        with zipfile.ZipFile(into / "train.zip", "w") as archive:
            for number, picture in enumerate(pictures):
                archive.writestr(f"train/{number}/data.json", json.dumps(record(number)))
                archive.writestr(f"train/{number}/img_diagram.png", picture)
        return into
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("images", pa.list_(image)), ("problem", pa.string()), ("answer", pa.string())])
    rows = [{"images": [{"bytes": one}], "problem": "<image>q", "answer": str(n)} for n, one in enumerate(pictures)]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), into / "train-0.parquet", row_group_size=50)
    return into


def run(source: Path | str, out: Path, name: str = "geometry3k") -> dict[str, Any]:
    """Prepare without grading, through the same functions as the command line."""
    spec = DATASETS[name]
    return prepare(name, spec, open_source(name, spec, str(source)), out, grade_check=None)


def rows_source(rows: Iterable[RawRow], split: str = "train") -> Source:
    """A source of one split that yields the given rows."""
    return Source(layout="made_up", name="made_up", splits=(split,), read=lambda _: iter(rows))


def reasons(account: dict[str, Any]) -> dict[str, list[str]]:
    """An account of a manifest as reason -> rows."""
    return {reason: [event["row"] for event in entry["rows"]] for reason, entry in account.items()}
