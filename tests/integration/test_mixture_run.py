"""A mixture of generated pictures and prepared texts goes from the configuration through the loop."""

from collections.abc import Callable
from pathlib import Path

import pytest

from data_prep.write import split_writer
from tests.support.worlds import tiny_circle, tiny_config
from uec_vlm.batches import draw_places
from uec_vlm.errors import CheckpointError, DataError
from uec_vlm.records import Sample
from uec_vlm.trainer.build import first_state
from uec_vlm.trainer.inputs import input_hashes, refuse_other_inputs
from uec_vlm.trainer.loop import train

TinyModel = Callable[[str], Path]


def mixture(folder: Path, *problems: str) -> dict[str, object]:
    with split_writer(folder / "train.parquet") as writer:
        for number, problem in enumerate(problems):
            writer.write(Sample(id=f"text-{number}", source="own", problem=problem, answer="1"))
    own = {"kind": "parquet", "path": str(folder / "train.parquet")}
    generated = {"kind": "geosynth", "count": 40}
    return {"kind": "mixture", "parts": [{"weight": 1, "source": generated}, {"weight": 1, "source": own}]}


def test_a_run_on_a_mixture_draws_from_all_its_parts(tiny_model: TinyModel, tmp_path: Path) -> None:
    source = mixture(tmp_path, *(f"What is {n} - {n - 1}?" for n in range(2, 8)), "long " * 3000)
    circle = tiny_circle(tiny_model("qwen2_5_vl"), "grpo", data={"train": source})
    assert len(circle.samples) == 46, "the row that is too long for a prompt is left out of its part"
    trained = [row["id"] for turn in train(circle, first_state(), last_step=2) for row in turn.rows]
    places = draw_places(circle.samples, seed=circle.settings.seed, start=0, count=8)
    assert set(trained) == {circle.samples[place].id for place in places}
    assert 0 < sum(name.startswith("text-") for name in trained) < len(trained)


def test_the_files_of_all_parts_are_among_the_inputs_of_a_run(tiny_model: TinyModel, tmp_path: Path) -> None:
    config = tiny_config(tiny_model("qwen2_5_vl"), "grpo", data={"train": mixture(tmp_path, "What is 1 + 0?")})
    before = input_hashes(config, reads_model=False)
    mixture(tmp_path, "What is 2 - 1?")
    with pytest.raises(CheckpointError, match=r"another content of data\.train\.parts\.1\.source\.path"):
        refuse_other_inputs(before, input_hashes(config, reads_model=False), place="step_1")


def test_a_part_without_a_usable_row_is_told(tiny_model: TinyModel, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.train: no row becomes a prompt"):
        tiny_circle(tiny_model("qwen2_5_vl"), "grpo", data={"train": mixture(tmp_path, "long " * 3000)})
