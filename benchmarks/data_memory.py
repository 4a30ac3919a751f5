"""Peak memory of preparing, and of auditing, a synthetic set of many rows with pictures, each in a process of its own.

    python benchmarks/data_memory.py [--rows 100000] [--picture-bytes 8000] [--audit]

The source is a Parquet file in the layout of `clevr_count`; every picture and question is another one.
"""

from __future__ import annotations

import argparse
import random
import resource
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
GROUP = 500


def noise_png(number: int, size: int) -> bytes:
    """A grey PNG of noise of about `size` bytes, from `number` alone."""
    side = max(16, int(size**0.5))
    noise = random.Random(number).randbytes(side * side)
    lines = b"".join(b"\0" + noise[row * side : (row + 1) * side] for row in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 1)), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def write_source(path: Path, rows: int, size: int) -> None:
    """The source, a row group at a time."""
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("image", image), ("problem", pa.string()), ("solution", pa.string())])
    with pq.ParquetWriter(path, schema, compression="NONE") as writer:
        for start in range(0, rows, GROUP):
            group = [
                {
                    "image": {"bytes": noise_png(number, size), "path": None},
                    "problem": f"How many items does scene {number} show?",
                    "solution": f"<answer> {number % 11} </answer>",
                }
                for number in range(start, min(rows, start + GROUP))
            ]
            writer.write_table(pa.Table.from_pylist(group, schema=schema))


def measured(*command: str) -> tuple[float, float]:
    """Wall-clock seconds and peak resident memory in MB of a command, in a child that measures itself."""
    code = (
        "import resource, runpy, sys\n"
        "sys.argv = ['data_prep', *sys.argv[1:]]\n"
        "try:\n    runpy.run_module('data_prep', run_name='__main__')\n"
        "finally:\n    print('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    start = time.perf_counter()
    ran = subprocess.run([sys.executable, "-c", code, *command], cwd=ROOT, capture_output=True, text=True)
    if ran.returncode != 0:
        raise SystemExit(ran.stdout + ran.stderr)
    unit = 1024 if sys.platform == "linux" else 1024 * 1024  # kilobytes on Linux, bytes on macOS
    return time.perf_counter() - start, int(ran.stdout.rsplit("PEAK ", 1)[1]) / unit


def main() -> None:
    """Print seconds and peak memory of each step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--picture-bytes", type=int, default=8_000)
    parser.add_argument("--audit", action="store_true", help="also audit what was prepared")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "source", Path(folder) / "out"
        source.mkdir()
        write_source(source / "train-00000.parquet", arguments.rows, arguments.picture_bytes)
        steps = [("prepare", ["clevr_count", "--source", str(source), "--out", str(out)])]
        if arguments.audit:
            steps.append(("audit", ["audit", str(out), "--out", str(Path(folder) / "audit")]))
        size = (source / "train-00000.parquet").stat().st_size / 2**20
        print(f"{arguments.rows} rows, source {size:.0f} MB; this process {_own():.0f} MB")
        for name, command in steps:
            seconds, peak = measured(*command)
            print(f"{name}: peak {peak:.0f} MB, {seconds:.0f} s")


def _own() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
