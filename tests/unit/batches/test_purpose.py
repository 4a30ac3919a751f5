"""A set for evaluation only is not trained on unless that is forced; what a mixture's configuration refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from data_prep.write import split_writer
from uec_vlm.batches import Mixture, refuse_evaluation_only
from uec_vlm.config import RunConfig, parse_config
from uec_vlm.errors import ConfigError, DataError
from uec_vlm.records import Sample
from uec_vlm.trainer.build import build_samples


def prepared(folder: Path, purpose: str = "evaluation only") -> Path:
    """Two samples in test.parquet and a manifest."""
    with split_writer(folder / "test.parquet") as writer:
        for number in range(2):
            writer.write(Sample(id=f"s{number}", source="mathvista", problem="q", answer="1"))
    stated = {"dataset": "mathvista", "purpose": purpose, "files": {"test.parquet": {}}}
    (folder / "manifest.json").write_text(json.dumps(stated))
    return folder / "test.parquet"


def config(train: dict[str, Any]) -> RunConfig:
    held = {"kind": "geosynth", "count": 4}
    tree = {"data": {"train": train, "validation": held}, "objective": {}}
    return parse_config(tree, RunConfig, place="test.yaml", name="test")


def test_training_on_it_is_refused_unless_forced(tmp_path: Path) -> None:
    train = {"kind": "parquet", "path": str(prepared(tmp_path))}
    with pytest.raises(
        DataError, match=r"data\.train\.path = .*'mathvista' is for evaluation only.*data\.train\.force = "
    ):
        build_samples(config(train).data.train, "train")
    assert len(build_samples(config({**train, "force": True}).data.train, "train")) == 2
    assert len(build_samples(config(train).data.train, "validation")) == 2


def test_a_mixture_with_it_is_refused_by_the_part(tmp_path: Path) -> None:
    part = {"weight": 1, "source": {"kind": "parquet", "path": str(prepared(tmp_path))}}
    generated = {"weight": 3, "source": {"kind": "geosynth", "count": 5}}
    with pytest.raises(DataError, match=r"data\.train\.parts\.1\.source\.path"):
        build_samples(config({"kind": "mixture", "parts": [generated, part]}).data.train, "train")
    part["source"]["force"] = True
    made = build_samples(config({"kind": "mixture", "parts": [generated, part]}).data.train, "train")
    assert isinstance(made, Mixture)
    assert (len(made), made.weights) == (7, (3.0, 1.0))


def test_other_sets_and_files_without_a_manifest_pass(tmp_path: Path) -> None:
    refuse_evaluation_only(prepared(tmp_path, "training"), key="data.train")
    prepared(tmp_path)
    refuse_evaluation_only(tmp_path / "other.parquet", key="data.train")
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(DataError, match=r"manifest\.json: cannot be read.*prepare the data set again"):
        refuse_evaluation_only(tmp_path / "test.parquet", key="data.train")
    (tmp_path / "manifest.json").unlink()
    refuse_evaluation_only(tmp_path / "test.parquet", key="data.train")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([(1.0, {"kind": "geosynth"})], r"data\.train\.parts = .*at least 2"),
        ([(0, {"kind": "geosynth"}), (1, {"kind": "geosynth"})], r"data\.train\.parts\.0\.weight = 0.*greater than 0"),
        ([(1, {"kind": "geosynth"}), (5000, {"kind": "geosynth"})], "weight = 1.0 is below a thousandth"),
        ([(1, {"kind": "mixture", "parts": []}), (1, {"kind": "geosynth"})], "mixture"),
        ([(1, {"kind": "geosynth", "cuont": 1}), (1, {"kind": "geosynth"})], "cuont"),
    ],
)
def test_wrong_mixtures_are_refused_by_key(parts: list[tuple[float, dict[str, Any]]], message: str) -> None:
    tree = {"kind": "mixture", "parts": [{"weight": weight, "source": source} for weight, source in parts]}
    with pytest.raises(ConfigError, match=message):
        config(tree)
