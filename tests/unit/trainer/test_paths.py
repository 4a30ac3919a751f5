"""Paths that lead nowhere are told as such, and not as something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_prep.write import split_writer
from uec_vlm.batches import load_samples
from uec_vlm.errors import DataError, ModelError
from uec_vlm.records import Sample
from uec_vlm.trainer.build import model_folder


@pytest.mark.parametrize("path", ["runs/sft/model", "/none", "./here", "a/b/c", "runs/none"])
def test_a_model_folder_that_is_not_there(path: str) -> None:
    with pytest.raises(ModelError, match=f"model.path = {path}: there is no such folder"):
        model_folder(path)


@pytest.mark.parametrize("path", ["Qwen/Qwen2.5-VL-3B-Instruct", "gpt2"])
def test_a_hub_id_is_taken_as_it_is(path: str) -> None:
    assert model_folder(path) == path


def test_a_folder_in_the_place_of_a_file(tmp_path: Path) -> None:
    with split_writer(tmp_path / "train.parquet") as writer:
        writer.write(Sample(id="one", source="own", problem="1 + 1", answer="2"))
    with pytest.raises(DataError, match=r"It is a folder; name one of \['train.parquet'\] in it"):
        load_samples(tmp_path)
