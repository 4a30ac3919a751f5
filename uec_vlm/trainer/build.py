"""From a configuration to bound stations. The only reader of the configuration; below it there are plain arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from transformers.utils.logging import disable_progress_bar

from uec_vlm.batches import (
    Mixture,
    PromptCache,
    PromptReader,
    PromptSettings,
    load_samples,
    refuse_evaluation_only,
    render,
)
from uec_vlm.batches.choices import list_choices
from uec_vlm.config import STARTER, DataSource, GeosynthData, MixtureData, ModelSection, PromptSection, RunConfig
from uec_vlm.errors import ConfigError, ModelError
from uec_vlm.geosynth import ProblemSet
from uec_vlm.geosynth.asset import starter_folder
from uec_vlm.objective import ControllerState, PromptHistory, ReplayBuffer, build_objective, resolved
from uec_vlm.policy import LoraSettings, Policy, Reader, load_policy, prefill, sharing_tower
from uec_vlm.records import Judged, Prompt, Rollout, Sample
from uec_vlm.rollouts import ENGINES, RolloutEngine, SamplingSettings
from uec_vlm.trainer.circle import Circle, StepSettings
from uec_vlm.trainer.combinations import refuse_combination
from uec_vlm.trainer.engines import build_vllm
from uec_vlm.trainer.evaluate import EvaluationSettings, HeldOut
from uec_vlm.trainer.judging import RewardSettings, judge_rollouts
from uec_vlm.trainer.launch import Launched, build_learner, launch, refuse_missing_gpu
from uec_vlm.trainer.learner import Learner
from uec_vlm.trainer.memory import brought_to
from uec_vlm.trainer.ranks import ALONE, Ranks
from uec_vlm.trainer.scoring import Scorer
from uec_vlm.trainer.seeds import seed_for
from uec_vlm.trainer.state import TrainState
from uec_vlm.trainer.usable import usable
from uec_vlm.verifier import FORMATS, load_reward_function


@dataclass(frozen=True)
class Splits:
    """The held-out samples of a run; test is None where the configuration has none.

    refused: rows that cannot be trained on or asked, with their reasons.
    """

    validation: HeldOut
    test: HeldOut | None
    refused: list[str]


@dataclass(frozen=True)
class Bench:
    """What sampling and grading need: the part of a circle that an evaluation uses."""

    policy: Policy
    engine: RolloutEngine
    render: Callable[[Sample], Prompt]
    judge: Callable[[Sequence[Rollout]], list[Judged]]


def resolve(config: RunConfig) -> RunConfig:
    """The configuration with every default of its objective spelled out. ConfigError for what cannot work."""
    objective = build_objective(config.objective)
    if config.reward.format not in FORMATS:
        raise ConfigError(
            f"reward.format = '{config.reward.format}': there is no such format; choose of {sorted(FORMATS)}."
        )
    behaviour = objective.old_logprobs.regular == "behaviour" or objective.explores
    if config.rollout.top_p < 1.0 and behaviour and config.algorithm != "uec_reference":
        raise ConfigError(
            f"rollout.top_p = {config.rollout.top_p}: sampling from a truncated support and scoring on the whole one "
            "biases the ratio of sampler and trainer. Set rollout.top_p = 1.0 (or algorithm = uec_reference, which is "
            "the released code's behaviour)."
        )
    return config.model_copy(update={"objective": resolved(objective)})


def build_circle(
    config: RunConfig, *, checkpoint: Path | None = None, launched: Launched | None = None
) -> tuple[Circle, Splits]:
    """Loads and binds everything. checkpoint: a folder whose weights replace those of `model.path` (resume).

    launched: the processes of the run, where they have been started already.
    """
    launched = launched or launch(config.model.device)
    accelerator = launched.accelerator
    refuse_combination(config, launched.parallelism)
    objective = build_objective(config.objective)
    sources = _sources(config)  # before the model: a wrong path is told in a second, not after a minute of loading
    bench = build_bench(config, device=accelerator.device, checkpoint=checkpoint, ranks=launched.ranks)
    refused: list[str] = []
    good = {split: _usable(config, samples, bench, split, refused) for split, samples in sources.items()}
    test = _held_out(config, "test", good["test"]) if "test" in good else None
    optimizer = torch.optim.AdamW(
        [parameter for parameter in bench.policy.model.parameters() if parameter.requires_grad],
        lr=config.update.learning_rate,
        betas=config.update.betas,
        weight_decay=config.update.weight_decay,
    )
    learner = build_learner(
        launched,
        bench.policy,
        optimizer,
        max_grad_norm=config.update.max_grad_norm,
        outside=config.rollout.outside,
    )
    if learner.sharded:
        bench.engine.load_weights(learner.replica, version=0)
    circle = Circle(
        learner=learner,
        engine=bench.engine,
        render=bench.render,
        prompts=PromptReader(good["train"], bench.render, ahead=config.data.prefetch),
        judge=bench.judge,
        objective=objective,
        reference=_reference(config, learner) if objective.needs_reference else None,
        settings=_step_settings(config),
    )
    return circle, Splits(_held_out(config, "validation", good["validation"]), test, refused)


def build_bench(
    config: RunConfig, *, device: torch.device | str, checkpoint: Path | None = None, ranks: Ranks = ALONE
) -> Bench:
    """Policy, engine, prompts and grader: neither optimizer nor reference nor training data."""
    policy = build_policy(config.model, config.data.prompt, device=device, checkpoint=checkpoint, seed=config.run.seed)
    data = config.data
    renderer = build_renderer(policy, data.prompt, cache=data.prompt_cache, cache_mib=data.prompt_cache_mib)
    return Bench(policy, build_engine(config, policy, ranks), renderer, build_judge(config))


def build_evaluation(config: RunConfig, split: str) -> tuple[Bench, HeldOut]:
    """A bench and one held-out split. ConfigError if the configuration has no such split."""
    sources = _sources(config, splits=("validation", "test"))
    if split not in sources:
        raise ConfigError(f"--split {split}: the configuration has no such split; give one of {sorted(sources)}.")
    bench = build_bench(config, device=Accelerator(cpu=config.model.device == "cpu").device)
    return bench, _held_out(config, split, _usable(config, sources[split], bench, split, []))


def first_state() -> TrainState:
    """The state before the first step."""
    return TrainState(
        step=0,
        drawn=0,
        optimizer_steps=0,
        queue=(),
        replay=ReplayBuffer(),
        replay_owed=0.0,
        controller=ControllerState(),
        history=PromptHistory(in_vain={}),
    )


def model_folder(path: str) -> str:
    """The folder or Hub id of a model; the word `starter` is the policy inside the package.

    ModelError for a path that can be no Hub id (NAME or OWNER/NAME) and is no folder.
    """
    if path == STARTER:
        return str(starter_folder())
    if not Path(path).is_dir() and (path.count("/") > 1 or path.startswith((".", "/", "~", "runs/"))):
        raise ModelError(
            f"model.path = {path}: there is no such folder, and a Hub id has at most one slash. Mend the path, or make "
            "the model first (the comments at the top of a configuration say how)."
        )
    return path


def device_of(name: str) -> str:
    """The device that `model.device` means for one process: `auto` is the GPU where there is one.

    ConfigError for a GPU where torch sees none.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    refuse_missing_gpu(name)
    return name


