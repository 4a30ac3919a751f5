"""Get the files of a Hub data set; they are then read as any local copy is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from data_prep.common import DatasetSpec, Source
from uec_vlm.errors import DataError


def download(hub_id: str, revision: str | None, files: tuple[str, ...]) -> Path:
    """The folder of the Hub's cache with the files of `hub_id` that match `files`; its name is the commit.

    `revision`: a branch, tag or commit; give a commit for bytes that never change. What is in the cache already is not
    downloaded again. Raises `DataError` where the data set cannot be had.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub_id, repo_type="dataset", revision=revision, allow_patterns=list(files)))
    except (OSError, ValueError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise DataError(
            f"--source {hub_id}: the Hub data set cannot be loaded ({type(error).__name__}: {str(error)[:200]}). "
            "Without a network, give a folder with a copy of its files"
        ) from error


def open_hub(spec: DatasetSpec, hub_id: str, revision: str | None) -> Source:
    """The Hub data set in the layout that its files have; the manifest names the commit."""
    folder = download(hub_id, revision, spec.hub_files)
    for opener in spec.sources:
        opened = opener(folder)
        if opened is not None:
            return replace(opened, name=hub_id, revision=folder.name)
    raise DataError(
        f"--source {hub_id}: revision {folder.name} holds none of the layouts that are known. Give one of: "
        f"{'; '.join(spec.layouts)}"
    )
