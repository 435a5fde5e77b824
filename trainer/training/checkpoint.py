# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkpoints: everything that a run needs to go on, as safetensors and JSON."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...core.errors import UserError
from ...core.messages.model_document import read_header
from ..networks import tensor_file
from ..networks.model_file import MOMENTS, SCHEMA


@dataclass
class Checkpoint:
    """Everything that a run needs to go on.

    Attributes:
        tensors: weights, their running average and the optimiser's state, by dotted name.
        state: plain JSON values: counters, priors, the optimiser's numbers.
        generators: states of random-number generators, by name.
    """

    tensors: dict[str, Tensor]
    state: dict[str, Any]
    generators: dict[str, Tensor]

    def save(self, path: Path) -> None:
        """One file, so that its parts always belong together."""
        generators = {k: base64.b64encode(v.numpy().tobytes()).decode() for k, v in self.generators.items()}
        document = {"schema": SCHEMA, "state": self.state, "generators": generators}
        tensor_file.write(path, self.tensors, document)

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Inverse of :meth:`save`.

        Raises:
            UserError: if there is none, or it can't be read.
        """
        if not path.is_file():
            raise UserError(f"There is no checkpoint at {path}: start a new run")
        try:
            header = read_header(path)
            document = header.document
            if document["schema"] != SCHEMA:
                raise ValueError(f"schema {document['schema']!r}")
            generators = {
                k: torch.frombuffer(bytearray(base64.b64decode(v, validate=True)), dtype=torch.uint8)
                for k, v in document["generators"].items()
            }
            return cls(tensor_file.read_tensors(header), dict(document["state"]), generators)
        except UserError:
            raise
        except Exception as problem:  # a damaged file can break any of these steps in its own way
            raise UserError(f"The checkpoint {path} can't be read: start a new run") from problem


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries below ``prefix.``, without it."""
    return {k.removeprefix(prefix + "."): v for k, v in tensors.items() if k.startswith(prefix + ".")}


def flatten_optimiser(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as tensors named ``INDEX.NAME``; its settings come from the run's settings again."""
    state = optimiser.state_dict()["state"]
    return {f"{i}.{k}": torch.as_tensor(v) for i, entries in state.items() for k, v in entries.items()}


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Inverse of :func:`flatten_optimiser`.

    Raises:
        ValueError: if they are not of such an optimiser.
    """
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        if not index.isdecimal() or int(index) >= len(parameters) or not tensor.is_floating_point():
            raise ValueError(f"the optimiser has no {name}")
        parameter = parameters[int(index)]
        if key not in MOMENTS or tensor.shape != (() if key == "step" else parameter.shape):
            raise ValueError(f"the optimiser has no {name} of this shape")
        if key != "exp_avg" and bool((tensor < 0).any()):
            raise ValueError(f"{name} is negative")
        if key != "step":
            # In the parameter's own layout, in which it was computed: another one may round differently.
            tensor = torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor)
        state.setdefault(int(index), {})[key] = tensor
    if any(entries.keys() != MOMENTS for entries in state.values()):
        raise ValueError("the optimiser lacks a part of its state")
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
