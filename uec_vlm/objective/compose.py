"""An objective: one choice on every axis, bound to its settings, and its building from the `objective:` section."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from torch import Tensor

from uec_vlm.errors import ConfigError
from uec_vlm.objective.advantages import ADVANTAGES
from uec_vlm.objective.control import CONTROLLERS, ControllerState
from uec_vlm.objective.entropy import ENTROPY_TERMS, WITH_ENTROPY_GRADIENT, EntropyTerm
from uec_vlm.objective.exploration import EXPLORATION, BehaviourMode, ExplorationSettings, MaskRatio, WeightLevel
from uec_vlm.objective.kl import KL
from uec_vlm.objective.policy_losses import POLICY_LOSSES, PolicyLoss
from uec_vlm.objective.ranges import NonNegative, Positive
from uec_vlm.objective.reduce import REDUCTIONS
from uec_vlm.objective.registry import bind, make_record, named_section, nearest, settings_of, takes, unbound
from uec_vlm.objective.replay import REPLAY, ReplaySettings
from uec_vlm.objective.retention import RETENTION, DynamicSampling
from uec_vlm.objective.rewards import shaped_reward

ROOT = "objective"


@dataclass(frozen=True)
class KLSettings:
    """coef: beta, loss (or reward) per nat. place: the penalty is in the loss, or in the reward."""

    coef: NonNegative = 1e-2
    place: Literal["loss", "reward"] = "loss"


@dataclass(frozen=True)
class OldLogprobs:
    """What the ratio of each kind of trajectory is taken against.

    regular, extra: a mode of `exploration.importance_weights`. queue: trajectories that waited in the queue keep the
    log-probabilities of their step ("stored"), or get those of the policy when they are trained ("recomputed").
    weight_cap, weight_level, mask_ratio: `cap`, `level` and `mask_ratio` of `exploration.importance_weights`.
    """

    regular: BehaviourMode = "recomputed"
    extra: BehaviourMode = "truncated"
    queue: Literal["stored", "recomputed"] = "recomputed"
    weight_cap: Positive = 2.0
    weight_level: WeightLevel = "token"
    mask_ratio: MaskRatio | None = None

    @property
    def limits(self) -> dict[str, Any]:
        """The settings of `importance_weights` that do not depend on the kind of trajectory."""
        return {"cap": self.weight_cap, "level": self.weight_level, "mask_ratio": self.mask_ratio}


@dataclass(frozen=True)
class QueueSettings:
    """accumulate: kept trajectories wait until P x G of them are there; otherwise each step trains on what it kept."""

    accumulate: bool = False


@dataclass(frozen=True)
class Objective:
    """The bound functions of all axes. Frozen; holds no state. Built by `build_objective`, or by hand from functions.

    advantage, extra_advantage: rewards "G" -> advantages "G", of regular and of extra rollouts.
    exploration: accuracies -> indices; replay: advantages -> who enters the buffer; the rest as in their modules.
    names: entry chosen on each axis, for the log; empty where functions are given by hand.
    """

    advantage: Callable[..., Tensor]
    extra_advantage: Callable[..., Tensor]
    policy_loss: Callable[..., PolicyLoss]
    reduction: Callable[..., Tensor]
    kl: Callable[..., Tensor]
    kl_settings: KLSettings
    entropy_term: Callable[..., EntropyTerm]
    controller: Callable[..., ControllerState]
    exploration: Callable[..., list[int]]
    exploration_settings: ExplorationSettings
    retention_regular: Callable[..., Tensor]
    retention_extra: Callable[..., Tensor]
    replay: Callable[..., Tensor]
    replay_settings: ReplaySettings
    old_logprobs: OldLogprobs
    accumulate: bool
    reward_shaping: Callable[..., float]
    dynamic_sampling: DynamicSampling | None
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def kl_coef(self) -> float:
        """The weight of the KL penalty, wherever it stands."""
        return self.kl_settings.coef

    @property
    def needs_reference(self) -> bool:
        """Whether a reference policy must be scored; without one no copy is in memory."""
        return unbound(self.kl) is not KL["none"]

    @property
    def penalises_reward(self) -> bool:
        """Whether rewards depend on the reference policy, so that completions are scored before they are chosen."""
        return self.needs_reference and self.kl_settings.place == "reward"

    @property
    def needs_context(self) -> bool:
        """Whether the step must be scored once before its first micro-batch, for a `StepContext`."""
        return takes(self.policy_loss, "context") or takes(self.entropy_term, "context")

    @property
    def entropy_gradient(self) -> bool:
        """Whether the entropy must be scored with its gradient."""
        return unbound(self.entropy_term) in WITH_ENTROPY_GRADIENT

    @property
    def controls(self) -> bool:
        """Whether a controller has a state that changes."""
        return unbound(self.controller) is not CONTROLLERS["none"]

    @property
    def keeps_everything(self) -> bool:
        """Whether every regular trajectory is trained on."""
        return unbound(self.retention_regular) is RETENTION["everything"]

    @property
    def explores(self) -> bool:
        """Whether any prompt can get extra rollouts."""
        return unbound(self.exploration) is not EXPLORATION["none"]

    @property
    def replays(self) -> bool:
        """Whether anything can enter the replay buffer."""
        return unbound(self.replay) is not REPLAY["none"]


SECTIONS = (
    "advantage", "extra_advantage", "policy_loss", "reduction", "kl", "entropy_term", "controller", "exploration",
    "retention", "replay", "old_logprobs", "accumulate", "reward_shaping", "dynamic_sampling",
)  # fmt: skip


def build_objective(settings: Mapping[str, Any], *, place: str = ROOT) -> Objective:
    """The objective that the `objective:` section of a configuration describes.

    advantage, policy_loss and reduction must be named. A section that is absent does nothing (no KL, no entropy term,
    no exploration, no replay, everything kept). Raises ConfigError with the dotted key, the value, the reason and the
    remedy for unknown keys, names, values out of range and combinations that cannot work.
    """
    for key in settings:
        if key not in SECTIONS:
            raise ConfigError(
                f"{place}.{key} = {settings[key]!r}: no such section{nearest(key, SECTIONS)}; "
                f"there are {sorted(SECTIONS)}."
            )
    for key in ("advantage", "policy_loss", "reduction"):
        if key not in settings:
            raise ConfigError(f"{place}.{key} is missing: name an entry of its registry, e.g. a preset's.")
    names: dict[str, str] = {}
    kl, kl_settings = _pair(settings, "kl", KL, KLSettings, names, place)
    exploration, exploration_settings = _pair(settings, "exploration", EXPLORATION, ExplorationSettings, names, place)
    replay, replay_settings = _pair(settings, "replay", REPLAY, ReplaySettings, names, place)
    retention = _mapping(settings.get("retention", {}), f"{place}.retention")
    for key in retention:
        if key not in ("regular", "extra"):
            raise ConfigError(f"{place}.retention.{key}: no such section; there are ['extra', 'regular'].")
    dynamic = settings.get("dynamic_sampling")
    objective = Objective(
        advantage=_entry(settings["advantage"], ADVANTAGES, "advantage", names, place),
        extra_advantage=_entry(
            settings.get("extra_advantage", settings["advantage"]), ADVANTAGES, "extra_advantage", names, place
        ),
        policy_loss=_entry(settings["policy_loss"], POLICY_LOSSES, "policy_loss", names, place),
        reduction=_entry(settings["reduction"], REDUCTIONS, "reduction", names, place),
        kl=kl,
        kl_settings=kl_settings,
        entropy_term=_entry(settings.get("entropy_term", "none"), ENTROPY_TERMS, "entropy_term", names, place),
        controller=_entry(settings.get("controller", "none"), CONTROLLERS, "controller", names, place),
        exploration=exploration,
        exploration_settings=exploration_settings,
        retention_regular=_entry(retention.get("regular", "everything"), RETENTION, "retention.regular", names, place),
        retention_extra=_entry(retention.get("extra", "above"), RETENTION, "retention.extra", names, place),
        replay=replay,
        replay_settings=replay_settings,
        old_logprobs=_record(OldLogprobs, settings.get("old_logprobs"), f"{place}.old_logprobs"),
        accumulate=make_record(
            QueueSettings, {"accumulate": settings.get("accumulate", False)}, place=place
        ).accumulate,
        reward_shaping=bind(
            {"reward_shaping": shaped_reward},
            "reward_shaping",
            _mapping(settings.get("reward_shaping", {}), f"{place}.reward_shaping"),
            place=f"{place}.reward_shaping",
        ),
        dynamic_sampling=None if dynamic is None else _record(DynamicSampling, dynamic, f"{place}.dynamic_sampling"),
        names=names,
    )
    _refuse_impossible(objective, place)
    return objective


def resolved(objective: Objective) -> dict[str, Any]:
    """The `objective:` section with every default filled in; `build_objective` of it gives the same objective."""

    def entry(axis: str, function: Callable[..., Any], *records: Any) -> dict[str, Any]:
        shared = {key: value for record in records for key, value in asdict(record).items()}
        return {"name": objective.names[axis], **settings_of(function), **shared}

    return {
        "advantage": entry("advantage", objective.advantage),
        "extra_advantage": entry("extra_advantage", objective.extra_advantage),
        "policy_loss": entry("policy_loss", objective.policy_loss),
        "reduction": entry("reduction", objective.reduction),
        "kl": entry("kl", objective.kl, *([objective.kl_settings] if objective.needs_reference else [])),
        "entropy_term": entry("entropy_term", objective.entropy_term),
        "controller": entry("controller", objective.controller),
        "exploration": entry("exploration", objective.exploration, objective.exploration_settings),
        "retention": {
            "regular": entry("retention.regular", objective.retention_regular),
            "extra": entry("retention.extra", objective.retention_extra),
        },
        "replay": entry("replay", objective.replay, objective.replay_settings),
        "old_logprobs": asdict(objective.old_logprobs),
        "accumulate": objective.accumulate,
        "reward_shaping": settings_of(objective.reward_shaping),
        "dynamic_sampling": None if objective.dynamic_sampling is None else asdict(objective.dynamic_sampling),
    }


def _entry(
    section: object, registry: Mapping[str, Callable[..., Any]], axis: str, names: dict[str, str], place: str
) -> Callable[..., Any]:
    name, values = named_section(section, place=f"{place}.{axis}")
    names[axis] = name
    return bind(registry, name, values, place=f"{place}.{axis}")


def _pair(
    settings: Mapping[str, Any],
    axis: str,
    registry: Mapping[str, Callable[..., Any]],
    record: type[Any],
    names: dict[str, str],
    place: str,
) -> tuple[Callable[..., Any], Any]:
    """A section whose keys are an entry's settings and those of a record that all entries share."""
    name, values = named_section(settings.get(axis, "none"), place=f"{place}.{axis}")
    shared = {item.name for item in fields(record)}
    own = {key: value for key, value in values.items() if key not in shared}
    function = bind(registry, name, own, place=f"{place}.{axis}", also_accepted=shared)
    names[axis] = name
    rest = {key: value for key, value in values.items() if key in shared}
    if axis == "kl" and name == "none":
        if rest:
            raise ConfigError(
                f"{place}.kl.{next(iter(rest))}: there is no penalty to set with kl.name = 'none'; drop it."
            )
        rest = {"coef": 0.0}
    return function, make_record(record, rest, place=f"{place}.{axis}")


