"""The configuration refuses by key, value, reason and remedy, and every shipped file is accepted."""

from pathlib import Path

import pytest
import yaml

from uec_vlm.config import (
    LoraSection,
    RunConfig,
    config_folder,
    dump_config,
    load_config,
    load_sft_config,
    merge,
    parse_config,
    preset,
)
from uec_vlm.errors import ConfigError
from uec_vlm.sections import read_yaml
from uec_vlm.trainer.build import resolve

SHIPPED = sorted(p for p in config_folder().glob("*.yaml"))
LORA = LoraSection(rank=2)
MINIMAL = """
algorithm: uec
data:
  train: {kind: geosynth, count: 10}
  validation: {kind: geosynth, count: 10}
"""


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", [p for p in SHIPPED if not p.name.startswith("sft")], ids=lambda p: p.stem)
def test_every_shipped_training_configuration_is_accepted(path: Path) -> None:
    config = resolve(load_config(path))
    again = parse_config(yaml.safe_load(dump_config(config)), RunConfig, place="dump", name="other")
    assert again == config


@pytest.mark.parametrize("path", [p for p in SHIPPED if p.name.startswith("sft")], ids=lambda p: p.stem)
def test_every_shipped_sft_configuration_is_accepted(path: Path) -> None:
    assert load_sft_config(path).sft.steps > 0


@pytest.mark.parametrize("name", sorted(p.stem for p in (config_folder() / "presets").glob("*.yaml")))
def test_every_preset_runs_by_its_name(name: str, tmp_path: Path) -> None:
    config = resolve(load_config(_write(tmp_path, MINIMAL), [f"algorithm={name}"]))
    assert config.algorithm == name


def test_values_lie_over_the_preset_over_the_defaults(tmp_path: Path) -> None:
    config = load_config(_write(tmp_path, MINIMAL), ["objective.kl.coef=0.5", "run.seed=7"])
    assert config.objective["kl"]["coef"] == 0.5
    assert config.objective["kl"]["name"] == preset("uec")["objective"]["kl"]["name"]
    assert config.run.seed == 7
    assert config.run.name == "run"


def test_yaml_reads_1e_5_as_a_string_and_the_type_makes_it_a_number(tmp_path: Path) -> None:
    config = load_config(_write(tmp_path, MINIMAL + "update: {learning_rate: 1e-5}\n"))
    assert config.update.learning_rate == 1e-5


