"""What every rollout engine must do; run over each entry of ENGINES that has a builder here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from tests.support.readings import prompts_for
from tests.support.tiny_models import TEXT_FAMILIES, VISION_FAMILIES
from tests.support.vllm_real import WHY_NOT, start_settings, vllm_python
from uec_vlm.batches import collate_completions
from uec_vlm.config import PromptSection, RolloutSection
from uec_vlm.errors import EngineError
from uec_vlm.geosynth.asset import starter_folder
from uec_vlm.policy import Policy, load_policy, prefill, save_untied, score
from uec_vlm.records import Rollout
from uec_vlm.rollouts import ENGINES, RolloutEngine, SamplingSettings
from uec_vlm.rollouts.vllm import VLLMEngine, VLLMSettings
from uec_vlm.trainer.build import ENGINE_BUILDERS
from uec_vlm.trainer.engines import picture_encoder

TinyModel = Callable[[str], Path]

PIXELS = PromptSection(min_pixels=3136, max_pixels=12544)  # those of the starter policy's processor
SERVED: list[VLLMEngine] = []  # the engine that started the one real server, while the module's tests run


def served(policy: Policy) -> RolloutEngine:
    """An engine on the real server."""
    settings = VLLMSettings(servers=SERVED[0].servers, pixel_limits=(PIXELS.min_pixels, PIXELS.max_pixels))
    return ENGINES["vllm"]()(policy, picture_encoder(policy, PIXELS), save_untied, settings)


BUILDERS: dict[str, Callable[..., RolloutEngine]] = {
    "hf": lambda policy, **settings: ENGINES["hf"]()(policy, prefill, **settings),
    "hf, the model's own forward": lambda policy, **settings: ENGINES["hf"]()(policy, prefill, lean=False, **settings),
    "vllm": served,
}
WARM = SamplingSettings(temperature=1.2, max_new_tokens=20)
# The tiny models are so flat that completions rarely end by themselves: their end tokens get this much more.
END_PUSH = 2.5

pytestmark = pytest.mark.parametrize("name", list(BUILDERS))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VLLMEngine]:
    """The real server, started once; it serves the starter policy, since a policy with hooks cannot be sent."""
    folder = tmp_path_factory.mktemp("vllm")
    policy = load_policy(starter_folder())
    settings = VLLMSettings(
        start=start_settings(folder / "server.log"),
        model=str(save_untied(policy, folder / "served")),
        max_model_len=512,
        images=2,
        pixel_limits=(PIXELS.min_pixels, PIXELS.max_pixels),
    )
    SERVED.append(VLLMEngine(policy, picture_encoder(policy, PIXELS), save_untied, settings))
    yield SERVED[0]
    SERVED.pop().close()


@pytest.fixture(autouse=True)
def _environment(name: str, request: pytest.FixtureRequest) -> None:
    if name != "vllm":
        return
    if vllm_python() is None:
        pytest.skip(WHY_NOT)
    if {"family"} & set(request.fixturenames) and request.getfixturevalue("family") != "qwen2_5_vl":
        pytest.skip("the real server serves one model")
    request.getfixturevalue("server")


def opened(tiny_model: TinyModel, family: str, name: str) -> Policy:
    """The policy of a family for this engine."""
    return load_policy(starter_folder() if name == "vllm" else tiny_model(family))


def push_logits(policy: Policy, name: str, ids: tuple[int, ...], amount: float) -> Any:
    """Raise the logits of these tokens at every position, in memory: a server is sent weights alone."""
    if name == "vllm":
        pytest.skip("a server cannot be given a policy with hooks")

    def push(_module: Any, _inputs: Any, logits: torch.Tensor) -> torch.Tensor:
        raised = logits.clone()
        raised[..., list(ids)] += amount
        return raised

    return policy.model.get_output_embeddings().register_forward_hook(push)


@pytest.fixture
def policy(tiny_model: TinyModel, name: str) -> Policy:
    policy = opened(tiny_model, "qwen2_5_vl", name)
    if name != "vllm":  # the starter policy ends by itself
        push_logits(policy, name, policy.end_ids, END_PUSH)
    return policy


def sample(policy: Policy, name: str, *, completions: int = 4, prompts=None, sampling=WARM, **settings: Any) -> Any:
    engine = BUILDERS[name](policy, **settings)
    chosen = prompts_for(policy) if prompts is None else prompts
    seeds = [sum(map(ord, prompt.sample.id)) for prompt in chosen]
    return engine.generate(chosen, completions=completions, sampling=sampling, seeds=seeds)


def ids_of(groups: list[list[Rollout]]) -> list[list[list[int]]]:
    return [[rollout.completion_ids.tolist() for rollout in group] for group in groups]


def test_every_engine_is_tested(name: str) -> None:
    assert set(ENGINES) <= set(BUILDERS)


def test_every_engine_can_be_configured(name: str) -> None:
    assert set(ENGINES) == set(ENGINE_BUILDERS) == set(get_args(RolloutSection.model_fields["engine"].annotation))


def test_rollouts_are_prompt_major_and_complete(policy: Policy, name: str) -> None:
    prompts = prompts_for(policy)
    groups = sample(policy, name, prompts=prompts)
    assert [len(group) for group in groups] == [4] * len(prompts)
    finishes = set()
    for prompt, group in zip(prompts, groups, strict=True):
        for rollout in group:
            ids = rollout.completion_ids
            assert rollout.prompt is prompt
            assert 1 <= len(ids) == len(rollout.behaviour_logprobs) <= WARM.max_new_tokens
            assert (
                ids.dtype == torch.long
                and int(ids.min()) >= 0
                and int(ids.max()) < policy.model.config.get_text_config().vocab_size
            )
            assert rollout.behaviour_logprobs.dtype == torch.float32 and float(rollout.behaviour_logprobs.max()) <= 0
            ends = [place for place, token in enumerate(ids.tolist()) if token in policy.end_ids]
            assert ends == ([len(ids) - 1] if rollout.finish == "stop" else [])
            assert rollout.finish == "stop" or len(ids) == WARM.max_new_tokens
            assert rollout.text == policy.tokenizer.decode(ids, skip_special_tokens=True)
            assert (rollout.source, rollout.temperature, rollout.policy_version) == ("regular", 1.2, 0)
            finishes.add(rollout.finish)
    assert finishes == {"stop", "length"}


@pytest.mark.parametrize("family", VISION_FAMILIES + TEXT_FAMILIES)
def test_behaviour_log_probabilities_are_the_scores(tiny_model: TinyModel, family: str, name: str) -> None:
    policy = opened(tiny_model, family, name)
    if name != "vllm":
        push_logits(policy, name, policy.end_ids, END_PUSH)
    rollouts = [rollout for group in sample(policy, name) for rollout in group]
    batch = collate_completions([r.completion_ids for r in rollouts], [r.prompt for r in rollouts])
    with torch.no_grad():
        scores = score(policy, batch, temperature=1.2)
    behaviour = pad_sequence([rollout.behaviour_logprobs for rollout in rollouts], batch_first=True)
    torch.testing.assert_close(behaviour, scores.logprobs, rtol=0, atol=1e-4)


def test_banned_tokens_are_never_sampled_however_likely(policy: Policy, name: str) -> None:
    push_logits(policy, name, policy.banned_ids, 50.0)
    for temperature in (0.0, 1.2):
        groups = sample(policy, name, sampling=SamplingSettings(temperature=temperature, max_new_tokens=20))
        assert not {token for group in ids_of(groups) for ids in group for token in ids} & set(policy.banned_ids)
    rollouts = [rollout for group in groups for rollout in group]
    batch = collate_completions([r.completion_ids for r in rollouts], [r.prompt for r in rollouts])
    with torch.no_grad():
        scores = score(policy, batch, temperature=1.2)
    behaviour = pad_sequence([rollout.behaviour_logprobs for rollout in rollouts], batch_first=True)
    torch.testing.assert_close(behaviour, scores.logprobs, rtol=0, atol=1e-4)


def test_the_same_seeds_give_the_same_and_others_others(policy: Policy, name: str) -> None:
    prompts = prompts_for(policy)
    once, again = ids_of(sample(policy, name)), ids_of(sample(policy, name))
    assert once == again
    assert all(len({tuple(ids) for ids in group}) == 4 for group in once)
    engine = BUILDERS[name](policy)
    equal_seeds = ids_of(engine.generate([prompts[2]] * 2, completions=2, sampling=WARM, seeds=[7, 7]))
    other_seeds = ids_of(engine.generate([prompts[2]] * 2, completions=2, sampling=WARM, seeds=[7, 8]))
    assert equal_seeds[0] == equal_seeds[1] == other_seeds[0] != other_seeds[1]


def test_a_prompt_gets_the_same_whatever_shares_its_batch(policy: Policy, name: str) -> None:
    prompts = prompts_for(policy)
    together = ids_of(sample(policy, name, prompts=prompts))
    assert ids_of(sample(policy, name, prompts=prompts[::-1])) == together[::-1]
    for prompt, group in zip(prompts, together, strict=True):
        assert ids_of(sample(policy, name, prompts=[prompt], completions=4)) == [group]
        assert ids_of(sample(policy, name, prompts=[prompt], completions=2)) == [group[:2]]


def test_a_longer_limit_only_continues(policy: Policy, name: str) -> None:
    short = ids_of(sample(policy, name, sampling=SamplingSettings(temperature=1.2, max_new_tokens=5)))
    long = ids_of(sample(policy, name))
    assert [[ids[:5] for ids in group] for group in long] == short != long


@pytest.mark.parametrize("family", [*VISION_FAMILIES, "qwen2", "llama"])
def test_greedy_is_what_generate_does(tiny_model: TinyModel, family: str, name: str) -> None:
    policy = opened(tiny_model, family, name)
    prompts = prompts_for(policy)
    found = ids_of(sample(policy, name, completions=1, sampling=SamplingSettings(temperature=0.0, max_new_tokens=12)))
    for prompt, group in zip(prompts, found, strict=True):
        ids = prompt.token_ids.unsqueeze(0)
        extra: dict[str, Any] = {}
        if len(prompt.image_grid_thw):
            types = (ids == policy.processor.image_token_id).long()
            extra = {"pixel_values": prompt.pixel_values, "image_grid_thw": prompt.image_grid_thw}
            extra |= {"mm_token_type_ids": types}
        expected = policy.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=12,
            suppress_tokens=list(policy.banned_ids) or None,
            **extra,
        )
        assert group == [expected[0, ids.shape[1] :].tolist()]


def test_greedy_rollouts_were_drawn_with_certainty(policy: Policy, name: str) -> None:
    groups = sample(policy, name, completions=2, sampling=SamplingSettings(temperature=0.0, max_new_tokens=6))
    for one, other in groups:
        assert torch.equal(one.completion_ids, other.completion_ids) and not one.behaviour_logprobs.any()


def test_a_completion_may_be_the_end_token_alone(policy: Policy, name: str) -> None:
    push_logits(policy, name, policy.end_ids[:1], 100.0)
    for group in sample(policy, name):
        for rollout in group:
            assert rollout.completion_ids.tolist() == [policy.end_ids[0]]
            assert (rollout.text, rollout.finish) == ("", "stop")


def test_a_nucleus_is_drawn_from_and_renormalised(policy: Policy, name: str) -> None:
    rollouts = sample(policy, name, sampling=SamplingSettings(temperature=1.0, top_p=0.2, max_new_tokens=8))[0]
    full = score(
        policy, collate_completions([r.completion_ids for r in rollouts], [r.prompt for r in rollouts]), temperature=1.0
    )
    for row, rollout in enumerate(rollouts):
        gain = rollout.behaviour_logprobs - full.logprobs[row, : len(rollout.completion_ids)].detach()
        # A set with at least .2 and less than .2 + its last token's probability is divided by what it holds.
        assert float(gain.max()) <= -torch.log(torch.tensor(0.2)) + 1e-4
        assert float(gain.min()) > 0


def test_new_weights_take_effect_and_are_counted(policy: Policy, tiny_model: TinyModel, name: str) -> None:
    engine, prompts = BUILDERS[name](policy), prompts_for(policy)
    seeds = [0] * len(prompts)
    old = engine.generate(prompts, completions=2, sampling=WARM, seeds=seeds)
    changed = opened(tiny_model, "qwen2_5_vl", name)
    with torch.no_grad():
        for parameter in changed.model.parameters():
            parameter.mul_(1.2)
    engine.load_weights(changed)
    assert engine.policy_version == 1
    new = engine.generate(prompts, completions=2, sampling=WARM, seeds=seeds, source="extra")
    assert ids_of(new) != ids_of(old)
    assert {(r.policy_version, r.source) for group in new for r in group} == {(1, "extra")}
    engine.load_weights(policy, version=7)
    assert engine.policy_version == 7
    assert ids_of(engine.generate(prompts, completions=2, sampling=WARM, seeds=seeds)) == ids_of(old)


def test_nothing_in_gives_nothing_out_and_misfits_are_refused(policy: Policy, name: str) -> None:
    engine, prompts = BUILDERS[name](policy), prompts_for(policy)
    assert engine.generate([], completions=3, sampling=WARM, seeds=[]) == []
    with pytest.raises(ValueError, match="1 seeds for 4 prompts"):
        engine.generate(prompts, completions=3, sampling=WARM, seeds=[1])
    with pytest.raises(ValueError, match="completions = 0"):
        engine.generate(prompts[:1], completions=0, sampling=WARM, seeds=[1])
    for wrong in ({"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.1}, {"max_new_tokens": 0}):
        with pytest.raises(ValueError, match="need temperature"):
            SamplingSettings(**wrong)


def test_weights_that_have_diverged_are_told(policy: Policy, name: str) -> None:
    push_logits(policy, name, (5,), float("nan"))
    with pytest.raises(EngineError, match="not finite"):
        sample(policy, name)


def test_rollouts_carry_no_gradient_and_the_mode_is_restored(policy: Policy, name: str) -> None:
    policy.model.train()
    groups = sample(policy, name)
    assert policy.model.training
    assert not any(rollout.behaviour_logprobs.requires_grad for group in groups for rollout in group)
