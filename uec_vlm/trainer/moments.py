"""Optimizer moments under the names of their parameters: they fit every sharding and every number of processes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from uec_vlm.errors import CheckpointError

NamedParameters = Iterable[tuple[str, Tensor]]


def named_moments(optimizer: torch.optim.Optimizer, parameters: NamedParameters) -> dict[str, Tensor]:
    """`{parameter}.exp_avg`, `{parameter}.exp_avg_sq`, `{parameter}.step` of each parameter that was ever updated.

    parameters: names and parameters of the model, a superset of the optimizer's.
    """
    names = _names(optimizer, parameters)
    stored = optimizer.state_dict()["state"]
    return {f"{names[place]}.{key}": value for place, entry in stored.items() for key, value in entry.items()}


def restore_moments(
    optimizer: torch.optim.Optimizer, parameters: NamedParameters, moments: Mapping[str, Tensor]
) -> None:
    """Puts `named_moments` back. CheckpointError if a name belongs to no trainable parameter, or a shape differs."""
    places = {name: place for place, name in enumerate(_names(optimizer, parameters))}
    shapes = [parameter.shape for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for full, tensor in moments.items():
        name, key = full.rsplit(".", 1)
        if name not in places:
            raise CheckpointError(
                f"the checkpoint has optimizer moments of '{name}', which is not trained here; resume with the model, "
                "freezing and adapter settings that the run was begun with."
            )
        if key != "step" and tensor.shape != shapes[places[name]]:
            raise CheckpointError(
                f"optimizer moments of '{name}' have the shape {tuple(tensor.shape)}, the parameter "
                f"{tuple(shapes[places[name]])}; resume with the model that the run was begun with."
            )
        state.setdefault(places[name], {})[key] = tensor.clone()
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _names(optimizer: torch.optim.Optimizer, parameters: NamedParameters) -> list[str]:
    """The name of every parameter of the optimizer, in its order."""
    names = {id(parameter): name for name, parameter in parameters}
    return [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]
