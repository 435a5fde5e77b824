# SPDX-License-Identifier: GPL-3.0-or-later
"""A trained model's keypoints on images of any size."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from . import checkpoint
from .checkpoint import ModelInfo
from .network import KeypointNetwork, normalise

GREY = 127
"""What lies behind a transparent image."""

SMALLEST_SIDE = 32
"""An image's shorter side in the network's input, pixels, unless the longer one would grow out of measure."""

LONGEST = 4
"""The longer side in the network's input, in lengths of the longer side that the model was trained with."""


@dataclass(frozen=True)
class Found:
    """One keypoint in one image.

    Attributes:
        u, v: pixels of the image that was given.
        confidence: that it lies inside the image, 0 … 1.
        covariance: of (u, v), pixels².
    """

    name: str
    u: float
    v: float
    confidence: float
    covariance: tuple[tuple[float, float], tuple[float, float]]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "name": self.name, "u": self.u, "v": self.v, "confidence": self.confidence,
            "covariance": [list(row) for row in self.covariance],
        }  # fmt: skip


@dataclass(frozen=True)
class Fit:
    """How an image lies in the network's input: resized by ``scale_u`` and ``scale_v``, which are nearly the same."""

    scale_u: float
    scale_v: float

    def to_image(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixels of the input ``(…, 2)`` to pixels of the image; both have (0, 0) at a pixel's centre."""
        return np.asarray((points + 0.5) / np.array([self.scale_u, self.scale_v]) - 0.5)

    def to_image_covariance(self, covariances: NDArray[np.float64]) -> NDArray[np.float64]:
        """Covariances ``(…, 2, 2)`` likewise."""
        scale = np.array([self.scale_u, self.scale_v])
        return np.asarray(covariances / (scale[:, None] * scale))


class Predictor:
    """A model, ready to answer."""

    def __init__(self, network: KeypointNetwork, info: ModelInfo, device: torch.device) -> None:
        self.network = network
        self.info = info
        self.device = device

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: torch.device | None = None) -> Predictor:
        """From a model file.

        Raises:
            UserError: if it is not a model of ours.
        """
        where = device or torch.device("cpu")
        return cls(*checkpoint.load_model(path, where), where)

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Found]]:
        """Keypoints of each image, RGB or RGBA ``(H, W, 3 or 4)`` of any size, in the model's order."""
        fitted = [fit_image(i, self.info.width, self.info.height) for i in images]
        results: list[list[Found]] = [[] for _ in images]
        for group in _alike([f.shape for f, _ in fitted]):
            batch = torch.from_numpy(np.stack([fitted[i][0] for i in group])).permute(0, 3, 1, 2)
            with torch.inference_mode():
                pixels = normalise(batch.to(self.device).float() / 255.0)
                points, confidences = self.network.decode(
                    self.network(pixels.contiguous(memory_format=torch.channels_last))
                )
            positions = points.positions.double().cpu().numpy()
            covariances = points.covariances.double().cpu().numpy()
            for n, i in enumerate(group):
                fit = fitted[i][1]
                uv, covariance = fit.to_image(positions[n]), fit.to_image_covariance(covariances[n])
                results[i] = [
                    Found(name, float(uv[j, 0]), float(uv[j, 1]), float(confidences[n, j]), _nested(covariance[j]))
                    for j, name in enumerate(self.info.keypoints)
                ]
        return results


def fit_image(image: NDArray[np.uint8], width: int, height: int) -> tuple[NDArray[np.uint8], Fit]:
    """Resize an image ``(H, W, 3 or 4)`` to about as many pixels as ``width`` × ``height``, keeping its own shape.

    The networks take any size. With its own shape no part of the input is wasted on borders, which are never seen in
    training, and a wide or an upright picture keeps more of its pixels.

    Returns:
        RGB ``(h, w, 3)``.
    """
    picture = Image.fromarray(image)
    if picture.mode == "RGBA":
        behind = Image.new("RGBA", picture.size, (GREY, GREY, GREY, 255))
        picture = Image.alpha_composite(behind, picture)
    picture = picture.convert("RGB")
    scale = math.sqrt(width * height / (picture.width * picture.height))
    scale = max(scale, SMALLEST_SIDE / min(picture.size))
    scale = min(scale, LONGEST * max(width, height) / max(picture.size))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    fit = Fit(size[0] / picture.width, size[1] / picture.height)
    if size != picture.size:
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    return np.array(picture), fit


def _alike(shapes: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """Places of equal shapes together."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, shape in enumerate(shapes):
        groups.setdefault(shape, []).append(i)
    return list(groups.values())


def _nested(matrix: NDArray[np.float64]) -> tuple[tuple[float, float], tuple[float, float]]:
    (a, b), (c, d) = matrix.tolist()
    return ((a, b), (c, d))
