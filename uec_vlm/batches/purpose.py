"""What a prepared data set is for, by its manifest: one for evaluation only is not trained on by accident."""

from __future__ import annotations

import json
from pathlib import Path

from uec_vlm.errors import DataError

MANIFEST = "manifest.json"
EVALUATION_ONLY = "evaluation only"


def refuse_evaluation_only(path: str | Path, *, key: str) -> None:
    """Raise DataError if the manifest beside a Parquet file says that it is for evaluation only.

    A file without a manifest, or one that the manifest does not list, says nothing. `key`: the configuration's key.
    """
    file = Path(path)
    manifest = file.parent / MANIFEST
    if not manifest.is_file():
        return
    try:
        stated = json.loads(manifest.read_text(encoding="utf-8"))
        listed, purpose, name = file.name in stated["files"], stated["purpose"], stated["dataset"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{manifest}: cannot be read ({error!r}); prepare the data set again.") from error
    if listed and purpose == EVALUATION_ONLY:
        raise DataError(
            f"{key}.path = '{path}': its manifest says that '{name}' is for evaluation only; a model trained on it "
            f"cannot be compared on it any more. Train on another set, or set {key}.force = true if this is meant."
        )