def build_policy(
    model: ModelSection,
    prompt: PromptSection,
    *,
    device: torch.device | str,
    checkpoint: Path | None = None,
    seed: int = 0,
) -> Policy:
    """Loads the policy; a checkpoint's weights take the place of the model's, an adapter is laid over them.

    seed: of a new adapter's weights.
    """
    lora = LoraSettings(rank=model.lora.rank, alpha=model.lora.alpha) if model.lora is not None else None
    source = checkpoint if checkpoint is not None and lora is None else Path(model_folder(model.path))
    if source.is_dir():  # a download keeps its bar, reading a folder needs none
        disable_progress_bar()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(seed, "adapter"))
        policy = _load(model, prompt, source, device, lora)
    if checkpoint is not None and lora is not None:
        adapter = load_file(checkpoint / "state" / "trainable.safetensors")
        policy.model.load_state_dict(adapter, strict=False)
    return policy


def _load(
    model: ModelSection, prompt: PromptSection, source: Path, device: torch.device | str, lora: LoraSettings | None
) -> Policy:
    return load_policy(
        source if source.is_dir() else model.path,
        dtype=model.dtype,
        device=device,
        freeze_vision=model.freeze_vision,
        picture_mib=model.picture_mib,
        attn_implementation=model.attention,
        min_pixels=prompt.min_pixels,
        max_pixels=prompt.max_pixels,
        gradient_checkpointing=model.gradient_checkpointing,
        lora=lora,
        quantization=model.quantization,
    )


