# SPDX-License-Identifier: GPL-3.0-or-later
"""A trained model's keypoints on images of any size."""

from __future__ import annotations

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
"""What lies around an image of another shape, and behind a transparent one."""


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
    """How an image lies in the network's input: resized by ``scale``, then moved by whole pixels."""

    scale: float
    left: int
    top: int

    def to_image(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixels of the input ``(…, 2)`` to pixels of the image; both have (0, 0) at a pixel's centre."""
        return np.asarray((points - np.array([self.left, self.top]) + 0.5) / self.scale - 0.5)


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
        if not images:
            return []
        fitted, fits = zip(*(fit_image(i, self.info.width, self.info.height) for i in images), strict=True)
        batch = torch.from_numpy(np.stack(fitted)).permute(0, 3, 1, 2).to(self.device).float() / 255.0
        with torch.inference_mode():
            points, confidences = self.network.decode(
                self.network(normalise(batch).contiguous(memory_format=torch.channels_last))
            )
        positions = points.positions.double().cpu().numpy()
        covariances = points.covariances.double().cpu().numpy()
        results = []
        for i, fit in enumerate(fits):
            uv = fit.to_image(positions[i])
            covariance = covariances[i] / fit.scale**2
            results.append(
                [
                    Found(name, float(uv[j, 0]), float(uv[j, 1]), float(confidences[i, j]), _nested(covariance[j]))
                    for j, name in enumerate(self.info.keypoints)
                ]
            )
        return results


def fit_image(image: NDArray[np.uint8], width: int, height: int) -> tuple[NDArray[np.uint8], Fit]:
    """Resize an image ``(H, W, 3 or 4)`` keeping its shape, and centre it in ``(height, width, 3)``."""
    picture = Image.fromarray(image)
    if picture.mode == "RGBA":
        behind = Image.new("RGBA", picture.size, (GREY, GREY, GREY, 255))
        picture = Image.alpha_composite(behind, picture)
    picture = picture.convert("RGB")
    scale = min(width / picture.width, height / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    if size != picture.size:
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    canvas = np.full((height, width, 3), GREY, np.uint8)
    canvas[top : top + size[1], left : left + size[0]] = np.asarray(picture)
    return canvas, Fit(scale, left, top)


def _nested(matrix: NDArray[np.float64]) -> tuple[tuple[float, float], tuple[float, float]]:
    (a, b), (c, d) = matrix.tolist()
    return ((a, b), (c, d))
