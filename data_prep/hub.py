"""Read `images, problem, answer` rows from a Hub data set or from a local copy of its Parquet files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from data_prep.common import SPLIT_SPELLINGS, SPLITS, Event, RawRow, RowRefused, Source, shown
from uec_vlm.errors import DataError

COLUMNS = ("images", "problem", "answer")
Load = Callable[[str], Any]
"""Split -> a `datasets` data set of that split; called when the split is read, and again when it is read again."""


def open_hub(hub_id: str, revision: str | None) -> Source:
    """The data set `hub_id` through `datasets.load_dataset`, which downloads it once and keeps it in its cache.

    `revision`: a branch, tag or commit; give a commit for bytes that never change. Raises `DataError` where it cannot
    be loaded.
    """
    import datasets

    try:
        loaded = datasets.load_dataset(hub_id, revision=revision)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"--source {hub_id}: the Hub data set cannot be loaded ({type(error).__name__}: {str(error)[:200]}). "
            "Without a network, give a folder with a copy of its Parquet files, or the Inter-GPS folders or archives"
        ) from error
    spelled = {SPLIT_SPELLINGS[name]: name for name in loaded if name in SPLIT_SPELLINGS}
    return _source(hub_id, "hub", spelled, lambda split: loaded[spelled[split]], revision)


def open_parquet(path: Path) -> Source | None:
    """A folder with `train-*.parquet`, `validation-*.parquet`, `test-*.parquet` (also in `data/`), or one such file."""
    files: dict[str, list[str]] = {}
    candidates = [path] if path.is_file() else [*path.glob("*.parquet"), *path.glob("data/*.parquet")]
    for file in sorted(candidates):
        spelling = file.name.removesuffix(".parquet").split("-")[0]
        if file.suffix == ".parquet" and spelling in SPLIT_SPELLINGS:
            files.setdefault(SPLIT_SPELLINGS[spelling], []).append(str(file))
    if not files:
        return None

    def load(split: str) -> Any:
        import datasets

        # Streaming reads a few rows at a time and makes no second copy of the files in a cache.
        return datasets.load_dataset("parquet", data_files={split: files[split]}, split=split, streaming=True)

    return _source(path.name, "hub_parquet", files, load, None)


def _source(name: str, layout: str, splits: Mapping[str, object], load: Load, revision: str | None) -> Source:
    if not splits:
        raise DataError(f"{name}: none of the splits {', '.join(SPLITS)} is in it")

    def read(split: str) -> Iterator[RawRow | Event]:
        return _rows(name, split, load)

    found = tuple(split for split in SPLITS if split in splits)
    return Source(layout=layout, name=name, splits=found, read=read, revision=revision)


def _rows(name: str, split: str, load: Load) -> Iterator[RawRow | Event]:
    import datasets

    try:
        data = load(split)
        names = list(data.column_names or ())
        if missing := [column for column in COLUMNS if column not in names]:
            raise DataError(f"{name}: the columns {missing} are not in split '{split}', which has {names}")
        encoded = data.select_columns(list(COLUMNS)).cast_column("images", datasets.List(datasets.Image(decode=False)))
        for number, fields in enumerate(encoded):
            yield _row(split, number, fields)
    except (OSError, ValueError, TypeError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"{name}, split '{split}': its Parquet files cannot be read ({type(error).__name__}: {str(error)[:200]}); "
            "download them again and check that the columns are images (list of image), problem and answer (text)"
        ) from error


def _row(split: str, number: int, fields: Mapping[str, Any]) -> RawRow | Event:
    place = f"{split}/{number:05d}"
    try:
        images = tuple(_bytes(one) for one in fields["images"] or ())
    except RowRefused as refused:
        return Event(place, refused.reason, refused.detail)
    return RawRow(split, place, "hub", {name: fields[name] for name in ("problem", "answer")}, images)


def _bytes(image: Any) -> bytes:
    """The encoded picture. A path instead of bytes is refused: a data file never makes us open a path of its choice."""
    data = image.get("bytes") if isinstance(image, Mapping) else image
    if not isinstance(data, bytes) or not data:
        raise RowRefused("missing_image", f"the row holds no image bytes but {shown(image)}")
    return data
