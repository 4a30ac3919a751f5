"""What every model family must do. The README's table of families and features is made from these declarations.

A feature is a function of the folder of a tiny random model. A family is one record of `uec_vlm.policy.FAMILIES` and
one line of `tests.support.tiny_models.TINY_FAMILIES`; every feature below is then tested on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tests.support.readings import PICTURE_SAMPLES, TEXT_SAMPLES, prompts_for, random_batch
from tests.support.tiny_models import VISION_FAMILIES
from uec_vlm.batches import PromptSettings, collate_completions, render
from uec_vlm.errors import PromptError
from uec_vlm.policy import FAMILIES, LoraSettings, Policy, load_policy, prefill, save_policy, score, score_padded
from uec_vlm.records import CompletionBatch, Prompt, Sample
from uec_vlm.rollouts import ENGINES, SamplingSettings


@dataclass(frozen=True)
class Feature:
    """A column of the table. check: raises where the family does not have it. sees: only for families with a tower."""

    title: str
    check: Callable[[Path, Path], None]
    sees: bool = False


def plain_logits(policy: Policy, batch: CompletionBatch, row: int) -> Tensor:
    """Logits "T V" that predict the completion of one row, by the model's own forward over that row, unpadded."""
    prompt = batch.prompts[int(batch.prompt_index[row])]
    completion = batch.completion_ids[row][batch.completion_mask[row]]
    ids = torch.cat([prompt.token_ids, completion]).unsqueeze(0)
    extra = {}
    if policy.traits.sees:
        types = torch.zeros_like(ids)
        types[0, : len(prompt.token_ids)] = prompt.token_ids == policy.processor.image_token_id
        extra["mm_token_type_ids"] = types
        if len(prompt.image_grid_thw):
            extra |= {"pixel_values": prompt.pixel_values, "image_grid_thw": prompt.image_grid_thw}
    logits = policy.model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **extra).logits[0]
    return logits[len(prompt.token_ids) - 1 : -1]


def score_parity(folder: Path, _: Path) -> None:
    """Both forms of `score` are the log-softmax of a plain forward, entropy and moment included."""
    policy = load_policy(folder)
    batch = random_batch(prompts_for(policy), per_prompt=3, longest=12)
    with torch.no_grad():
        expected = [plain_logits(policy, batch, row).log_softmax(-1) for row in range(len(batch.prompt_index))]
        for form in (score, score_padded):
            scores = form(policy, batch, temperature=1.0, banned_ids=())
            for row, log_all in enumerate(expected):
                mask = batch.completion_mask[row]
                chosen = log_all.gather(-1, batch.completion_ids[row][mask].unsqueeze(-1)).squeeze(-1)
                entropy = -(log_all.exp() * log_all).sum(-1)
                moment = (log_all.exp() ** 2 * (log_all + entropy.unsqueeze(-1))).sum(-1)
                _close(scores.logprobs[row][mask], chosen, 1e-5)
                _close(scores.entropy[row][mask], entropy, 1e-5)
                _close(scores.moment[row][mask], moment, 1e-5)
            for values in (scores.logprobs, scores.entropy, scores.moment):
                assert bool((values[~batch.completion_mask] == 0).all())


def shared_prefix(folder: Path, _: Path) -> None:
    """Reading each prompt once gives the gradients of whole padded rows."""
    _same_gradients(folder, checkpointing=False)


def checkpointing(folder: Path, _: Path) -> None:
    """So does it under gradient checkpointing, where prompt and completions share a row."""
    _same_gradients(folder, checkpointing=True)


