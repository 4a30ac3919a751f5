"""The vLLM engine against servers that fail: over real HTTP, with replies as vLLM 0.32 gives them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.vllm_double import MODEL, VLLMDouble
from uec_vlm.errors import EngineError
from uec_vlm.records import Prompt, Rollout, Sample
from uec_vlm.rollouts import SamplingSettings
from uec_vlm.rollouts.vllm import VLLMEngine, VLLMSettings
from uec_vlm.rollouts.vllm_fleet import Patience

END, BANNED = 98, 99
SAMPLING = SamplingSettings(temperature=1.2, max_new_tokens=8)
PATIENT = Patience(request_timeout_s=30.0, connect_timeout_s=2.0, give_up_after_s=60.0, longest_pause_s=0.2, attempts=5)


@dataclass
class MarkedPolicy:
    """As much of a policy as the engine reads; its weights are one number."""

    mark: int = 1
    banned_ids: tuple[int, ...] = (BANNED,)
    end_ids: tuple[int, ...] = (END,)

    @property
    def tokenizer(self) -> Any:
        return self

    def decode(self, ids: list[int], **_: Any) -> str:
        return " ".join(map(str, ids))


def write_mark(policy: MarkedPolicy, folder: Path) -> None:
    folder.mkdir()
    (folder / "mark").write_text(str(policy.mark))


def prompt_of(number: int, images: int = 0) -> Prompt:
    sample = Sample(id=f"s{number}", source="t", problem="", answer="", images=(b"picture",) * images)
    ids = torch.tensor([3, 4, number])
    return Prompt(sample, f"prompt {number}", ids, torch.zeros(0, 0), torch.zeros(0, 3, dtype=torch.long))


PROMPTS = [prompt_of(number) for number in range(12)]
READS = {prompt.text: prompt.token_ids.tolist() for prompt in PROMPTS}


@pytest.fixture
def doubles() -> Iterator[list[VLLMDouble]]:
    made = [VLLMDouble(dict(READS), end_id=END, delay_s=0.02) for _ in range(2)]
    yield made
    for double in made:
        double.stop()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Any]:
    made: list[VLLMEngine] = []

    def one(*servers: VLLMDouble | str, policy: Any = None, **settings: Any) -> VLLMEngine:
        urls = tuple(server if isinstance(server, str) else server.url for server in servers)
        whole = VLLMSettings(
            servers=urls, weights_dir=str(tmp_path), **{"patience": PATIENT, "concurrency": 3, **settings}
        )
        made.append(VLLMEngine(policy or MarkedPolicy(), lambda p: list(p.sample.images), write_mark, whole))
        return made[-1]

    yield one
    for engine in made:
        engine.close()


def ask(engine: VLLMEngine, prompts: list[Prompt] = PROMPTS, **arguments: Any) -> list[list[Rollout]]:
    given = {"completions": 2, "sampling": SAMPLING, "seeds": [100 + n for n in range(len(prompts))], **arguments}
    return engine.generate(prompts, **given)


def ids_of(groups: list[list[Rollout]]) -> list[list[list[int]]]:
    return [[rollout.completion_ids.tolist() for rollout in group] for group in groups]


def marks(groups: list[list[Rollout]]) -> set[int]:
    return {int(rollout.completion_ids[0]) for group in groups for rollout in group}


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_request_asks_for_exactly_what_is_sampled(doubles: list[VLLMDouble], make: Any) -> None:
    engine = make(doubles[0], pixel_limits=(3136, 12544))
    prompt = prompt_of(0, images=2)
    rollout = ask(engine, [prompt])[0][1]
    body = doubles[0].bodies[0]
    content = body["messages"][0]["content"]
    assert [part["type"] for part in content] == ["image_url", "image_url", "text"]
    assert content[0]["image_url"]["url"] == "data:image/png;base64,cGljdHVyZQ=="
    assert content[2]["text"] == prompt.text
    wanted = {
        "model": MODEL, "n": 2, "temperature": 1.2, "top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0,
        "presence_penalty": 0.0, "frequency_penalty": 0.0, "max_completion_tokens": 8, "stop_token_ids": [END],
        "logit_bias": {str(BANNED): -100.0}, "return_token_ids": True, "add_generation_prompt": False,
        "add_special_tokens": False, "mm_processor_kwargs": {"size": {"shortest_edge": 3136, "longest_edge": 12544}},
    }  # fmt: skip
    assert {key: body[key] for key in wanted} == wanted
    assert rollout.prompt is prompt
    assert rollout.completion_ids.tolist() == [1, (body["seed"] + 1) % 97, (body["seed"] + 1) // 97 % 97, END]
    assert rollout.behaviour_logprobs.tolist() == [-1.5] * 4
    assert (rollout.finish, rollout.source, rollout.temperature, rollout.policy_version) == ("stop", "regular", 1.2, 0)
    assert rollout.text == " ".join(map(str, rollout.completion_ids.tolist()))


@pytest.mark.parametrize(
    ("grids", "sent"),
    [
        ([(1, 34, 32)], (200704, 34 * 32 * 196)),
        ([(1, 30, 32), (1, 32, 34)], (30 * 32 * 196, 32 * 34 * 196)),
        ([(1, 32, 32)], (200704, 200704)),
    ],
)
def test_a_picture_that_whole_patches_put_beyond_the_limits_is_not_resized_again(
    doubles: list[VLLMDouble], make: Any, grids: list[tuple[int, int, int]], sent: tuple[int, int]
) -> None:
    engine = make(doubles[0], pixel_limits=(200704, 200704), patch_size=14)
    ask(engine, [replace(prompt_of(0, images=len(grids)), image_grid_thw=torch.tensor(grids))])
    size = doubles[0].bodies[0]["mm_processor_kwargs"]["size"]
    assert (size["shortest_edge"], size["longest_edge"]) == sent


def test_seeds_that_stand_together_share_no_noise(doubles: list[VLLMDouble], make: Any) -> None:
    engine = make(doubles[0])
    ask(engine, seeds=list(range(12)), completions=3)
    seeds = sorted(body["seed"] for body in doubles[0].bodies)
    assert min(late - early for early, late in pairwise(seeds)) > 1000


def test_greedy_rollouts_were_drawn_with_certainty_and_limits_are_told(doubles: list[VLLMDouble], make: Any) -> None:
    engine = make(doubles[0])
    group = ask(engine, PROMPTS[:1], sampling=SamplingSettings(temperature=0.0, max_new_tokens=2))[0]
    assert len(group) == 2 and torch.equal(group[0].completion_ids, group[1].completion_ids)
    rollout = group[1]
    assert rollout.behaviour_logprobs.tolist() == [0.0, 0.0] and rollout.finish == "length"


def test_prompts_are_dealt_out_and_come_back_in_order(doubles: list[VLLMDouble], make: Any) -> None:
    engine = make(*doubles)
    groups = ask(engine)
    assert [[rollout.prompt is prompt for rollout in group] for prompt, group in zip(PROMPTS, groups, strict=True)] == [
        [True, True]
    ] * 12
    assert all(double.answered for double in doubles)
    assert sum((double.answered for double in doubles), start=type(doubles[0].answered)()) == {
        prompt.text: 1 for prompt in PROMPTS
    }
    assert ids_of(ask(make(doubles[0]))) == ids_of(groups)


def test_weights_are_loaded_once_and_everything_made_of_the_old_is_forgotten(
    doubles: list[VLLMDouble], make: Any
) -> None:
    policy = MarkedPolicy(mark=5)
    engine = make(doubles[0], policy=policy)
    assert marks(ask(engine)) == {5}
    push = ["/pause", "/collective_rpc", "/reset_prefix_cache", "/reset_mm_cache", "/reset_encoder_cache",
            "/update_weight_version", "/resume"]  # fmt: skip
    assert [call for call in doubles[0].calls if call != "/v1/chat/completions"] == push
    ask(engine)
    policy.mark = 6
    engine.load_weights(policy, version=4)
    policy.mark = 7  # the weights are those of the call, not of the next question
    groups = ask(engine)
    assert marks(groups) == {6} and groups[0][0].policy_version == 4 == engine.policy_version
    engine.load_weights(policy, version=4)  # the version says that nothing has changed
    assert marks(ask(engine)) == {6}
    assert [call for call in doubles[0].calls if call != "/v1/chat/completions"] == push * 2
    engine.load_weights(policy)
    assert engine.policy_version == 5 and marks(ask(engine)) == {7}


def test_a_server_killed_in_the_middle_is_waited_for_and_given_the_weights_again(
    doubles: list[VLLMDouble], make: Any
) -> None:
    double = doubles[0]
    double.delay_s = 0.1
    engine = make(double, policy=MarkedPolicy(mark=9))
    undisturbed = ids_of(ask(engine))
    double.answered.clear()

    def kill_and_restart() -> None:
        wait_for(lambda: sum(double.answered.values()) >= 3)
        double.stop()
        time.sleep(0.7)
        double.start()

    thread = threading.Thread(target=kill_and_restart)
    thread.start()
    groups = ask(engine)
    thread.join()
    assert ids_of(groups) == undisturbed and marks(groups) == {9}
    assert double.calls.count("/collective_rpc") == 2


def test_a_restart_that_nobody_notices_gives_no_rollout_of_the_old_weights(
    doubles: list[VLLMDouble], make: Any
) -> None:
    """The server loses its weights between two answers, and no connection breaks."""
    double = doubles[0]
    engine = make(double, policy=MarkedPolicy(mark=9))

    def forget(handler: Any) -> bool:
        handler.double.version, handler.double.mark = "default", 0
        return False

    double.faults.extend([forget])
    assert marks(ask(engine)) == {9}
    assert any(
        text for text, count in double.answered.items() if count > 1
    )  # asked again, and the first is thrown away


def test_one_server_of_two_may_stay_away(doubles: list[VLLMDouble], make: Any) -> None:
    engine = make(*doubles)
    whole = ids_of(ask(engine))
    doubles[1].stop()
    assert ids_of(ask(engine)) == whole
    doubles[1].start()
    doubles[1].answered.clear()
    doubles[0].delay_s = 0.3
    assert ids_of(ask(engine)) == whole and marks(ask(engine)) == {1}
    assert doubles[1].answered


def test_when_all_are_gone_the_error_names_them_and_the_remedy(doubles: list[VLLMDouble], make: Any) -> None:
    engine = make(*doubles, patience=replace(PATIENT, give_up_after_s=0.5))
    for double in doubles:
        double.stop()
    with pytest.raises(EngineError) as told:
        ask(engine)
    for part in (*(double.url for double in doubles), "s of trying", "Start it again and resume", "give_up_after_s"):
        assert part in str(told.value)
    for double in doubles:
        double.start()
    assert marks(ask(engine)) == {1}  # the engine is as good as before


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_a_server_that_cannot_now_is_asked_again(doubles: list[VLLMDouble], make: Any, status: int) -> None:
    engine = make(doubles[0])
    doubles[0].faults.extend([lambda handler: handler.refuse(status, "busy") or True] * 2)
    assert len(ask(engine)) == 12


def test_a_broken_connection_and_a_torn_reply_are_asked_again(doubles: list[VLLMDouble], make: Any) -> None:
    def torn(handler: Any) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b'{"choices": [')
        handler.wfile.flush()
        handler.connection.shutdown(2)
        return True

    engine = make(doubles[0])
    doubles[0].faults.extend([torn, lambda handler: handler.connection.shutdown(2) or True])
    assert len(ask(engine)) == 12


def test_a_prompt_that_ends_its_server_each_time_is_named(doubles: list[VLLMDouble], make: Any) -> None:
    engine = make(doubles[0], patience=replace(PATIENT, attempts=3, longest_pause_s=0.01))
    doubles[0].faults.extend([lambda handler: handler.refuse(500, "EngineCore encountered an issue") or True] * 3)
    with pytest.raises(
        EngineError, match=r"prompt 1 of 1 failed 3 times.*EngineCore encountered an issue.*see its log"
    ):
        ask(engine, PROMPTS[:1])


def test_an_answer_that_takes_too_long_is_asked_again_then_told(doubles: list[VLLMDouble], make: Any) -> None:
    engine = make(doubles[0], patience=replace(PATIENT, request_timeout_s=0.3, attempts=2, longest_pause_s=0.01))
    assert marks(ask(engine)) == {1}
    doubles[0].delay_s = 1.5
    with pytest.raises(EngineError, match=r"failed 2 times.*in time.*request_timeout_s"):
        ask(engine, PROMPTS[:1])


CHANGES: dict[str, tuple[Any, str]] = {
    "no_prompt_ids": (lambda reply: {**reply, "prompt_token_ids": None}, "not understood"),
    "other_prompt": (lambda reply: {**reply, "prompt_token_ids": [3, 4]}, r"reads sample 's0' as 2 tokens.*model.path"),
    "no_choices": (lambda reply: {"object": "x"}, "not understood"),
    "too_few": (lambda reply: {**reply, "choices": reply["choices"][:1]}, "1 completions instead of 2"),
    "no_logprobs": (lambda reply: changed(reply, logprobs=None), "not understood"),
    "torn_logprobs": (lambda reply: changed(reply, logprobs={"content": []}), "0 log-probabilities for 4 tokens"),
    "no_token": (lambda reply: changed(reply, token_ids=[]), "0 tokens where 1 to 8"),
    "too_long": (lambda reply: changed(reply, token_ids=[1] * 9), "9 tokens where 1 to 8"),
    "banned": (lambda reply: changed(reply, token_ids=[1, BANNED, 2, END]), "banned vision token"),
    "goes_on": (lambda reply: changed(reply, token_ids=[1, END, 2, END]), "after an end token"),
    "no_end": (lambda reply: changed(reply, token_ids=[1, 2, 3, 4]), "its last token is 4"),
    "above_one": (lambda reply: changed(reply, logprobs=content([0.5] * 4)), "a log-probability of 0.5"),
    "not_a_number": (lambda reply: changed(reply, logprobs=content([float("nan")] * 4)), "a log-probability of nan"),
    "diverged": (lambda reply: changed(reply, logprobs=content([-9999.0] * 4)), "not finite"),
}


def changed(reply: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**reply, "choices": [{**reply["choices"][0], **fields}, *reply["choices"][1:]]}


def content(logprobs: list[float]) -> dict[str, Any]:
    return {"content": [{"token": "x", "logprob": value} for value in logprobs]}


@pytest.mark.parametrize("name", CHANGES)
def test_a_malformed_reply_is_never_trained_on(doubles: list[VLLMDouble], make: Any, name: str) -> None:
    change, told = CHANGES[name]
    engine = make(doubles[0])
    doubles[0].changes.append(change)
    with pytest.raises(EngineError, match=told) as error:
        ask(engine, PROMPTS[:1])
    assert doubles[0].url in str(error.value)


def test_what_is_no_json_is_told(doubles: list[VLLMDouble], make: Any) -> None:
    engine = make(doubles[0])
    doubles[0].faults.append(lambda handler: handler.reply(200, b"<html>proxy</html>") or True)
    with pytest.raises(EngineError, match=r"no JSON but '<html>proxy"):
        ask(engine, PROMPTS[:1])


def test_an_aborted_completion_is_asked_again(doubles: list[VLLMDouble], make: Any) -> None:
    engine = make(doubles[0])
    doubles[0].changes.append(lambda reply: changed(reply, finish_reason="abort", token_ids=None))
    assert len(ask(engine, PROMPTS[:1])[0]) == 2


REFUSALS = [
    (400, "max_completion_tokens=600 cannot be greater than max_model_len=512.", "larger --max-model-len"),
    (400, "This model's maximum context length is 512 tokens.", "larger --max-model-len"),
    (400, "chat_template is passed, but --trust-request-chat-template is not set.", "--trust-request-chat-template"),
    (400, "Per-request mm_processor_kwargs ... --trust-request-mm-kwargs", "--trust-request-mm-kwargs"),
    (400, "At most 1 image(s) may be provided in one prompt.", "--limit-mm-per-prompt"),
    (404, "The model `/models/served` does not exist.", "the model it serves has changed"),
    (401, "Unauthorized", "api_key_variable"),
    (400, "Out of range float values are not JSON compliant", "the weights diverged"),
]


@pytest.mark.parametrize(("status", "reason", "remedy"), REFUSALS)
def test_a_refusal_is_not_repeated_and_comes_with_its_remedy(
    doubles: list[VLLMDouble], make: Any, status: int, reason: str, remedy: str
) -> None:
    engine = make(doubles[0])
    doubles[0].faults.append(lambda handler: handler.refuse(status, reason) or True)
    with pytest.raises(EngineError) as told:
        ask(engine, PROMPTS[:1])
    assert doubles[0].url in str(told.value) and reason in str(told.value) and remedy in str(told.value)
    assert not doubles[0].asked


def test_a_server_that_cannot_be_used_is_refused_before_it_is_asked(doubles: list[VLLMDouble], make: Any) -> None:
    doubles[0].dev_mode = False
    with pytest.raises(EngineError, match="VLLM_SERVER_DEV_MODE=1"):
        ask(make(doubles[0]))
    doubles[1].logprobs_mode = "raw_logprobs"
    with pytest.raises(EngineError, match=r"raw_logprobs.*--logprobs-mode processed_logprobs"):
        ask(make(doubles[1]))
    assert not doubles[0].asked and not doubles[1].asked


def test_weights_that_a_server_cannot_load_end_the_run(doubles: list[VLLMDouble], make: Any) -> None:
    doubles[0].load_error = "Worker failed with error 'size mismatch'"
    with pytest.raises(
        EngineError, match=r"could not load the weights in .*size mismatch.*serve the same model.*restart"
    ):
        ask(make(doubles[0]))
    assert not doubles[0].asked


def test_two_runs_do_not_share_a_server(doubles: list[VLLMDouble], make: Any) -> None:
    first, second = make(doubles[0]), make(doubles[0])
    ask(first)
    ask(second)
    with pytest.raises(EngineError, match="somebody else loads weights into it"):
        ask(first)


def test_misfits_are_refused_and_nothing_gives_nothing(make: Any) -> None:
    engine = make("http://127.0.0.1:9")
    assert engine.generate([], completions=2, sampling=SAMPLING, seeds=[]) == []
    with pytest.raises(ValueError, match="1 seeds for 12 prompts"):
        ask(engine, seeds=[1])
    with pytest.raises(ValueError, match="completions = 0"):
        ask(engine, completions=0)
    with pytest.raises(EngineError, match=r"give rollout\.vllm\.servers"):
        make()
