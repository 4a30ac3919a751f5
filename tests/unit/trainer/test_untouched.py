"""The evaluation of the untouched model is measured once for all runs that start alike, and only for those."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from uec_vlm.config import RunConfig, config_folder, dump_config, load_config
from uec_vlm.errors import ConfigError, RunError
from uec_vlm.records import Sample
from uec_vlm.trainer.evaluate import Counts, Evaluation, EvaluationSettings, HeldOut
from uec_vlm.trainer.resume import refuse_other_run
from uec_vlm.trainer.untouched import evaluated_once, key_of

SAMPLES = tuple(Sample(id=str(n), problem="?", answer="1", images=(), source="test") for n in range(3))
SETTINGS = EvaluationSettings(split="test", samples=4, temperature=1.0, max_new_tokens=9, seed=3, controls=("blank",))
HELD_OUT = HeldOut(SAMPLES, SETTINGS)


def _config(*changes: str) -> RunConfig:
    return load_config(config_folder() / "quickstart.yaml", changes)


def _evaluation(*, controls: tuple[str, ...] = ("blank",)) -> Evaluation:
    counts = Counts(ids=("0", "1"), correct=(0, 1), formatted=(4, 4), correct_formatted=(0, 1), tokens=30, logprob=-3.0)
    return Evaluation(
        split="test", step=0, samples=4, temperature=1.0, ids=("0", "1", "2"), correct=(1, 2, 3), formatted=(4, 4, 4),
        correct_formatted=(1, 2, 3), tokens=60, logprob=-6.0, controls=dict.fromkeys(controls, counts),
    )  # fmt: skip


class Measured:
    """Counts how often it is asked to evaluate."""

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation, self.times = evaluation, 0

    def __call__(self) -> Evaluation:
        self.times += 1
        return self.evaluation


def test_a_second_run_takes_the_answers_of_the_first(tmp_path: Path) -> None:
    measure = Measured(_evaluation())
    first = evaluated_once(str(tmp_path / "start"), _config(), HELD_OUT, measure)
    other_arm = _config("algorithm=grpo", "rollout.completions_per_prompt=10", "update.learning_rate=1e-5")
    second = evaluated_once(str(tmp_path / "start"), other_arm, HELD_OUT, measure)
    assert measure.times == 1
    assert second == first == _evaluation()


def test_without_a_folder_every_run_measures() -> None:
    measure = Measured(_evaluation())
    for _ in range(2):
        evaluated_once(None, _config(), HELD_OUT, measure)
    assert measure.times == 2


def test_what_an_older_version_kept_is_measured_anew(tmp_path: Path) -> None:
    measure, folder = Measured(_evaluation()), tmp_path / "kept"
    evaluated_once(str(folder), _config(), HELD_OUT, measure)
    (file,) = folder.glob("*.json")
    row = json.loads(file.read_text())
    del row["logprob"]
    file.write_text(json.dumps(row))
    assert evaluated_once(str(folder), _config(), HELD_OUT, measure) == _evaluation()
    assert measure.times == 2


@pytest.mark.parametrize(
    "change", ["model.dtype=bfloat16", "data.test.seed=4", "rollout.batch_tokens=1000", "reward.format_weight=0.1"]
)
def test_another_start_has_another_key(change: str) -> None:
    assert key_of(_config(change), HELD_OUT) != key_of(_config(), HELD_OUT)


@pytest.mark.parametrize("change", [{"seed": 4}, {"samples": 5}, {"split": "validation"}, {"temperature": 0.5}])
def test_other_settings_have_another_key(change: dict[str, object]) -> None:
    other = HeldOut(SAMPLES, replace(SETTINGS, **change))  # type: ignore[arg-type]
    assert key_of(_config(), other) != key_of(_config(), HELD_OUT)
    assert key_of(_config(), HeldOut(SAMPLES[:2], SETTINGS)) != key_of(_config(), HELD_OUT)


def test_a_run_that_asks_for_fewer_controls_takes_them_and_one_that_asks_for_more_measures(tmp_path: Path) -> None:
    folder, config = str(tmp_path), _config()
    evaluated_once(folder, config, HELD_OUT, Measured(_evaluation()))
    none = HeldOut(SAMPLES, replace(SETTINGS, controls=()))
    assert evaluated_once(folder, config, none, Measured(_evaluation())).controls == {}
    more = HeldOut(SAMPLES, replace(SETTINGS, controls=("blank", "shuffled")))
    measure = Measured(_evaluation(controls=("blank", "shuffled")))
    assert set(evaluated_once(folder, config, more, measure).controls) == {"blank", "shuffled"}
    assert measure.times == 1


def test_a_run_goes_on_with_another_folder_for_its_start_but_not_with_another_seed(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(dump_config(_config()))
    refuse_other_run(_config("evaluate.start_cache=elsewhere", "evaluate.test_checkpoint=last"), tmp_path)
    with pytest.raises(
        ConfigError, match=r"other settings: model\.lora = None \(now .*32.*\), run\.seed = 0 \(now 1\)\. "
    ):
        refuse_other_run(_config("run.seed=1", "model.lora={}"), tmp_path)


def test_a_run_whose_configuration_is_half_written_does_not_go_on(tmp_path: Path) -> None:
    whole = dump_config(_config())
    (tmp_path / "config.yaml").write_text(whole[: whole.index("families:") + len("families")])
    with pytest.raises(RunError, match=r"(?s)config\.yaml .*copy it again"):
        refuse_other_run(_config(), tmp_path)


def test_of_two_that_begin_at_once_one_measures(tmp_path: Path) -> None:
    slow, config = Measured(_evaluation()), _config()

    def measure() -> Evaluation:
        time.sleep(0.3)
        return slow()

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(evaluated_once, str(tmp_path), config, HELD_OUT, measure) for _ in range(4)]
        assert [one.result() for one in asked] == [_evaluation()] * 4
    assert slow.times == 1
