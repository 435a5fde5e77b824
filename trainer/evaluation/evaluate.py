# SPDX-License-Identifier: GPL-3.0-or-later
"""A network's answers on a fixed set of images."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..images import views as image_views
from ..images.fixed_compositor import FixedCompositor
from ..maps.losses import weights_of
from ..networks import two_passes
from ..networks.covariance_calibration import Calibration
from ..networks.device import Precision
from ..networks.factory import KeypointNetwork
from . import keypoint_metrics
from .reliability import normalised_errors
from .sample_set import SampleSet

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class EvaluationSet:
    """Labelled images.

    Attributes:
        images: RGB ``(N, 3, H, W)`` uint8.
        keypoints: pixels ``(N, J, 2)``.
        visibility: ``(N, J)``: 0 outside, 1 occluded, 2 visible; None where it is not known.
    """

    images: Tensor
    keypoints: Floats
    visibility: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, samples: SampleSet, compositor: FixedCompositor) -> EvaluationSet:
        """Composited as their latent values say and always alike, so that errors tell of the latent values."""
        values, seeds = [h.values for h in samples.latents], [h.seed for h in samples.latents]
        return cls(
            compositor.composite(torch.from_numpy(samples.images), values, seeds), samples.keypoints, samples.visibility
        )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.images.shape[-1], self.images.shape[-2]


@dataclass(frozen=True)
class Evaluation:
    """What was found in the first N images of a set.

    Attributes:
        losses: ``(N,)``, the mean over the passes over an image.
        predicted: pixels ``(N, J, 2)``.
        covariances: pixels² ``(N, J, 2, 2)``.
        confidences: ``(N, J)``.
        errors: percent of the diagonal ``(N, J)``, NaN for keypoints outside.
        seconds: it took.
    """

    losses: Floats
    predicted: Floats
    covariances: Floats
    confidences: Floats
    errors: Floats
    seconds: float

    def __len__(self) -> int:
        return len(self.losses)


@torch.no_grad()
def evaluate(
    network: KeypointNetwork,
    data: EvaluationSet,
    precision: Precision,
    batch: int,
    interrupted: Callable[[], bool] = lambda: False,
    deadline: float | None = None,
    view: image_views.Size | None = None,
) -> Evaluation | None:
    """Losses and keypoints of every image, or with a ``deadline`` of as many as fit, at least one batch.

    Args:
        deadline: in the time of ``time.monotonic()``.
        view: size of the network's input; None is the images' own.

    Returns:
        None as soon as ``interrupted()``.
    """
    begin = time.monotonic()
    network.eval()
    losses: list[Tensor] = []
    predicted: list[Tensor] = []
    covariances: list[Tensor] = []
    confidences: list[Tensor] = []
    for i in range(0, len(data), batch):
        if interrupted():
            return None
        if deadline is not None and losses and time.monotonic() > deadline:
            break
        images = data.images[i : i + batch].to(precision.device).float() / 255.0
        keypoints = torch.from_numpy(data.keypoints[i : i + batch]).float().to(precision.device)
        weights = None
        if data.visibility is not None:
            seen = torch.from_numpy(data.visibility[i : i + batch]).to(precision.device)
            weights = weights_of(seen, network.config.occluded_weight)
        answer, taken = two_passes.find_keypoints(network, images, view or data.size, autocast=precision.autocast)
        losses.append(_loss(network, taken, keypoints, weights, view or data.size).cpu())
        predicted.append(answer.positions.cpu())
        covariances.append(answer.covariances.cpu())
        confidences.append(answer.confidences.cpu())
    found = torch.cat(predicted).double().numpy()
    return Evaluation(
        torch.cat(losses).double().numpy(),
        found,
        torch.cat(covariances).double().numpy(),
        torch.cat(confidences).double().numpy(),
        keypoint_metrics.errors_percent(found, data.keypoints[: len(found)], *data.size),
        time.monotonic() - begin,
    )


def _loss(
    network: KeypointNetwork,
    taken: list[two_passes.Pass],
    keypoints: Tensor,
    weights: Tensor | None,
    view: image_views.Size,
) -> Tensor:
    """The loss of each image ``(B,)``."""
    total = keypoints.new_zeros(len(keypoints))
    count = keypoints.new_zeros(len(keypoints))
    for one in taken:
        own = None if weights is None else weights[one.rows]
        loss = network.loss(one.output, one.views.points_to_view(keypoints[one.rows]), *view, own)
        total.index_add_(0, one.rows, loss.to(total))
        count.index_add_(0, one.rows, torch.ones_like(loss).to(count))
    return total / count


def learn_calibration(
    network: KeypointNetwork,
    data: EvaluationSet,
    precision: Precision,
    batch: int,
    interrupted: Callable[[], bool] = lambda: False,
    deadline: float | None = None,
    view: image_views.Size | None = None,
) -> Calibration | None:
    """What the errors on images that the network hasn't learned from say about its covariances; it is the network's
    own from then on.

    The arguments are those of :func:`evaluate`.

    Returns:
        None, with the network as it was, as soon as ``interrupted()``, or where no keypoint is found.
    """
    with network.uncalibrated() as start:
        found = evaluate(network, data, precision, batch, interrupted, deadline, view)
    if found is None:
        return None
    true = np.where(np.isnan(found.errors)[..., None], np.nan, data.keypoints[: len(found)])
    errors = normalised_errors(found.predicted, found.covariances, true, found.confidences)
    if np.isnan(errors).all():
        return None
    network.calibration = start.learned(torch.from_numpy(errors))
    return network.calibration
