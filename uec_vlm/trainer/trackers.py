"""Who is sent the numbers of a run as they come: TensorBoard, Weights & Biases, trackio and MLflow, by accelerate.

A tracker that can show pictures also gets a table of completions beside their pictures.
"""

from __future__ import annotations

import hashlib
import html
import importlib.util
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate.tracking import GeneralTracker, MLflowTracker, TensorBoardTracker, TrackioTracker, WandBTracker
from PIL import Image

from uec_vlm.errors import ConfigError
from uec_vlm.pictures import as_shown

_PROJECT = "uec-vlm"
_MLFLOW_PLACE = "MLFLOW_TRACKING_URI"
_COLUMNS = ("id", "source", "text", "gold", "correct", "reason", "reward", "advantage")
_ROWS = 16

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Trackers:
    """The trackers of a run in progress; none is fine. Closed by `open_trackers`."""

    opened: Sequence[GeneralTracker]

    def log(self, step: int, row: Mapping[str, float]) -> None:
        """Sends the numbers of a step."""
        for tracker in self.opened:
            # MLflow refuses the sign in pass@1.
            named = {name.replace("@", "_at_"): value for name, value in row.items()}
            tracker.log(dict(row) if tracker.name != "mlflow" else named, step=step)

    def completions(self, step: int, rows: Sequence[Row]) -> None:
        """Sends a table of the first rows of a dump, with their pictures."""
        for tracker in self.opened:
            _TABLES[tracker.name](tracker.tracker, step, rows[:_ROWS])


def require_trackers(names: Sequence[str]) -> None:
    """ConfigError, with the command that mends it, for a tracker whose package is not installed."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise ConfigError(
                f"run.trackers = {list(names)!r}: the package of '{name}' is not installed. "
                f"Run pip install {name}, or take '{name}' out of the list."
            )
        if name == "mlflow" and _MLFLOW_PLACE not in os.environ and importlib.util.find_spec("sqlalchemy") is None:
            raise ConfigError(
                f"run.trackers = {list(names)!r}: this slim MLflow cannot write into the run folder, it has no "
                f"sqlalchemy. Run pip install sqlalchemy alembic, or name a server in {_MLFLOW_PLACE}."
            )


@contextmanager
def open_trackers(
    names: Sequence[str], *, folder: Path, name: str, config: Mapping[str, Any], resumed_at: int | None
) -> Iterator[Trackers]:
    """Opens trackers that write into the run folder unless their own variables send them elsewhere; closes them.

    name: of the run, as they show it. config: the resolved configuration, nested. resumed_at: the step that a resumed
    run goes on from; its numbers join the old ones.
    """
    opened = []
    try:
        for kind in names:
            tracker = _OPENERS[kind](folder, name, resumed_at)
            tracker.start()
            opened.append(tracker)
            if kind != "tensorboard" and resumed_at is None:
                tracker.store_init_configuration(_flat(config))
        yield Trackers(opened)
    finally:
        for tracker in opened:
            tracker.finish()


def _tensorboard(folder: Path, name: str, resumed_at: int | None) -> GeneralTracker:
    purge = resumed_at + 1 if resumed_at is not None else None
    return TensorBoardTracker("tensorboard", str(folder), purge_step=purge)


def _wandb(folder: Path, name: str, resumed_at: int | None) -> GeneralTracker:
    identity = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    return WandBTracker(_PROJECT, name=name, id=identity, dir=str(folder), resume="allow")


def _trackio(folder: Path, name: str, resumed_at: int | None) -> GeneralTracker:
    return TrackioTracker(_PROJECT, name=name, resume="allow")


class _MLflow(MLflowTracker):  # type: ignore[misc]
    """Into `mlflow.db` and `mlruns/` of the run folder, unless MLFLOW_TRACKING_URI names a place.

    The run's id is kept in `mlflow.json`, so that a resumed run goes on in the same one.
    """

    def __init__(self, folder: Path, name: str, resumed_at: int | None) -> None:
        self._folder, self._known = folder.resolve(), folder / "mlflow.json"
        resumes = resumed_at is not None and self._known.is_file()
        run_id = json.loads(self._known.read_text())["run_id"] if resumes else None
        artifacts = None if _MLFLOW_PLACE in os.environ else (self._folder / "mlruns").as_uri()
        super().__init__(experiment_name=_PROJECT, logging_dir=artifacts, run_name=name, run_id=run_id)

    def start(self) -> None:
        import mlflow

        if _MLFLOW_PLACE not in os.environ:
            mlflow.set_tracking_uri(f"sqlite:///{self._folder / 'mlflow.db'}")
        super().start()
        self._known.write_text(json.dumps({"run_id": self.tracker.info.run_id}) + "\n")


def _tensorboard_table(writer: Any, step: int, rows: Sequence[Row]) -> None:
    """A Markdown table, and the pictures under the numbers of its lines: TensorBoard shows none inside a text."""
    lines = ["| | " + " | ".join(_COLUMNS) + " |", "|---" * (len(_COLUMNS) + 1) + "|"]
    for number, row in enumerate(rows):
        lines.append(f"| {number} | " + " | ".join(_cell(row[name]) for name in _COLUMNS) + " |")
        for picture in _pictures(row)[:1]:
            writer.add_image(f"completions/{number:02}", _array(picture), step, dataformats="HWC")
    writer.add_text("completions", "\n".join(lines), step)


def _wandb_table(run: Any, step: int, rows: Sequence[Row]) -> None:
    import wandb

    table = wandb.Table(columns=["picture", *_COLUMNS])
    for row in rows:
        pictures = _pictures(row)
        table.add_data(wandb.Image(pictures[0]) if pictures else None, *(row[name] for name in _COLUMNS))
    run.log({"completions": table}, step=step)


def _trackio_table(run: Any, step: int, rows: Sequence[Row]) -> None:
    import pandas as pd
    import trackio

    pictures = [_pictures(row) for row in rows]
    columns = {name: [row[name] for row in rows] for name in _COLUMNS}
    frame = pd.DataFrame({"picture": [trackio.Image(p[0]) if p else None for p in pictures], **columns})
    run.log({"completions": trackio.Table(dataframe=frame)}, step=step)


def _mlflow_table(run: Any, step: int, rows: Sequence[Row]) -> None:
    import mlflow

    # MLflow wants a picture in every row of such a column.
    pictures = [_pictures(row) or [Image.new("RGB", (1, 1), "white")] for row in rows]
    columns = {name: [row[name] for row in rows] for name in _COLUMNS}
    table = {"picture": [mlflow.Image(own[0]) for own in pictures], **columns}
    mlflow.log_table(table, artifact_file=f"completions/step_{step:06}.json", run_id=run.info.run_id)


_OPENERS = {"tensorboard": _tensorboard, "wandb": _wandb, "trackio": _trackio, "mlflow": _MLflow}
_TABLES = {
    "tensorboard": _tensorboard_table,
    "wandb": _wandb_table,
    "trackio": _trackio_table,
    "mlflow": _mlflow_table,
}


def _pictures(row: Row) -> list[Image.Image]:
    return [as_shown(Image.open(io.BytesIO(image))).convert("RGB") for image in row["images"]]


def _array(picture: Image.Image) -> Any:
    import numpy as np

    return np.asarray(picture)


def _cell(value: Any) -> str:
    """A value inside a Markdown table: what a model wrote stays text."""
    return html.escape(str(value)).replace("|", "&#124;").replace("\n", " ").replace("`", "&#96;")


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as dotted keys with plain values."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str | int | float | bool) else json.dumps(value)
    return flat
