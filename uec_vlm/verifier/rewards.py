"""Reward functions of the user, from a Python file, by name: `rewards.py:closeness`.

One by one:  def closeness(response: str, gold: str, **context) -> float
Batched:     def closeness(responses: list[str], golds: list[str], **context) -> list[float]

A function is batched when its first parameter is called `responses` or `completions`, or when it carries the attribute
`batched = True`. `context` holds what the trainer knows beside the text: in training `problem`, `choices`,
`finish_reason` ("stop" or "length") and `metadata` of the sample; a batched function gets each as a list. A function
without `**context` gets those that it names.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from uec_vlm.errors import ConfigError, RunError

_BATCHED_NAMES = frozenset({"responses", "completions"})


@dataclass(frozen=True)
class RewardFunction:
    """A loaded reward function. name: `path.py:function`. wanted: the context it takes, None for all of it."""

    name: str
    function: Callable[..., Any]
    batched: bool
    wanted: frozenset[str] | None

    def __call__(
        self, responses: Sequence[str], golds: Sequence[str], contexts: Sequence[Mapping[str, object]] | None = None
    ) -> list[float]:
        """One finite number per completion, in order. Raises RunError naming the function and the completion."""
        contexts = contexts if contexts is not None else [{} for _ in responses]
        if self.batched:
            names = sorted({name for context in contexts for name in context if self._wants(name)})
            columns = {name: [context.get(name) for context in contexts] for name in names}
            values = self._call(None, list(responses), list(golds), **columns)
            if not isinstance(values, Sequence) and not hasattr(values, "tolist"):
                raise RunError(f"{self.name} returned {type(values).__name__}; a batched function returns a list")
            values = list(values)
        else:
            values = [
                self._call(place, response, gold, **{k: v for k, v in context.items() if self._wants(k)})
                for place, (response, gold, context) in enumerate(zip(responses, golds, contexts, strict=True))
            ]
        if len(values) != len(responses):
            raise RunError(f"{self.name} returned {len(values)} rewards for {len(responses)} completions")
        return [self._number(place, value) for place, value in enumerate(values)]

    def _wants(self, name: str) -> bool:
        return self.wanted is None or name in self.wanted

    def _call(self, place: int | None, *args: object, **context: object) -> Any:
        try:
            return self.function(*args, **context)
        except Exception as problem:
            where = "a batch" if place is None else f"completion {place}"
            raise RunError(f"{self.name} failed on {where}: {type(problem).__name__}: {problem}") from problem

    def _number(self, place: int, value: object) -> float:
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise RunError(f"{self.name} gave completion {place} the reward {value!r}; return a finite number")
        return number


def load_reward_function(spec: str) -> RewardFunction:
    """Load `path/to/file.py:name`. The file is run as Python: it is the user's own code, trusted like a configuration.

    Raises ConfigError that names the value, the reason and the remedy.
    """
    path_text, colon, name = spec.rpartition(":")
    if not colon or not path_text.endswith(".py") or not name.isidentifier():
        raise ConfigError(f"reward function {spec!r} is not of the form path/to/file.py:name")
    path = Path(path_text).expanduser()
    if not path.is_file():
        raise ConfigError(
            f"reward function {spec!r}: there is no file {path}; paths are relative to the working folder"
        )
    function = getattr(_load(path, spec), name, None)
    if not callable(function):
        raise ConfigError(f"reward function {spec!r}: {path.name} defines no function {name!r}")
    parameters = list(inspect.signature(function).parameters.values())
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) < 2 and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise ConfigError(f"reward function {spec!r} takes {len(positional)} arguments; it must take (response, gold)")
    batched = bool(getattr(function, "batched", positional[0].name in _BATCHED_NAMES if positional else False))
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
    wanted = None if takes_all else frozenset(p.name for p in parameters[2:])
    return RewardFunction(spec, function, batched, wanted)


def _load(path: Path, spec: str) -> ModuleType:
    place = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]
    module_spec = importlib.util.spec_from_file_location(f"uec_vlm_user_rewards_{path.stem}_{place}", path)
    if module_spec is None or module_spec.loader is None:
        raise ConfigError(f"reward function {spec!r}: {path} cannot be loaded as Python")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_spec.name] = module  # dataclasses and pickle look a class's module up there
    try:
        module_spec.loader.exec_module(module)
    except Exception as problem:
        del sys.modules[module_spec.name]
        reason = f"{type(problem).__name__}: {problem}"
        raise ConfigError(f"reward function {spec!r}: {path} fails when it is loaded: {reason}") from problem
    return module
