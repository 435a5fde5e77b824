# SPDX-License-Identifier: GPL-3.0-or-later
"""Weights that others learned on photographs: downloaded once through torchvision, or from the user's own file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from ...core.errors import UserError

COUNTERS = "num_batches_tracked"
"""Part of a name that older files of torchvision lack, and that nothing needs."""


def copy(weights: Any, name: str, targets: Mapping[str, Tensor], file: str | Path = "") -> None:
    """Fill tensors with weights of torchvision.

    Args:
        weights: an entry of a weights enumeration of torchvision.
        name: what to call the network in a sentence.
        targets: what to fill, by torchvision's names.
        file: a ``.pth`` or ``.safetensors`` file with these weights, instead of a download.

    Raises:
        UserError: if they can't be had, or are of another network.
    """
    found = read(Path(file), name) if file else download(weights, name)
    for key, target in targets.items():
        if key.endswith(COUNTERS) and key not in found:
            continue
        value = found.get(key)
        if not isinstance(value, Tensor) or value.shape != target.shape:
            origin = str(file) or "The download"
            raise UserError(
                f"{origin} does not hold torchvision's weights of {name} ({key} is missing or of another shape): "
                "choose another file in training.weights, or set training.pretrained = false"
            )
        with torch.no_grad():
            target.copy_(value)


def download(weights: Any, name: str) -> Mapping[str, Any]:
    """Weights from torchvision's site, or where an earlier download was kept.

    Raises:
        UserError: if it can't be downloaded.
    """
    try:
        found: Mapping[str, Any] = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except Exception as problem:  # URL errors, SSL errors, hash mismatches, OS errors
        reason = " ".join(str(problem).split())[:120]
        raise UserError(
            f"The pretrained weights of {name} can't be downloaded ({reason}): connect to the internet once, "
            "set training.weights = FILE, or set training.pretrained = false"
        ) from problem
    return found


def read(file: Path, name: str) -> Mapping[str, Any]:
    """A state dict, executing nothing that the file holds.

    Raises:
        UserError: if the file can't be read or is none.
    """
    try:
        if file.suffix.lower() == ".safetensors":
            tensors: dict[str, Tensor] = safetensors.torch.load_file(file)
            return tensors
        with file.open("rb"):  # whatever is wrong with the file itself is said by its own error
            pass
        found = torch.load(file, map_location="cpu", weights_only=True)
        if not isinstance(found, dict):
            raise ValueError("not a table of weights")
        return found
    except OSError as problem:
        raise UserError(
            f"The weights in {file} can't be read ({problem.strerror or problem}): "
            "choose another file in training.weights, or set training.pretrained = false"
        ) from problem
    except Exception as problem:  # a foreign file can break in many ways
        raise UserError(
            f"{file} holds no weights: choose torchvision's file for {name} (.pth or .safetensors) in "
            "training.weights, or set training.pretrained = false"
        ) from problem
