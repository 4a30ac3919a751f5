"""A Parquet file is read in memory that does not grow with the file."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.parquet import parquet_rows
from data_prep.write import SCHEMA, as_row
from uec_vlm.records import Sample


def test_rows_that_were_read_are_not_kept(tmp_path: Path) -> None:
    file, picture = tmp_path / "train.parquet", bytes(50_000)
    rows = [as_row(Sample(f"s{n}", "made", "<image>How long?", "5", (picture,), metadata={})) for n in range(100)]
    with pq.ParquetWriter(file, SCHEMA, compression="NONE", use_dictionary=False) as writer:
        for _ in range(16):
            writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))
    before, most, read = pa.total_allocated_bytes(), 0, 0
    for row in parquet_rows(file):
        read += len(row["images"][0])
        most = max(most, pa.total_allocated_bytes() - before)
    assert read == 16 * 100 * 50_000
    assert most < read / 8, "a row group and its batch, and no more"
    assert [row["id"] for row in parquet_rows(file, ["id"])][:2] == ["s0", "s1"]
