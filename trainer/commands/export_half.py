# SPDX-License-Identifier: GPL-3.0-or-later
"""``robot-keypoints export --half``: the model with its convolutions' weights in half precision, half as large.

The network computes as before: the weights become single precision again when it is loaded. Everything else in the
file, its normalisations above all, stays as precise as it was.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from ...core.errors import UserError
from ..networks import factory, model_file
from ..networks.factory import KeypointNetwork, normalise
from ..networks.model_file import ModelInfo

CPU = torch.device("cpu")
MOST_CHANGE = 0.01
"""Of a belief or a confidence, both up to 1, by the rounding; models that come along change by a hundredth of that."""


def export_half(model: Path, out: Path) -> int:
    """Write the file, unless the rounding changes what the network answers.

    Raises:
        UserError: if the model or the file's place is of no use, or half precision doesn't do for this model.
    """
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise UserError(f"No file can be written at {out}: choose another for --half")
    network, info = model_file.load_model(model, CPU)
    weights = halved(safetensors.torch.load_file(model), model)
    rounded = factory.build(info.network)
    rounded.load_state_dict(weights)
    change = largest_change(network, rounded.eval(), info)
    if not change <= MOST_CHANGE:
        raise UserError(f"Half precision would change the answers of {model} by {change:.2g}: keep it as it is")
    model_file.save_model(out, weights, info)
    sizes = " instead of ".join(f"{p.stat().st_size / 1e6:.1f} MB" for p in (out, model))
    print(f"{out}: {sizes}, beliefs and confidences at most {change:.1e} apart on an image of noise", file=sys.stderr)
    return 0


def halved(weights: Mapping[str, Tensor], model: Path) -> dict[str, Tensor]:
    """The tensors with those of convolutions in half precision; what is in half precision already stays bit by bit.

    Raises:
        UserError: if one is too large for that.
    """
    found = {k: v.half() if v.ndim == 4 and v.is_floating_point() else v for k, v in weights.items()}
    for name, tensor in found.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            largest = float(weights[name].abs().max())
            raise UserError(f"{name} of {model} reaches {largest:.3g}, too much for half precision: keep it as it is")
    return found


def largest_change(before: KeypointNetwork, after: KeypointNetwork, info: ModelInfo) -> float:
    """Between the beliefs and confidences of two networks, on noise of the size of the training's images."""
    generator = torch.Generator().manual_seed(0)
    images = normalise(torch.rand(1, 3, info.height, info.width, generator=generator))
    with torch.no_grad():
        a, b = (network.beliefs(network(images)) for network in (before, after))
    return max(float((x - y).abs().max()) for x, y in ((a.maps, b.maps), (a.confidence, b.confidence)))
