# SPDX-License-Identifier: GPL-3.0-or-later
"""How hard an image is for a network: by its loss, or by how unsure the network is of it.

The latter by Monte-Carlo dropout [Gal2016].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
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
    return spreads(network, data, precision, t.batch_size, f.passes, t.seed, interrupted, settings.input_size)


@torch.no_grad()
def spreads(
    network: KeypointNetwork, data: EvaluationSet, precision: Precision, batch: int, passes: int, seed: int,
    interrupted: Callable[[], bool] = lambda: False, view: image_views.Size | None = None,
) -> Floats | None:  # fmt: skip
    """The spread of the decoded keypoints over several passes with dropout, ``(N,)``, in percent of the diagonal.

    Of one keypoint it is the root of the mean squared distance from its mean position; of an image the mean over the
    keypoints that lie inside, 0 where none does. The same seed gives the same spreads, and neither torch's random
    numbers nor the network's mode are changed.

    Args:
        passes: at least two.
        view: size of the network's input; None is the images' own.

    Returns:
        None as soon as ``interrupted()``.

    Raises:
        ValueError: if the network leaves nothing out.
    """
    width, height = data.size
    result = np.zeros(len(data))
    network.eval()
    devices = [precision.device] if precision.device.type == "cuda" else []
    with torch.random.fork_rng(devices), _leaving_out(network):
        torch.manual_seed(seed)
        for i in range(0, len(data), batch):
            images = data.images[i : i + batch].to(precision.device).float() / 255.0
            positions: list[Tensor] = []
            for _ in range(passes):
                if interrupted():
                    return None
                answer, _ = two_passes.find_keypoints(network, images, view or data.size, autocast=precision.autocast)
                positions.append(answer.positions.double().cpu())
            found = torch.stack(positions).numpy()
            squared = ((found - found.mean(axis=0)) ** 2).sum(axis=-1).mean(axis=0)
            here = inside(data.keypoints[i : i + batch], width, height)
            counted = np.where(here, np.sqrt(squared), 0.0).sum(axis=1) / np.maximum(here.sum(axis=1), 1)
            result[i : i + batch] = 100.0 * counted / math.hypot(width, height)
    return result


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
