"""How work is shared among ranks, and what is refused, without any process."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.worlds import tiny_config
from uec_vlm.batches import cut_for_ranks, cut_rollouts
from uec_vlm.config import SftConfig, merge, parse_config
from uec_vlm.errors import ConfigError
from uec_vlm.records import Prompt, Rollout, Sample
from uec_vlm.trainer.build import device_of
from uec_vlm.trainer.combinations import Parallelism, refuse_combination, refuse_sft_combination
from uec_vlm.trainer.launch import start_accelerator
from uec_vlm.trainer.ranks import Ranks

SLOW: dict[str, Any] = {"update": {"learning_rate": 1e-6}}
SERVED = {"engine": "vllm", "vllm": {"servers": ["http://127.0.0.1:1"]}}
FOUR_BITS: dict[str, Any] = {"model": {"lora": {"rank": 4}, "quantization": "nf4"}}


def _rollouts(lengths: list[list[int]]) -> list[Rollout]:
    out = []
    for number, group in enumerate(lengths):
        sample = Sample(f"s{number}", "test", "", "")
        prompt = Prompt(sample, "", torch.arange(5) + number, torch.zeros(0, 1), torch.zeros(0, 3, dtype=torch.long))
        for length in group:
            out.append(Rollout(prompt, "", torch.arange(length), torch.zeros(length), "stop", "regular", 1.0, 0))
    return out


@pytest.mark.parametrize("ranks", [1, 2, 3, 5, 8])
def test_every_completion_is_dealt_once_and_all_ranks_make_as_many_forwards(ranks: int) -> None:
    rollouts = _rollouts([[3, 9, 2], [4], [7, 7, 7, 7], [1, 1]])
    cuts = cut_for_ranks(rollouts, budget=30, ranks=ranks)
    assert sorted(place for parts in cuts for part in parts for place in part) == list(range(len(rollouts)))
    assert len({len(parts) for parts in cuts}) == 1
    assert len(cuts) == ranks


def test_one_rank_gets_what_it_always_got() -> None:
    rollouts = _rollouts([[3, 9, 2], [4], [7, 7, 7, 7]])
    assert cut_for_ranks(rollouts, budget=30, ranks=1) == [cut_rollouts(rollouts, budget=30)]


def test_tokens_are_dealt_evenly_and_a_prompt_stays_together() -> None:
    rollouts = _rollouts([[10, 10]] * 8)
    cuts = cut_for_ranks(rollouts, budget=10**6, ranks=4)
    tokens = [sum(len(rollouts[place].completion_ids) for part in parts for place in part) for parts in cuts]
    assert tokens == [40, 40, 40, 40]
    for parts in cuts:
        assert len({rollouts[place].prompt.sample.id for part in parts for place in part}) == 2


def test_a_rank_with_nothing_still_makes_its_forwards() -> None:
    cuts = cut_for_ranks(_rollouts([[4]]), budget=30, ranks=3)
    assert sorted(cuts) == [[[]], [[]], [[0]]]


def test_shares_are_strided_and_come_back_in_order() -> None:
    assert [Ranks(rank, 3).mine(list("abcdefg")) for rank in range(3)] == [list("adg"), list("be"), list("cf")]
    assert Ranks().spread([1, 2, 3], lambda part: [value * 10 for value in part]) == [10, 20, 30]


@pytest.mark.parametrize(
    ("parallelism", "above", "reason"),
    [
        (Parallelism("zero2", "fp16", 2), {}, "float32 or bfloat16"),
        (Parallelism("one", "bf16", 1), {"model": {"dtype": "bfloat16"}}, "other numbers than sampling"),
        (Parallelism("ddp", "bf16", 2), {"model": {"dtype": "bfloat16"}}, "other numbers than sampling"),
        (Parallelism("zero3", "bf16", 2), {}, "weights would be turned into bfloat16"),
        (Parallelism("fsdp2", "no", 2), {"model": {"dtype": "bfloat16"}}, "no float32 weights"),
        (Parallelism("ddp", "no", 2), {"model": {"dtype": "bfloat16"}, **SLOW}, "would be lost"),
        (Parallelism("zero2", "no", 2), FOUR_BITS, "under zero2: it would cut or convert packed four-bit weights"),
        (Parallelism("zero3", "no", 2), FOUR_BITS, "under zero3: it would cut or convert packed four-bit weights"),
        (Parallelism("fsdp2", "no", 2), FOUR_BITS, "under fsdp2: it would cut or convert packed four-bit weights"),
        (Parallelism("one", "no", 1), {**FOUR_BITS, "rollout": SERVED}, "a server samples with other weights"),
    ],
)
def test_what_a_parallelism_cannot_train_with_is_refused_with_the_reason(
    parallelism: Parallelism, above: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        refuse_combination(tiny_config("model", **above), parallelism)


def test_supervised_training_does_not_lose_its_updates_either() -> None:
    tree = {
        "model": {"path": "m", "dtype": "bfloat16"},
        "data": {"train": {"kind": "geosynth", "count": 4}, "target": "{answer}"},
        "sft": {"learning_rate": 1e-5},
    }
    with pytest.raises(ConfigError, match=r"sft\.learning_rate = 1e-05: .*would be lost"):
        refuse_sft_combination(parse_config(tree, SftConfig, place="here", name="run"))
    with_adapter = merge(tree, {"model": {"lora": {"rank": 2}}})
    refuse_sft_combination(parse_config(with_adapter, SftConfig, place="here", name="run"))


def test_supervised_training_has_no_keys_that_it_would_not_read() -> None:
    tree = {"run": {"steps": 500}, "data": {"train": {"kind": "geosynth", "count": 4}, "target": "{answer}"}}
    with pytest.raises(ConfigError, match=r"run\.steps"):
        parse_config(tree, SftConfig, place="here", name="run")


@pytest.mark.parametrize(
    ("parallelism", "above"),
    [
        (Parallelism("one", "no", 1), {}),
        (Parallelism("ddp", "no", 4), {"model": {"dtype": "bfloat16", "lora": {"rank": 4}}, **SLOW}),
        (Parallelism("zero2", "bf16", 4), {"model": {"dtype": "bfloat16"}, **SLOW}),
        (Parallelism("fsdp2", "bf16", 4), {"model": {"dtype": "bfloat16"}, **SLOW}),
        (Parallelism("zero3", "no", 4), SLOW),
        (Parallelism("one", "no", 1), FOUR_BITS),
        (Parallelism("ddp", "no", 4), FOUR_BITS),
        (Parallelism("zero3", "no", 4), {"model": {"reference": "offloaded"}, **SLOW}),
    ],
)  # fmt: skip
def test_what_a_parallelism_can_train_with_passes(parallelism: Parallelism, above: dict[str, Any]) -> None:
    refuse_combination(tiny_config("model", **above), parallelism)


def test_accumulation_by_accelerate_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would divide every gradient; the variable is what its launcher sets."""
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "8")
    with pytest.raises(ConfigError, match="gradient_accumulation_steps = 8"):
        start_accelerator("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    for begin in (start_accelerator, device_of):
        with pytest.raises(ConfigError, match="torch sees no GPU here"):
            begin("cuda")


def test_four_bits_without_their_library_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "bitsandbytes" else find(name, *rest)
    )
    with pytest.raises(ConfigError, match=r"needs bitsandbytes, which is not installed.*uec-vlm\[qlora\]"):
        refuse_combination(tiny_config("model", **FOUR_BITS), Parallelism("one", "no", 1))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ({"quantization": "nf4"}, "four-bit weights take no gradient"),
        ({"reference": "offloaded", "lora": {"rank": 4}}, "there is no copy to offload"),
    ],
)
def test_what_contradicts_itself_is_refused_in_the_configuration(model: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        tiny_config("model", model=model)


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[3] / "configs" / "accelerate").glob("*.yaml")), ids=str)
def test_every_accelerate_file_parses_as_accelerate_reads_it(path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(path))
    assert config.num_processes >= 1
    assert config.mixed_precision in ("no", "bf16")
