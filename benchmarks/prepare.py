"""How long preparing Geometry3K takes, without grading, against reading and decoding the same pictures.

    python -m benchmarks.prepare --source ../shared/data/geometry3k_raw

Both sides run in this process in turn; the figures are medians of the runs after a first one that warms the file cache.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from PIL import Image

from benchmarks.common import IMAGES, Row, markdown, plot_bars, save_results
from data_prep.prepare import prepare
from data_prep.registry import DATASETS
from data_prep.sources import open_source


def read_and_decode(source: Path) -> int:
    """Read and decode every PNG under `source`; the number of pictures."""
    count = 0
    for path in source.rglob("*.png"):
        with Image.open(BytesIO(path.read_bytes())) as image:
            image.load()
        count += 1
    return count


def prepare_without_grading(source: Path) -> int:
    """Prepare `source` into a temporary folder; the number of rows written."""
    spec = DATASETS["geometry3k"]
    with tempfile.TemporaryDirectory() as out:
        opened = open_source("geometry3k", spec, str(source))
        manifest = prepare("geometry3k", spec, opened, Path(out), grade_check=None)
    return sum(split["rows_written"] for split in manifest["splits"].values())


def seconds(work: Callable[[Path], int], source: Path) -> tuple[float, float, int]:
    """Wall-clock and processor seconds of one run, and what it counted."""
    wall, processor = time.perf_counter(), time.process_time()
    count = work(source)
    return time.perf_counter() - wall, time.process_time() - processor, count


def main() -> None:
    """Print the medians and their ratios; processor time is what a busy machine leaves comparable."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="Inter-GPS folders: train|val|test/<id>/")
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each side (default 5)")
    arguments = parser.parse_args()
    read_and_decode(arguments.source), prepare_without_grading(arguments.source)
    decoding, preparing = [], []
    for _ in range(arguments.runs):
        decoding.append(seconds(read_and_decode, arguments.source))
        preparing.append(seconds(prepare_without_grading, arguments.source))
    print(f"read and decode {decoding[0][2]} pictures; prepare {preparing[0][2]} rows without grading")
    rows: list[Row] = []
    for place, clock in enumerate(("wall clock", "processor")):
        decode, prepared = (statistics.median(run[place] for run in side) for side in (decoding, preparing))
        rows.append(
            {"clock": clock, "read and decode, s": decode, "prepare, s": prepared, "ratio": prepared / decode,
             "at most": 1.5}
        )  # fmt: skip
    print(markdown(rows))
    settings = {"pictures": decoding[0][2], "rows": preparing[0][2], "runs": arguments.runs}
    save_results("prepare", rows, settings=settings)
    plot_bars(IMAGES / "prepare.png", rows, label="clock", series={"read and decode, s": "read and decode",
              "prepare, s": "prepare"}, title="Preparing Geometry3K without grading", unit="seconds")  # fmt: skip


if __name__ == "__main__":
    main()