def _record(cls: type[Any], section: object, place: str) -> Any:
    return make_record(cls, _mapping({} if section is None else section, place), place=place)


def _mapping(section: object, place: str) -> Mapping[str, Any]:
    if not isinstance(section, Mapping):
        raise ConfigError(f"{place} = {section!r}: it must be a mapping of settings.")
    return section


def _refuse_impossible(objective: Objective, place: str) -> None:
    if objective.explores:
        _refuse_vain_exploration(objective.exploration_settings, f"{place}.exploration")
    names = objective.names
    for controller, term in (("adaptive_entropy", "controlled_bonus"), ("entropic", "asymmetric_weights")):
        if (names["controller"] == controller) != (names["entropy_term"] == term):
            raise ConfigError(
                f"{place}.controller = {names['controller']!r} with {place}.entropy_term = {names['entropy_term']!r}: "
                f"the controller {controller!r} and the entropy term {term!r} work only together; set both or neither."
            )
    if names["controller"] == "uec_band" and not (objective.explores or objective.replays):
        raise ConfigError(
            f"{place}.controller = 'uec_band' acts on exploration and replay, and both are 'none'; "
            f"name an entry in {place}.exploration or {place}.replay."
        )
    band = settings_of(objective.controller)
    if names["controller"] == "uec_band" and not band["low"] < band["high"]:  # type: ignore[operator]
        raise ConfigError(
            f"{place}.controller.low = {band['low']} is not below {place}.controller.high = {band['high']}: "
            "the band is empty; give it a width."
        )
    if names["controller"] == "switched_temperature" and not objective.explores:
        raise ConfigError(
            f"{place}.controller = 'switched_temperature' sets the temperature of extra rollouts, and there are none; "
            f"name an entry in {place}.exploration."
        )


def _refuse_vain_exploration(settings: ExplorationSettings, place: str) -> None:
    if settings.max_rollouts is not None and 0 < settings.max_rollouts < settings.completions:
        raise ConfigError(
            f"{place}.max_rollouts = {settings.max_rollouts} is below {place}.completions = {settings.completions}: "
            "no prompt could ever be explored. Raise the first, lower the second, or set name: none."
        )
    if settings.last_step is not None and settings.last_step < settings.first_step:
        raise ConfigError(
            f"{place}.last_step = {settings.last_step} is before {place}.first_step = {settings.first_step}: there "
            "would be no exploration. Exchange them, or set name: none."
        )
    if settings.baseline == "extra" and settings.completions == 1:
        raise ConfigError(
            f"{place}.completions = 1 with {place}.baseline = extra: a group of one has no advantage. "
            "Take more completions, or baseline: union."
        )