def rollout_parity(folder: Path, _: Path) -> None:
    """The log-probabilities at sampling are those of `score`, and the greedy tokens those of a plain forward."""
    policy = load_policy(folder)
    engine = ENGINES["hf"]()(policy, prefill)
    prompts = prompts_for(policy)
    sampling = SamplingSettings(temperature=1.2, max_new_tokens=12)
    groups = engine.generate(prompts, completions=3, sampling=sampling, seeds=range(len(prompts)))
    rollouts = [rollout for group in groups for rollout in group]
    batch = collate_completions([r.completion_ids for r in rollouts], [r.prompt for r in rollouts])
    with torch.no_grad():
        scores = score(policy, batch, temperature=1.2)
    _close(pad_sequence([r.behaviour_logprobs for r in rollouts], batch_first=True), scores.logprobs, 1e-4)
    greedy = SamplingSettings(temperature=0.0, max_new_tokens=8)
    best = [g[0] for g in engine.generate(prompts, completions=1, sampling=greedy, seeds=[0] * len(prompts))]
    batch = collate_completions([r.completion_ids for r in best], [r.prompt for r in best])
    for row, rollout in enumerate(best):
        with torch.no_grad():
            logits = plain_logits(policy, batch, row)
        logits[:, list(policy.banned_ids)] = float("-inf")
        assert logits.argmax(-1).tolist() == rollout.completion_ids.tolist()


def several_pictures(folder: Path, _: Path) -> None:
    """A prompt with two pictures scores the same alone and in a batch, and their order matters."""
    policy = load_policy(folder, dtype="float64")
    two = PICTURE_SAMPLES[1]
    swapped = replace(two, id="swapped", images=two.images[::-1])
    together = prompts_for(policy, [PICTURE_SAMPLES[0], two, swapped])
    found = _scores(policy, together)
    for row, prompt in enumerate(together):
        _close(found[row], _scores(policy, [prompt])[0], 1e-9)
    assert float((found[1] - found[2]).abs().max()) > 1e-4


def mixed_batches(folder: Path, _: Path) -> None:
    """Prompts with and without pictures share a batch, in any order, and score as they do alone."""
    policy = load_policy(folder, dtype="float64")
    mixed = [TEXT_SAMPLES[0], PICTURE_SAMPLES[0], TEXT_SAMPLES[1], PICTURE_SAMPLES[1]]
    for samples in (mixed, mixed[::-1]):
        prompts = prompts_for(policy, samples)
        found = _scores(policy, prompts)
        for row, prompt in enumerate(prompts):
            _close(found[row], _scores(policy, [prompt])[0], 1e-9)


def save_and_load(folder: Path, scratch: Path) -> None:
    """A written checkpoint is complete: transformers and `load_policy` open it, to the same scores."""
    import transformers

    policy = load_policy(folder)
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.mul_(1.05)
    saved = save_policy(policy, scratch / "saved")
    again = load_policy(saved)
    assert torch.equal(_scores(again), _scores(policy))
    assert (again.banned_ids, again.end_ids, again.pad_id) == (policy.banned_ids, policy.end_ids, policy.pad_id)
    assert again.tokenizer.chat_template == policy.tokenizer.chat_template
    seeing = policy.traits.sees
    auto = transformers.AutoModelForImageTextToText if seeing else transformers.AutoModelForCausalLM
    model, state = auto.from_pretrained(saved), policy.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert list(model.generation_config.eos_token_id) == [258, 256]
    assert (again.processor is not None) == seeing
    assert not seeing or transformers.AutoProcessor.from_pretrained(saved).chat_template


def lora(folder: Path, scratch: Path) -> None:
    """An adapter trains the language model only, can be switched off, and is merged when saved."""
    base = _scores(load_policy(folder))
    policy = load_policy(folder, lora=LoraSettings(rank=4, alpha=8.0))
    trained = {name: p for name, p in policy.model.named_parameters() if p.requires_grad}
    # At least q, k, v and o in each of the three blocks, two matrices each; nothing of the tower.
    assert len(trained) >= 3 * 4 * 2 and not any("visual" in name for name in trained)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in trained.values():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    adapted = _scores(policy)
    assert float((adapted - base).abs().max()) > 0.1
    with policy.without_adapter():
        _close(_scores(policy), base, 1e-6)
    saved = load_policy(save_policy(policy, scratch / "merged"))
    assert not saved.has_adapter
    _close(_scores(saved), adapted, 1e-4)


