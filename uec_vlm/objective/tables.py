"""The registries as Markdown tables: `python -m uec_vlm.objective.tables docs/objective.md` renews them in a page."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from uec_vlm.objective.advantages import ADVANTAGES
from uec_vlm.objective.compose import KLSettings, OldLogprobs, QueueSettings
from uec_vlm.objective.control import CONTROLLERS
from uec_vlm.objective.entropy import ENTROPY_TERMS
from uec_vlm.objective.exploration import EXPLORATION, ExplorationSettings
from uec_vlm.objective.kl import KL
from uec_vlm.objective.policy_losses import POLICY_LOSSES
from uec_vlm.objective.reduce import REDUCTIONS
from uec_vlm.objective.replay import REPLAY, ReplaySettings
from uec_vlm.objective.retention import RETENTION, DynamicSampling

AXES: dict[str, Mapping[str, Callable[..., Any]]] = {
    "advantage": ADVANTAGES,
    "policy_loss": POLICY_LOSSES,
    "reduction": REDUCTIONS,
    "kl": KL,
    "entropy_term": ENTROPY_TERMS,
    "controller": CONTROLLERS,
    "exploration": EXPLORATION,
    "retention": RETENTION,
    "replay": REPLAY,
}
SHARED: dict[str, type] = {"kl": KLSettings, "exploration": ExplorationSettings, "replay": ReplaySettings}
"""The settings that every entry of an axis takes, beside its own."""

FURTHER: dict[str, type] = {
    "old_logprobs": OldLogprobs,
    "accumulate": QueueSettings,
    "dynamic_sampling": DynamicSampling,
}
"""The parts of an objective without entries."""

BEGIN, END = "<!-- registries: begin -->", "<!-- registries: end -->"


def registry_tables() -> str:
    """A table per axis: entry, settings with defaults, first sentence of its docstring; then what its entries share."""
    parts = []
    for axis, registry in AXES.items():
        lines = [f"### `{axis}`", "", "| entry | settings | what it does |", "|---|---|---|"]
        lines += [f"| `{name}` | {_settings(entry)} | {_summary(entry)} |" for name, entry in registry.items()]
        parts.append("\n".join(lines))
        if axis in SHARED:
            parts.append(f"Settings of all entries but `none`: {_described(SHARED[axis])}")
    parts += [f"### `{name}`\n\nSettings: {_described(record)}" for name, record in FURTHER.items()]
    return "\n\n".join(parts)


def renewed(page: str) -> str:
    """A page with the text between its two markers replaced by the tables of now."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{registry_tables()}\n\n{END}{tail}"


def _described(record: type) -> str:
    """The fields of a record with their defaults, and its docstring."""
    settings = ", ".join(f"`{name}` {written(default)}" for name, default in asdict(record()).items())
    return f"{settings}.\n\n{inspect.getdoc(record) or ''}"


def written(value: Any) -> str:
    """A value as YAML writes it."""
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


def _settings(entry: Callable[..., Any]) -> str:
    shown = []
    for name, parameter in inspect.signature(entry).parameters.items():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            given = "must be given" if parameter.default is inspect.Parameter.empty else written(parameter.default)
            shown.append(f"`{name}` {given}")
    return ", ".join(shown)


def _summary(entry: Callable[..., Any]) -> str:
    first = (inspect.getdoc(entry) or "").split("\n\n")[0].replace("\n", " ")
    return first.replace("|", "\\|")


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")
