# SPDX-License-Identifier: GPL-3.0-or-later
"""How hard an image is for a network: by its loss, or by how unsure the network is of it.

The latter by Monte-Carlo dropout [Gal2016], or by perturbed copies of the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from ...core.robot.visibility import inside
from ...core.settings.schema import Settings
from ..evaluation.evaluate import Evaluation, EvaluationSet
from ..images import views as image_views
from ..networks import two_passes
from ..networks.device import Precision
from ..networks.factory import KeypointNetwork

Floats = NDArray[np.float64]

SHIFT = 0.01
"""A perturbed copy is shifted by up to this share of the image's diagonal in each direction, whole pixels."""

GAIN = 0.15
"""It is up to this share brighter or darker."""

NOISE = 0.02
"""Standard deviation of its noise, where 1 is white."""


def scores(
    result: Evaluation, network: KeypointNetwork, data: EvaluationSet, precision: Precision, settings: Settings,
    interrupted: Callable[[], bool] = lambda: False,
) -> Floats | None:  # fmt: skip
    """What the feedback selects S by, ``(N,)``: the losses of an evaluation, or how unsure the network is.

    Returns:
        None as soon as ``interrupted()``.

    Raises:
        ValueError: if uncertainty is wanted of a network without dropout.
    """
    if settings.feedback.select == "loss":
        return result.losses
    t, f = settings.training, settings.feedback
    return spreads(
        network, data, precision, t.batch_size, f.passes, t.seed, interrupted, settings.input_size,
        perturbed=f.select == "perturbation",
    )  # fmt: skip


@torch.no_grad()
def spreads(
    network: KeypointNetwork, data: EvaluationSet, precision: Precision, batch: int, passes: int, seed: int,
    interrupted: Callable[[], bool] = lambda: False, view: image_views.Size | None = None, *, perturbed: bool = False,
) -> Floats | None:  # fmt: skip
    """The spread of the decoded keypoints over several passes, ``(N,)``, in percent of the diagonal.

    Of one keypoint it is the root of the mean squared distance from its mean position; of an image the mean over the
    keypoints that lie inside, 0 where none does. The same seed gives the same spreads, and neither torch's random
    numbers nor the network's mode are changed.

    Args:
        passes: at least two.
        view: size of the network's input; None is the images' own.
        perturbed: whether each pass sees another copy of the images, shifted, brightened and with noise, instead of
            leaving something out. Keypoints are moved back by the shift; all images get the same shifts and gains.

    Returns:
        None as soon as ``interrupted()``.

    Raises:
        ValueError: if the network is to leave something out and has no dropout.
    """
    width, height = data.size
    result = np.zeros(len(data))
    network.eval()
    devices = [precision.device] if precision.device.type == "cuda" else []
    copies = _copies(passes, data.size, seed) if perturbed else [None] * passes
    with torch.random.fork_rng(devices), nullcontext() if perturbed else _leaving_out(network):
        torch.manual_seed(seed)
        for i in range(0, len(data), batch):
            images = data.images[i : i + batch].to(precision.device).float() / 255.0
            positions: list[Tensor] = []
            for copy in copies:
                if interrupted():
                    return None
                shown = images if copy is None else copy(images)
                answer, _ = two_passes.find_keypoints(network, shown, view or data.size, autocast=precision.autocast)
                found_at = answer.positions.double().cpu()
                positions.append(found_at if copy is None else found_at - torch.tensor(copy.shift))
            found = torch.stack(positions).numpy()
            squared = ((found - found.mean(axis=0)) ** 2).sum(axis=-1).mean(axis=0)
            here = inside(data.keypoints[i : i + batch], width, height)
            counted = np.where(here, np.sqrt(squared), 0.0).sum(axis=1) / np.maximum(here.sum(axis=1), 1)
            result[i : i + batch] = 100.0 * counted / math.hypot(width, height)
    return result


@dataclass(frozen=True)
class _Copy:
    """How one perturbed copy differs: shifted to the right and down, pixels, and multiplied by a gain."""

    shift: tuple[int, int]
    gain: float

    def __call__(self, images: Tensor) -> Tensor:
        """The copies of images ``(B, 3, H, W)`` in 0 … 1; where they are shifted away from an edge, it is repeated."""
        height, width = images.shape[-2:]
        right, down = self.shift
        padding = (max(right, 0), max(-right, 0), max(down, 0), max(-down, 0))
        moved = F.pad(images, padding, mode="replicate")
        moved = moved[..., padding[3] : padding[3] + height, padding[1] : padding[1] + width]
        return (moved * self.gain + NOISE * torch.randn_like(moved)).clamp(0.0, 1.0)


def _copies(count: int, size: image_views.Size, seed: int) -> list[_Copy]:
    rng = np.random.default_rng(seed)
    most = max(1, round(SHIFT * math.hypot(*size)))
    shifts = rng.integers(-most, most + 1, (count, 2)).tolist()
    gains = rng.uniform(1.0 - GAIN, 1.0 + GAIN, count).tolist()
    return [_Copy((right, down), gain) for (right, down), gain in zip(shifts, gains, strict=True)]


@contextmanager
def _leaving_out(network: nn.Module) -> Iterator[None]:
    """With the dropout of a network at work, and nothing else of it as in training."""
    found = [m for m in network.modules() if isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0]
    if not found:
        raise ValueError("the network has no dropout")
    for module in found:
        module.train()
    try:
        yield
    finally:
        for module in found:
            module.eval()