def build_renderer(
    policy: Policy | Reader, prompt: PromptSection, *, cache: int, cache_mib: int = 1024
) -> Callable[[Sample], Prompt]:
    """From a sample to its prompt, the newest ones kept."""
    settings = PromptSettings(
        template=prompt.template,
        system=prompt.system,
        min_pixels=prompt.min_pixels,
        max_pixels=prompt.max_pixels,
        max_prompt_tokens=prompt.max_tokens,
    )

    def one(sample: Sample) -> Prompt:
        asked = list_choices(sample) if prompt.four_choices else sample
        return render(asked, policy.processor or policy.tokenizer, settings)

    return PromptCache(one, cache, most_bytes=cache_mib * 2**20) if cache else one


def build_engine(config: RunConfig, policy: Policy, ranks: Ranks = ALONE) -> RolloutEngine:
    """The rollout engine of the configuration."""
    return ENGINE_BUILDERS[config.rollout.engine](config, policy, ranks)


def _build_hf(config: RunConfig, policy: Policy, ranks: Ranks) -> RolloutEngine:
    made: RolloutEngine = ENGINES["hf"]()(
        policy,
        prefill,
        batch_tokens=config.rollout.batch_tokens,
        prefix_bytes=config.rollout.prefix_mib * 2**20 if build_objective(config.objective).explores else 0,
        graphs=config.rollout.cuda_graphs,
    )
    return made


def _build_vllm(config: RunConfig, policy: Policy, ranks: Ranks) -> RolloutEngine:
    return build_vllm(config, policy, model_folder(config.model.path), ranks)


# How each engine of `ENGINES` is bound to a configuration.
ENGINE_BUILDERS: dict[str, Callable[[RunConfig, Policy, Ranks], RolloutEngine]] = {"hf": _build_hf, "vllm": _build_vllm}


def build_judge(config: RunConfig) -> Callable[[Sequence[Rollout]], list[Judged]]:
    """Verdicts and rewards by the configuration's weights."""
    reward = config.reward
    functions = tuple((load_reward_function(spec), weight) for spec, weight in reward.functions.items())
    settings = RewardSettings(reward.accuracy_weight, reward.format_weight, reward.format, functions, reward.on_error)
    return partial(judge_rollouts, settings=settings)


def build_samples(source: DataSource, split: str, *, key: str | None = None) -> Sequence[Sample]:
    """The samples of one split: generated, read lazily from Parquet, or a mixture of such. `key`: where it stands.

    DataError for training on a set that is for evaluation only, unless `force` is set.
    """
    key = key or f"data.{split}"
    if isinstance(source, MixtureData):
        parts = enumerate(source.parts)
        made = tuple(build_samples(part.source, split, key=f"{key}.parts.{n}.source") for n, part in parts)
        return Mixture(made, tuple(part.weight for part in source.parts))
    if isinstance(source, GeosynthData):
        return ProblemSet(
            split=source.split or split,  # type: ignore[arg-type]
            count=source.count,
            seed=source.seed,
            families=source.families,
            levels=source.levels,
            image_size=source.image_size,
        )
    if split == "train" and not source.force:
        refuse_evaluation_only(source.path, key=key)
    store = load_samples(source.path)
    return store if source.first is None else store.take(range(min(source.first, len(store))))


