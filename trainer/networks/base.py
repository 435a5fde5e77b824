# SPDX-License-Identifier: GPL-3.0-or-later
"""What all networks share, so that the loop, evaluation and prediction need not know which one they hold.

``forward`` gives an :class:`Output`, ``loss`` compares it with keypoints, ``beliefs`` turns it into maps and ``decode``
into keypoints.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ..maps import codec, curve_fit, losses
from .config import NetworkConfig
from .covariance_calibration import Calibration

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Normalisation of display-sRGB values in 0 … 1, per channel (ImageNet's)."""

EMPTY = -4.0
"""Bias of the last layer where every cell has a sigmoid: they start near zero, as nearly all of the target is."""


@dataclass(frozen=True)
class Output:
    """What a network says before any squashing.

    Attributes:
        logits: one map per stage and keypoint, each ``(B, J, H, W)``, the last stage last.
        outside: logit of "this keypoint is outside the image", ``(B, J)``; None where the loss knows no such outcome.
    """

    logits: tuple[Tensor, ...]
    outside: Tensor | None


@dataclass(frozen=True)
class Beliefs:
    """Belief maps ``(B, J, H, W)``, not negative, and the confidence that a keypoint is in the image, ``(B, J)``."""

    maps: Tensor
    confidence: Tensor


