"""A study file becomes cells; what cannot work is named before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from uec_vlm.config import config_folder, load_config, load_sft_config
from uec_vlm.errors import ConfigError
from uec_vlm.study.plan import cell_config, config_hash, load_study, main_cells, tuning_cells
from uec_vlm.study.runner import first_run
from uec_vlm.trainer.build import resolve

SHIPPED = config_folder() / "study" / "geosynth.yaml"


def _study(folder: Path, **above: Any) -> Path:
    tree = {
        "name": "tiny", "base": str(config_folder() / "quickstart.yaml"), "results": "r", "runs": "s",
        "reference": "grpo", "main": ["grpo", "uec"],
        "tuning": {"learning_rates": [1e-5, "1e-4"], "steps": 3, "seed": 7, "set": {"data.test": None}},
        "arms": {
            "grpo": {"algorithm": "grpo", "seeds": 2, "set": {"objective.exploration": {"name": "none"}}},
            "uec": {"algorithm": "uec", "seeds": 1, "rate_of": "grpo"},
        },
    }  # fmt: skip
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump({**tree, **above}))
    return file


def test_cells_are_balanced_over_arms_and_carry_the_tuned_rate(tmp_path: Path) -> None:
    study = load_study(_study(tmp_path))
    assert [cell.name for cell in tuning_cells(study)] == ["tuning-grpo-lr1e-05-seed7", "tuning-grpo-lr0.0001-seed7"]
    cells = main_cells(study, {"grpo": 3e-4})
    assert [cell.name for cell in cells] == ["main-grpo-seed0", "main-uec-seed0", "main-grpo-seed1"]
    config = cell_config(study, tmp_path, cells[1])
    assert (config.algorithm, config.update.learning_rate, config.run.seed) == ("uec", 3e-4, 0)
    tuned = cell_config(study, tmp_path, tuning_cells(study)[0])
    assert (tuned.run.steps, tuned.data.test, tuned.run.seed) == (3, None, 7)


def test_the_main_arms_run_first(tmp_path: Path) -> None:
    arms = {
        "grpo": {"algorithm": "grpo", "seeds": 2}, "qae": {"algorithm": "qae", "seeds": 1},
        "uec": {"algorithm": "uec", "seeds": 2},
    }  # fmt: skip
    cells = main_cells(load_study(_study(tmp_path, arms=arms)), {})
    assert [f"{cell.arm} {cell.seed}" for cell in cells] == ["grpo 0", "uec 0", "grpo 1", "uec 1", "qae 0"]


def test_the_hash_follows_what_determines_the_numbers(tmp_path: Path) -> None:
    study = load_study(_study(tmp_path))
    one, _, other = (cell_config(study, tmp_path, cell) for cell in main_cells(study, {}))
    elsewhere = one.model_copy(update={"run": one.run.model_copy(update={"dir": "x", "trackers": ()})})
    assert config_hash(one) == config_hash(elsewhere)
    spelled_out = one.model_copy(update={"evaluate": one.evaluate.model_copy(update={"test_samples": 4})})
    assert config_hash(one) == config_hash(spelled_out)  # 4 is the default
    assert config_hash(one) != config_hash(other)


@pytest.mark.parametrize(
    ("above", "told"),
    [
        ({"reference": "grpa"}, ["reference names ['grpa']", "['grpo', 'uec']"]),
        ({"mian": []}, ["mian", "did you mean 'main'"]),
        ({"arms": {"uec": {"algorithm": "uec", "seeds": 1, "rate_of": "uec"}}, "reference": "uec", "main": ["uec"]},
         ["arms.uec.rate_of = 'uec'", "its own rate"]),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_study_is_named(above: dict[str, Any], told: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load_study(_study(tmp_path, **above))
    for part in told:
        assert part in str(error.value)


def test_a_study_laid_over_another_says_only_what_differs(tmp_path: Path) -> None:
    below = _study(tmp_path, shared={"run.steps": 3, "rollout.prompts_per_step": 4})
    file = tmp_path / "above.yaml"
    file.write_text(
        f"extends: {below.name}\nname: above\nmain: [grpo]\nshared: {{run.steps: 7}}\n"
        "arms: {grpo: {seeds: 1}, uec: null}\n"
    )
    study, first = load_study(file), load_study(below)
    assert (study.name, study.main, study.shared) == ("above", ("grpo",), {**first.shared, "run.steps": 7})
    assert study.arms == {"grpo": first.arms["grpo"].model_copy(update={"seeds": 1})}
    assert study.tuning == first.tuning


def test_a_study_that_extends_itself_is_refused(tmp_path: Path) -> None:
    above = tmp_path / "above.yaml"
    above.write_text(f"extends: {_study(tmp_path, extends=above.name).name}")
    with pytest.raises(ConfigError, match=r"above\.yaml: extends leads back"):
        load_study(above)


def test_a_cell_that_cannot_work_is_named(tmp_path: Path) -> None:
    study = load_study(_study(tmp_path, shared={"update.learning_rat": 1}))
    with pytest.raises(ConfigError, match=r"cell main-grpo-seed0: .*(?s:.)*learning_rat"):
        cell_config(study, tmp_path, main_cells(study, {})[0])


def test_every_cell_of_the_shipped_studies_is_a_configuration_that_resolves() -> None:
    for file in sorted(SHIPPED.parent.glob("*.yaml")):
        study = load_study(file)
        for cell in [*tuning_cells(study), *main_cells(study, {})]:
            config = resolve(cell_config(study, file.parent, cell))
            explores = config.objective["exploration"]["name"] != "none"
            if "grpo" in config.algorithm or cell.arm == "kl_cov":
                assert explores == (cell.arm == "grpo_explore")


def test_the_arms_of_the_shipped_study_share_what_must_be_shared() -> None:
    study = load_study(SHIPPED)
    configs = {c.arm: cell_config(study, SHIPPED.parent, c) for c in main_cells(study, {}) if c.seed == 0}
    assert len(configs) == 17
    assert {c.rollout.prompts_per_step for c in configs.values()} == {24}
    assert {c.rollout.max_new_tokens for c in configs.values()} == {96}
    assert {c.objective["kl"]["coef"] for c in configs.values()} == {0.01}
    clipped = [c.objective["policy_loss"] for c in configs.values() if c.objective["policy_loss"]["name"] != "kl_cov"]
    assert {section["dual_clip"] for section in clipped} == {3.0}
    assert {(c.evaluate.validation_problems, c.evaluate.validation_samples) for c in configs.values()} == {(408, 16)}


def test_an_arm_is_looked_at_as_its_first_run_will_be(tmp_path: Path) -> None:
    base, pairs = first_run(_study(tmp_path), "grpo")
    config = load_config(base, pairs)
    assert (config.algorithm, config.run.seed, config.objective["exploration"]) == ("grpo", 0, {"name": "none"})
    assert config.run.dir == "s/main-grpo-seed0"
    assert load_config(base, (*pairs, "run.steps=2")).run.steps == 2, "what a user adds comes last"
    with pytest.raises(ConfigError, match=r"--arm gpro: the study's arms are grpo, uec"):
        first_run(_study(tmp_path), "gpro")


def test_a_file_that_is_for_another_command_is_refused_by_that_name(tmp_path: Path) -> None:
    readers: dict[str, Callable[[Path], object]] = {"train": load_config, "sft": load_sft_config, "study": load_study}
    run, sft = config_folder() / "quickstart.yaml", config_folder() / "sft_geometry3k_starter.yaml"
    for command, file in {"train": run, "sft": sft, "study": _study(tmp_path)}.items():
        for other in readers.keys() - {command}:
            with pytest.raises(ConfigError, match=rf"{file.name} is .*: `uec-vlm {command}` runs it"):
                readers[other](file)


def test_a_section_that_does_not_belong_is_named_without_its_whole_content(tmp_path: Path) -> None:
    file = _study(tmp_path, further={f"key_{i}": i for i in range(100)})
    with pytest.raises(ConfigError, match=r"further = \{'key_0': 0, .*\.\.\.: there is no such key") as refused:
        load_study(file)
    assert len(str(refused.value)) < 400


def test_the_arm_uec_union_is_the_preset_of_that_name() -> None:
    base, pairs = first_run(SHIPPED.parent / "geosynth_rarest.yaml", "uec_union")
    arm = resolve(load_config(base, pairs)).objective
    budget = ("objective.exploration.completions=20", "objective.exploration.max_rollouts=120")
    preset = resolve(load_config(base, ("algorithm=uec_union", *budget))).objective
    assert preset == arm
