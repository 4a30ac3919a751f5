"""Controllers: pure transitions of a small state, once per step, driven by the measured entropy.

`state = CONTROLLERS[name](state, entropy, settings...)`, when the entropy of the unfiltered regular rollouts is known
(exact, nats, at the sampling temperature) and before the step explores and trains. The state is in the checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated

from pydantic import Field

from uec_vlm.errors import CheckpointError
from uec_vlm.objective.ranges import FractionOrZero, NonNegative, Positive

TemperatureScale = Annotated[float, Field(gt=0.0, le=10.0)]
ReplayScale = Annotated[float, Field(ge=1.0, le=100.0)]


@dataclass(frozen=True)
class ControllerState:
    """What a controller tells the rest of the step, and its memory. All numbers; JSON-serialisable by `to_json`.

    entropy_coef: of the bonus, loss per nat. asymmetry: a of `asymmetric_weights`, in [-1, 1].
    temperature_scale: times the temperature of the extra rollouts. explore_scale: in [0, 2]; up to 1 the share of the
    difficult prompts that are explored, beyond it all of them and that share (less 1) of the other prompts.
    replay_scale: times the frequency of replay; 0 is never.
    memory: the law's own (a coefficient, an integral, a level). steps: how often it has advanced.
    """

    entropy_coef: float = 0.0
    asymmetry: float = 0.0
    temperature_scale: float = 1.0
    explore_scale: float = 1.0
    replay_scale: float = 1.0
    memory: float = 0.0
    steps: int = 0

    def to_json(self) -> dict[str, float | int]:
        """The state as plain numbers."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, float | int]) -> ControllerState:
        """The state of a checkpoint. Raises CheckpointError where its fields are not ours."""
        known = {item.name for item in fields(cls)}
        if set(values) != known:
            raise CheckpointError(
                f"controller state has the fields {sorted(values)}, this version knows {sorted(known)}: "
                "resume with the version that wrote the checkpoint"
            )
        return cls(**{key: int(value) if key == "steps" else float(value) for key, value in values.items()})  # type: ignore[arg-type]


def none(state: ControllerState, entropy: float) -> ControllerState:
    """No control: only counts the steps."""
    return replace(state, steps=state.steps + 1)


def adaptive_entropy(
    state: ControllerState,
    entropy: float,
    *,
    target: NonNegative = 0.2,
    step_size: NonNegative = 1e-4,
    coef_max: NonNegative = 5e-3,
) -> ControllerState:
    """c <- c + step where H < target, c - step above, kept in [0, max]; the loss uses c only where H < target.

    Skywork-OR1, arXiv 2505.22312. Pairs with the entropy term `controlled_bonus`.
    target: nats. step_size: change of the coefficient per step. coef_max: its upper bound.
    """
    below = entropy < target
    coef = min(max(state.memory + (step_size if below else -step_size), 0.0), coef_max)
    return replace(state, memory=coef, entropy_coef=coef if below else 0.0, steps=state.steps + 1)


def entropic(
    state: ControllerState,
    entropy: float,
    *,
    target: NonNegative = 0.1,
    proportional: NonNegative = 1.0,
    integral: NonNegative = 0.01,
) -> ControllerState:
    """a = clip(Kp e + Ki sum e, -1, 1) with e = H - H* (EntroPIC, arXiv 2511.15248). Pairs with `asymmetric_weights`.

    The sum stops growing while a is at its bound and e would push it further (ours; the source does not say).
    target: H*, nats. proportional, integral: gains per nat.
    """
    error = entropy - target
    memory = state.memory + error
    wanted = proportional * error + integral * memory
    if abs(wanted) > 1.0 and wanted * error > 0:
        memory = state.memory
    asymmetry = min(max(wanted, -1.0), 1.0)
    return replace(state, memory=memory, asymmetry=asymmetry, steps=state.steps + 1)


def switched_temperature(
    state: ControllerState,
    entropy: float,
    *,
    target: NonNegative = 0.5,
    low_scale: TemperatureScale = 0.8,
    high_scale: TemperatureScale = 1.2,
) -> ControllerState:
    """Extra rollouts are hotter by high_scale where H < target, else by low_scale (AEPO, arXiv 2510.08141).

    target: nats. low_scale, high_scale: factors on the extra temperature (with 1.0 configured they *are* T).
    """
    return replace(state, temperature_scale=high_scale if entropy < target else low_scale, steps=state.steps + 1)


def uec_band(
    state: ControllerState,
    entropy: float,
    *,
    low: NonNegative = 0.2,
    high: Positive = 0.6,
    gain: Positive = 0.5,
    leak: FractionOrZero = 0.02,
    temperature_scale_max: TemperatureScale = 1.5,
    replay_scale_max: ReplayScale = 5.0,
) -> ControllerState:
    """Keeps H in [low, high] by UEC's own two levers (ours, beyond the paper).

    A level u in [-1, 1] moves by gain x (distance to the band / width of the band), at most gain, per step, starts
    from 0 where it stands on the wrong side, and leaks back to 0 inside the band. u = 0 is UEC as configured.
    u > 0 (H was too low): extra rollouts are hotter, up to temperature_scale_max, prompts that are not difficult get
    them too, up to all, and replay is rarer, down to never. u < 0 (H was too high): a smaller share of the difficult
    prompts is explored, down to none, and replay is more frequent, up to replay_scale_max.
    The upward lever wants `old_logprobs.extra: recomputed`: importance weights undo in expectation what the hotter
    sampling does to the entropy (shown in docs/objective.md).
    low, high: nats. gain: of the level, per step. leak: share of the level lost per step inside the band.
    """
    width = max(high - low, 1e-6)
    distance = max(low - entropy, 0.0) - max(entropy - high, 0.0)
    held = state.memory if state.memory * distance >= 0.0 else 0.0
    push = gain * min(max(distance / width, -1.0), 1.0) if distance else -leak * held
    level = min(max(held + push, -1.0), 1.0)
    up, down = max(level, 0.0), max(-level, 0.0)
    return replace(
        state,
        memory=level,
        temperature_scale=1.0 + up * (temperature_scale_max - 1.0),
        explore_scale=1.0 + level,
        replay_scale=(1.0 - up) * (1.0 + down * (replay_scale_max - 1.0)),
        steps=state.steps + 1,
    )


CONTROLLERS: dict[str, Callable[..., ControllerState]] = {
    "none": none,
    "adaptive_entropy": adaptive_entropy,
    "entropic": entropic,
    "switched_temperature": switched_temperature,
    "uec_band": uec_band,
}