class KeypointNetwork(nn.Module):
    """Images ``(B, 3, H, W)``, normalised, of any size, to belief maps at ``stride``.

    Attributes:
        config: resolved.
        stride: pixels of the input for each cell of the maps.
        multiple: the deepest stride; ``compute`` gets images whose sides are multiples of it.
        outside: gives the logits of "outside the image" from the deepest features' means; None by a loss of maps.
        calibration: of the covariances that it finds; without one they are those of the maps.
    """

    multiple: int
    outside: nn.Linear | None
    calibration: Calibration | None

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config.resolved()
        self.stride = self.config.stride
        self.calibration = None

    @property
    def finest(self) -> int:
        """Rank of the features at ``stride`` among those at strides 2, 4 and 8."""
        return {2: 0, 4: 1, 8: 2}[self.stride]

    @property
    def is_distribution(self) -> bool:
        """Whether a map is a distribution over its cells, of mass one, and not a Gaussian of height one."""
        return self.config.loss in losses.DISTRIBUTION_LOSSES

    def forward(self, images: Tensor) -> Output:
        """Pads at the right and the bottom to a multiple of the deepest stride, and crops the maps again."""
        height, width = images.shape[-2:]
        down, right = -height % self.multiple, -width % self.multiple
        if self.training and len(images) == 1 and height + down == self.multiple:
            down += self.multiple  # a normalisation can't learn from one deepest cell alone
        if down or right:
            images = F.pad(images, (0, right, 0, down))
        output = self.compute(images)
        h, w = codec.grid_size(height, self.stride), codec.grid_size(width, self.stride)
        outside = None if output.outside is None else output.outside.float()
        return Output(tuple(m[..., :h, :w].float() for m in output.logits), outside)

    @abstractmethod
    def compute(self, images: Tensor) -> Output:
        """The network itself, on images whose sides are multiples of ``multiple``."""

    def stage_losses(
        self, output: Output, keypoints: Tensor, width: int, height: int, weights: Tensor | None = None
    ) -> Tensor:
        """Loss of each stage and image ``(S, B)``; the arguments are those of :meth:`loss`."""
        c = self.config
        return losses.stage_losses(
            c.loss, output.logits, output.outside, keypoints, width, height, self.stride, c.sigma, weights,
            fitted=c.is_fitted,
        )  # fmt: skip

    def loss(self, output: Output, keypoints: Tensor, width: int, height: int, weights: Tensor | None = None) -> Tensor:
        """Loss of each image ``(B,)``, averaged over the stages.

        Args:
            keypoints: pixels of the input ``(B, J, 2)``.
            weights: of the keypoints ``(B, J)``, as from :func:`.losses.weights_of`.
        """
        return self.stage_losses(output, keypoints, width, height, weights).mean(0)

    def beliefs(self, output: Output) -> Beliefs:
        """Belief maps of the last stage: given that the keypoint is in the image, where a map is a distribution.

        The confidence is then 1 - P(outside); else it is a map's highest value.
        """
        last = output.logits[-1]
        return Beliefs(
            losses.squash(self.config.loss, last), losses.confidence(self.config.loss, last, output.outside)
        )  # fmt: skip

    def decode(self, output: Output, method: str | None = None) -> tuple[codec.Points, Tensor]:
        """Keypoints in pixels of the input, and the belief that each lies inside it ``(B, J)``.

        Args:
            method: one of :data:`.METHODS`; None is the decoder of the network's settings.
        """
        beliefs = self.beliefs(output)
        return self.locate(beliefs.maps, method), beliefs.confidence

    def locate(self, maps: Tensor, method: str | None = None, scale: float = 1.0) -> codec.Points:
        """Keypoints from belief maps of this network, which may be averages of several; see :meth:`decode`.

        Args:
            scale: the least size of the image that they are averages of: a peak is as wide as that one's.
        """
        c = self.config
        if method is None and c.is_fitted:
            points = curve_fit.locate(maps, self.stride, c.sigma)
        else:
            # Coordinates alone shape a map's mean, and nothing else of it.
            own = "mean" if c.loss == "coordinates" else "local"
            method = method or own
            points = codec.decode(maps, self.stride, c.sigma, peak=not self.is_distribution, method=method)
        if scale < 1.0 and method != "mean":
            points = replace(points, masses=codec.masses(maps, self.stride, c.sigma, scale))
        if self.calibration is None:
            return points
        return replace(points, covariances=self.calibration(points.covariances))

    @contextmanager
    def uncalibrated(self) -> Iterator[Calibration]:
        """The calibration to learn from, with which the network computes meanwhile; its own comes back afterwards."""
        own, start = self.calibration, Calibration.start(self.config)
        self.calibration = start
        try:
            yield start
        finally:
            self.calibration = own

    # ------------------------------------------------------------------------------------------ for the networks

    def outside_layer(self, features: int) -> nn.Linear | None:
        """What ``outside`` is to be, on so many features."""
        return nn.Linear(features, self.config.keypoints) if self.is_distribution else None

    def outside_logits(self, deepest: Tensor, maps: Tensor) -> Tensor | None:
        """``(B, J)``; a softmax over n cells against one more: the outside starts at even odds."""
        if self.outside is None:
            return None
        # Counted by the tensor itself, so that an exported network counts again for each image size.
        cells = torch.ones_like(maps[:, :1], dtype=torch.float32).sum((-2, -1))
        logits: Tensor = self.outside(deepest.mean((-2, -1)))
        return logits.float() + cells.log()

    def last_layer(self, features: int) -> nn.Conv2d:
        """A map of logits for each keypoint from so many features."""
        layer = nn.Conv2d(features, self.config.keypoints, 1)
        if not self.is_distribution:
            nn.init.constant_(layer.bias, EMPTY)  # type: ignore[arg-type]
        return layer


def normalise(images: Tensor) -> Tensor:
    """Display-sRGB values 0 … 1, ``(B, 3, H, W)``, to what the networks take."""
    mean, std = statistics(images.device)
    return (images - mean) / std


def statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """:data:`MEAN` and :data:`STD` ``(1, 3, 1, 1)``, brought to a device once."""
    # What an export or a compilation makes belongs to it, and must not be kept for others.
    return _brought(device) if torch.compiler.is_compiling() else _kept(device)


@cache
def _kept(device: torch.device) -> tuple[Tensor, Tensor]:
    return _brought(device)


def _brought(device: torch.device) -> tuple[Tensor, Tensor]:
    return torch.tensor(MEAN, device=device).view(1, 3, 1, 1), torch.tensor(STD, device=device).view(1, 3, 1, 1)


def block(
    inputs: int, outputs: int, size: int = 3, stride: int = 1, convolution: type[nn.Conv2d] = nn.Conv2d
) -> nn.Sequential:
    """A convolution, a normalisation and a rectifier."""
    return nn.Sequential(
        convolution(inputs, outputs, size, stride, size // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