def _reference(config: RunConfig, learner: Learner) -> Scorer:
    """The policy that training began with: the adapter switched off, or a frozen copy."""
    temperature, fixed = config.rollout.temperature, config.update.deterministic
    if learner.policy.has_adapter:
        return learner.scorer(temperature, deterministic=fixed, around=learner.policy.without_adapter)
    device = learner.policy.device
    offloaded = config.model.reference == "offloaded"
    frozen = build_policy(config.model, config.data.prompt, device="cpu" if offloaded else device)
    if config.model.freeze_vision and learner.kind == "one":
        frozen = sharing_tower(frozen, learner.policy)
    frozen.model.requires_grad_(False)
    during = partial(brought_to, frozen.model, device) if offloaded else nullcontext
    return Scorer(frozen, temperature, during=during, deterministic=fixed)


def _step_settings(config: RunConfig) -> StepSettings:
    unit = config.rollout.per_step
    return StepSettings(
        seed=config.run.seed,
        prompts=config.rollout.prompts_per_step,
        completions=config.rollout.completions_per_prompt,
        sampling=SamplingSettings(
            temperature=config.rollout.temperature,
            top_p=config.rollout.top_p,
            max_new_tokens=config.rollout.max_new_tokens,
        ),
        epochs=config.update.epochs,
        sequences=config.update.sequences_per_optimizer_step or unit,
        micro_batch_tokens=config.update.micro_batch_tokens,
        learning_rate=config.update.learning_rate,
        warmup_steps=config.update.warmup_steps,
        max_grad_norm=config.update.max_grad_norm,
        realised_dh_every=config.log.realised_dh_every,
        realised_dh_rollouts=config.log.realised_dh_rollouts,
        share_forward=config.update.share_forward,
        deterministic=config.update.deterministic,
    )


def _sources(config: RunConfig, splits: Sequence[str] = ("train", "validation", "test")) -> dict[str, Sequence[Sample]]:
    sources = {split: getattr(config.data, split) for split in splits}
    return {split: build_samples(source, split) for split, source in sources.items() if source is not None}


def _held_out(config: RunConfig, split: str, samples: Sequence[Sample]) -> HeldOut:
    evaluate = config.evaluate
    count = evaluate.validation_problems if split == "validation" else evaluate.test_problems
    return HeldOut(_first(samples, count), evaluation_settings(config, split))


def evaluation_settings(config: RunConfig, split: str) -> EvaluationSettings:
    """How a held-out split is evaluated: samples, seeds, and at which steps with which controls."""
    evaluate = config.evaluate
    validation = split == "validation"
    return EvaluationSettings(
        split=split,
        samples=evaluate.validation_samples if validation else evaluate.test_samples,
        temperature=evaluate.temperature,
        max_new_tokens=config.rollout.max_new_tokens,
        seed=config.run.seed,
        controls=evaluate.controls,
        controls_every=evaluate.controls_every if validation else 1,
        # With a test split the end is measured there: a longer run has the validation numbers of a shorter one.
        last_step=config.run.steps if config.data.test is None else 0,
    )


def _usable(
    config: RunConfig, samples: Sequence[Sample], bench: Bench, split: str, refused: list[str]
) -> Sequence[Sample]:
    return usable(samples, bench.render, split=split, refused=refused) if config.data.check else samples


def _first(samples: Sequence[Sample], count: int | None) -> Sequence[Sample]:
    return samples if count is None or count >= len(samples) else samples[:count]