def test_another_name_replaces_the_whole_section() -> None:
    below = {"reduction": {"name": "constant", "length": 64}}
    assert merge(below, {"reduction": {"name": "token_mean"}}) == {"reduction": {"name": "token_mean"}}
    assert merge(below, {"reduction": {"length": 5}}) == {"reduction": {"name": "constant", "length": 5}}


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("update.learning_rat=1e-5", ["update.learning_rat", "did you mean 'learning_rate'"]),
        ("update.learning_rate=fast", ["update.learning_rate = 'fast'"]),
        ("rollout.completions_per_prompt=1", ["rollout.completions_per_prompt = 1", "greater than or equal to 2"]),
        ("update.sequences_per_optimizer_step=7", ["= 7 does not divide", "divisor of 40"]),
        ("data.prompt.template=hello", ["no {problem}"]),
        ("data.prompt.min_pixels=99999999", ["is above max_pixels"]),
        ("algorithm=ucc", ["algorithm = 'ucc'", "'uec'"]),
        ("objective.policy_loss.clip_hi=0.3", ["objective.policy_loss.clip_hi", "clip_high"]),
        ("objective.exploration.temperature=-1", ["objective.exploration.temperature"]),
        ("rollout.top_p=0.9", ["rollout.top_p = 0.9", "Set rollout.top_p = 1.0"]),
        ("reward.format=xml", ["reward.format = 'xml'"]),
        ("reward.accuracy_weight=0", ["both weights are 0", "set accuracy_weight = 1.0"]),
        ("nonsense", ["'nonsense' is no override", "KEY=VALUE"]),
        ("data.prompt.template={problem} Think: first.", ["is no YAML", "quotes of its own"]),
        ("update.betas=[0.9, 1.0]", ["update.betas.1 = 1.0", "less than 1"]),
        ("data.train.kind=null", ["data.train.kind", "geosynth, parquet, mixture"]),
        ("run.trackers=wandb", ["run.trackers = 'wandb'", "a list", "[wandb]"]),
        ("model.lora=true", ["model.lora = True", "a section", "'rank'"]),
        ("run.steps=true", ["run.steps = True: a truth value stands where a number is wanted"]),
        ("run.steps=yes", ["run.steps = True: a truth value"]),
        ("update.learning_rate=true", ["update.learning_rate = True: a truth value"]),
        ("update.sequences_per_optimizer_step=true", ["sequences_per_optimizer_step = True: a truth value"]),
        ("update.betas=[false, 0.9]", ["update.betas = [False, 0.9]: a truth value"]),
        ("data.train.levels=[true]", ["data.train.levels = [True]: a truth value"]),
        ("reward.functions={mine.py:one: true}", ["reward.functions = {'mine.py:one': True}: a truth value"]),
        ("model.lora={rank: true}", ["model.lora.rank = True: a truth value"]),
    ],
)
def test_what_is_wrong_is_named(override: str, told: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        resolve(load_config(_write(tmp_path, MINIMAL), [override]))
    for part in told:
        assert part in str(error.value)


def test_truth_values_and_numbers_stay_what_they_are(tmp_path: Path) -> None:
    told = ["data.prefetch=false", "run.steps=3.0", "run.seed='4'", "update.betas=[0, 0.9]", "model.lora={rank: 2}"]
    config = load_config(_write(tmp_path, MINIMAL), [*told, "data.train.levels=[1, 2]", "data.prompt.four_choices=yes"])
    assert (config.data.prefetch, config.run.steps, config.run.seed) == (False, 3, 4)
    assert (config.update.betas, config.model.lora, config.data.prompt.four_choices) == ((0.0, 0.9), LORA, True)


def test_a_missing_file_and_broken_yaml_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such configuration file"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_config(_write(tmp_path, "a: [1"))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("algorithm: uec\nrun: {name: 'prüfung'}\n".encode("latin-1"), "line 2: byte 0xfc is no UTF-8; save"),
        (b"run: {name: 2024-13-45}\n", "is not valid YAML: month must be in"),
        (b"run: \0", "is not valid YAML"),
        (b"run: {name: [", "is not valid YAML"),
    ],
)
def test_a_file_that_is_no_text_is_refused_by_its_line(data: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=rf"run\.yaml {told}"):
        load_config(path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("run: {steps: 2}\nalgorithm: uec\nrun: {seed: 4}\n", "line 3: the key 'run' was given in line 1"),
        ("run:\n  steps: 2\n  'steps': 3\n", "line 3: the key 'steps' was given in line 2"),
        ("a: [{1: x, 1: y}]\n", "line 1: the key '1' was given in line 1"),
    ],
)
def test_a_key_that_stands_twice_is_refused_by_file_line_and_name(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"run\.yaml .*{told}"):
        load_config(_write(tmp_path, text))
    with pytest.raises(ConfigError, match="'steps' was given in line 1 already"):
        load_config(_write(tmp_path, MINIMAL), ["run={steps: 2, steps: 3}"])


def test_a_key_may_replace_what_it_merges_in(tmp_path: Path) -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b {<<: *a, x: 2}\nc: {<<: *b, x: 3, z: 1}\n<<: *b\n"
    tree = read_yaml(_write(tmp_path, text))
    assert tree["b"] == {"x": 2, "y": 1}
    assert tree["c"] == {"x": 3, "y": 1, "z": 1}
    assert (tree["x"], tree["y"]) == (2, 1)


def test_a_run_that_is_called_otherwise_keeps_its_other_settings(tmp_path: Path) -> None:
    config = load_config(_write(tmp_path, MINIMAL), ["run.steps=3", "run.dir=here", "run.name=mine"])
    assert (config.run.name, config.run.steps, config.run.dir) == ("mine", 3, "here")