def video_refused(folder: Path, _: Path) -> None:
    """A question about a video is refused by name, before anything is computed."""
    policy = load_policy(folder)
    for problem, told in (("<video>What moves?", "video"), ("<|video_pad|>What moves?", "special token")):
        with pytest.raises(PromptError, match=told):
            render(Sample("v", "test", problem, "1"), policy.processor or policy.tokenizer, PromptSettings())


FEATURES: dict[str, Feature] = {
    feature.title: feature
    for feature in (
        Feature("score = plain forward", score_parity),
        Feature("shared prefix", shared_prefix),
        Feature("gradient checkpointing", checkpointing),
        Feature("rollout = score", rollout_parity),
        Feature("several pictures", several_pictures, sees=True),
        Feature("text and pictures mixed", mixed_batches, sees=True),
        Feature("save and load", save_and_load),
        Feature("LoRA", lora),
        Feature("video", video_refused),
    )
}
REFUSALS = {"video"}
"""Features whose check is that they are refused."""


def applies(family: str, feature: Feature) -> bool:
    """Whether this feature means anything for this family."""
    return not feature.sees or family in VISION_FAMILIES


def cells() -> list[tuple[str, str]]:
    """(family, title) of every test of the suite."""
    return [(family, title) for family in FAMILIES for title, f in FEATURES.items() if applies(family, f)]


def families_table() -> str:
    """The README's table: yes where a test of the suite runs, no where the test is that it is refused."""
    tested = set(cells())
    lines = ["| family | " + " | ".join(FEATURES) + " |", "|---" * (len(FEATURES) + 1) + "|"]
    for family in FAMILIES:
        words = ["–" if (family, t) not in tested else "no" if t in REFUSALS else "yes" for t in FEATURES]
        lines.append(f"| `{family}` | " + " | ".join(words) + " |")
    return "\n".join(lines)


def _close(found: Tensor, expected: Tensor, atol: float) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


def _scores(policy: Policy, prompts: Sequence[Prompt] | None = None) -> Tensor:
    """Log-probabilities of the same six tokens after every prompt."""
    chosen = prompts_for(policy) if prompts is None else list(prompts)
    ids = torch.tensor([72, 101, 108, 108, 111, 33])
    with torch.no_grad():
        return score(policy, collate_completions([ids] * len(chosen), chosen), temperature=1.0).logprobs


def _gradients(policy: Policy, batch: CompletionBatch, form: Callable[..., Any]) -> dict[str, Tensor]:
    weights = torch.randn(batch.completion_ids.shape, generator=torch.Generator().manual_seed(1))
    policy.model.zero_grad()
    scores = form(policy, batch, temperature=0.8, entropy_gradient=True, chunk=5)
    ((weights * scores.logprobs).sum() + 0.3 * scores.entropy.sum()).backward()
    return {name: p.grad.clone() for name, p in policy.model.named_parameters() if p.grad is not None}


def _same_gradients(folder: Path, *, checkpointing: bool) -> None:
    """Every parameter to 1e-6 of its largest entry in float64, the whole gradient to 1e-5 of its norm in float32."""
    for dtype in ("float64", "float32"):
        plain, shared = (load_policy(folder, dtype=dtype, gradient_checkpointing=on) for on in (False, checkpointing))
        shared.model.train(checkpointing)
        batch = random_batch(prompts_for(plain), per_prompt=3, longest=6)
        expected, found = _gradients(plain, batch, score_padded), _gradients(shared, batch, score)
        assert found.keys() == expected.keys() and len(found) == len(list(shared.model.parameters()))
        whole = torch.stack([gradient.norm() for gradient in expected.values()]).norm()
        apart = torch.stack([(found[name] - gradient).norm() for name, gradient in expected.items()]).norm()
        assert float(apart) <= 1e-5 * float(whole)
        for name, gradient in expected.items() if dtype == "float64" else ():
            difference = float((found[name] - gradient).abs().max())
            assert difference <= 1e-6 * max(float(gradient.abs().max()), 1e-6), name
