"""The golds of a prepared data set, as the verifier's audit takes them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from data_prep.common import SPLITS
from data_prep.parquet import parquet_rows
from uec_vlm.errors import DataError
from uec_vlm.verifier.audit import AuditReport, Row, audit_golds


def audit_answers(folder: Path) -> AuditReport:
    """Audit the golds of every split in `folder`; raises `DataError` where nothing prepared is in it.

    What is looked for is documented in `uec_vlm.verifier.audit.KINDS`: golds that cannot be read, choices that collide
    under the tolerance, golds that need rounding.
    """
    files = [folder / f"{split}.parquet" for split in SPLITS if (folder / f"{split}.parquet").is_file()]
    if not files:
        raise DataError(
            f"{folder}: no train.parquet, validation.parquet or test.parquet is there; prepare a data set into it, "
            f"for example: python -m data_prep geometry3k --source SOURCE --out {folder}"
        )
    return audit_golds(row for file in files for row in _golds(file))


def _golds(file: Path) -> Iterator[Row]:
    """Id, gold, choices and question of each row; the pictures are not read."""
    try:
        for row in parquet_rows(file, ["id", "answer", "choices", "problem"]):
            yield row["id"], row["answer"], row["choices"] or None, row["problem"]
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise DataError(f"{file}: cannot be read ({error}); prepare it again") from error
