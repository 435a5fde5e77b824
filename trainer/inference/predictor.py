# SPDX-License-Identifier: GPL-3.0-or-later
"""A trained model's keypoints on images of any size."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ...core.errors import UserError
from ..images import views as image_views
from ..images.image_file import Photograph
from ..maps import codec
from ..networks import model_file, two_passes
from ..networks.batchnorm_folding import fused
from ..networks.cuda_graphs import Replayed
from ..networks.factory import KeypointNetwork
from ..networks.model_file import ModelInfo
from ..networks.two_passes import MOVING, Inspection

GREY = 127
"""What lies behind a transparent image."""

SMALLEST_SIDE = 32
"""An image's shorter side in the network's input, pixels, unless the longer one would grow out of measure."""

LEAST_SCORE = 0.05
"""A peak of less is not told."""

FINEST = 8.0
"""A closer crop is of an image of at most so many times the width and height of the network's input."""

LONGEST = 4
"""The longer side in the network's input, in lengths of the longer side that the model was trained with."""


@dataclass(frozen=True)
class Found:
    """One keypoint in one image.

    Attributes:
        u, v: pixels of the image that was given; where a curve fit found it, maybe a little outside.
        confidence: that it lies inside the image, or where a curve may find it, and near (u, v), 0 … 1.
        covariance: of (u, v), pixels².
        peaks: where several were asked for: (u, v, score) of each, best first; see :func:`.codec.peaks`.
    """

    name: str
    u: float
    v: float
    confidence: float
    covariance: tuple[tuple[float, float], tuple[float, float]]
    peaks: tuple[tuple[float, float, float], ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        document: dict[str, Any] = {
            "name": self.name, "u": self.u, "v": self.v, "confidence": self.confidence,
            "covariance": [list(row) for row in self.covariance],
        }  # fmt: skip
        if self.peaks is not None:
            document["peaks"] = [{"u": u, "v": v, "score": score} for u, v, score in self.peaks]
        return document

    def to_image(self, fit: Fit) -> Found:
        """What was found in the network's input, in pixels of the image."""
        u, v = fit.to_image(np.array([self.u, self.v])).tolist()
        covariance = _nested(fit.to_image_covariance(np.array(self.covariance)))
        peaks = self.peaks
        if peaks is not None:
            moved = [(*fit.to_image(np.array([pu, pv])).tolist(), score) for pu, pv, score in peaks]
            peaks = tuple((float(pu), float(pv), float(score)) for pu, pv, score in moved)
        return replace(self, u=u, v=v, covariance=covariance, peaks=peaks)


@dataclass(frozen=True)
class Fit:
    """How an image lies in the network's input: resized by ``scale_u`` and ``scale_v``, which are nearly the same."""

    scale_u: float
    scale_v: float

    def to_image(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixels of the input ``(…, 2)`` to pixels of the image; both have (0, 0) at a pixel's centre."""
        return np.asarray((points + 0.5) / np.array([self.scale_u, self.scale_v]) - 0.5)

    def to_input(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Pixels of the image ``(…, 2)`` to pixels of the input."""
        return np.asarray((points + 0.5) * np.array([self.scale_u, self.scale_v]) - 0.5)

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
        self._answer: two_passes.Answer | None = None
        if device.type == "cuda":
            self._answer = Replayed(partial(two_passes.answered, network))

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], device: torch.device | None = None, decoder: str | None = None
    ) -> Predictor:
        """Load a model file.

        Args:
            decoder: one of :data:`.DECODERS`, in place of the one that the model was trained for.

        Raises:
            UserError: if it is not a model of ours.
        """
        where = device or torch.device("cpu")
        network, info = model_file.load_model(path, where)
        if decoder is not None:
            network.config = replace(network.config, decoder=decoder)
            info = replace(info, network=network.config)
        return cls(fused(network), info, where)

    def predict(
        self, images: Sequence[NDArray[np.uint8]], inspection: Inspection = MOVING, peaks: int = 0
    ) -> list[list[Found]]:
        """Keypoints of each image, RGB or RGBA ``(H, W, 3 or 4)`` of any size, in the model's order.

        Args:
            inspection: how thoroughly they are looked at; a scale of 1 is about that of the training.
            peaks: how many places of each keypoint to tell besides the best one, as for several robots.
        """
        finest = 1.0 if self.info.coarse_scale == 1.0 else FINEST
        fitted = [fit_image(i, self.info.width, self.info.height, finest) for i in images]
        results: list[list[Found]] = [[] for _ in images]
        for group in _alike([(*f.pixels.shape, *f.view) for f in fitted]):
            batch = torch.from_numpy(np.stack([fitted[i].pixels for i in group])).permute(0, 3, 1, 2)
            pixels = batch.to(self.device).float() / 255.0
            answers = self._locate(pixels, fitted[group[0]].view, inspection, peaks)
            for i, answer in zip(group, answers, strict=True):
                results[i] = [k.to_image(fitted[i].fit) for k in answer]
        return results

    @torch.inference_mode()
    def _locate(
        self, pixels: torch.Tensor, view: image_views.Size, inspection: Inspection, peaks: int
    ) -> list[list[Found]]:
        """Keypoints of images ``(B, 3, H, W)`` in 0 … 1, in pixels of these."""
        network = self.network
        # A closer crop shows one robot.
        found, (first, *_) = two_passes.find_keypoints(
            network, pixels, view, inspection, closer=not peaks, answer=self._answer
        )
        positions, covariances = (t.double().cpu().numpy() for t in (found.positions, found.covariances))
        confidences = found.confidences.double().cpu().numpy()
        if not all(np.isfinite(numbers).all() for numbers in (positions, covariances, confidences)):
            raise UserError("The model gives answers that are no numbers: train it anew, or take another copy of it")
        several: list[list[tuple[tuple[float, float, float], ...] | None]]
        several = [[None] * len(self.info.keypoints) for _ in pixels]
        if peaks:
            places, scores = codec.peaks(
                first.beliefs.maps,
                network.stride,
                network.config.sigma,
                peaks,
                LEAST_SCORE,
                peak=not network.is_distribution,
            )
            places = first.views.points_to_image(places.flatten(1, 2)).view_as(places)
            rows = torch.cat([places, scores[..., None]], -1).double().cpu().numpy()
            several = [[tuple((u, v, s) for u, v, s in k.tolist() if s > 0) for k in image] for image in rows]
        return [
            [
                Found(
                    name, float(positions[i, j, 0]), float(positions[i, j, 1]), float(confidences[i, j]),
                    _nested(covariances[i, j]), several[i][j],
                )
                for j, name in enumerate(self.info.keypoints)
            ]
            for i in range(len(pixels))
        ]  # fmt: skip


def in_whole(found: list[Found], photograph: Photograph) -> list[Found]:
    """What was found in a photograph's ``pixels``, in pixels of the picture that these may be a smaller copy of."""
    if photograph.scale == (1.0, 1.0):
        return found
    return [k.to_image(Fit(*photograph.scale)) for k in found]


@dataclass(frozen=True)
class Fitted:
    """An image as it is looked at: RGB ``(h, w, 3)``, how the image lies in it, and the size of a view of it."""

    pixels: NDArray[np.uint8]
    fit: Fit
    view: image_views.Size


def fit_image(image: NDArray[np.uint8], width: int, height: int, finest: float = 1.0) -> Fitted:
    """Resize an image ``(H, W, 3 or 4)`` to about as many pixels as ``width`` × ``height``, keeping its own shape.

    The networks take any size. With its own shape no part of the input is wasted on borders, which are never seen in
    training, and a wide or an upright picture keeps more of its pixels.

    Args:
        finest: an image with more pixels keeps them, up to so many times the view's width and height.
    """
    picture = Image.fromarray(image)
    if picture.mode == "RGBA":
        behind = Image.new("RGBA", picture.size, (GREY, GREY, GREY, 255))
        picture = Image.alpha_composite(behind, picture)
    picture = picture.convert("RGB")
    scale = math.sqrt(width * height / (picture.width * picture.height))
    scale = max(scale, SMALLEST_SIDE / min(picture.size))
    scale = min(scale, LONGEST * max(width, height) / max(picture.size))
    view = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    larger = max(1.0, min(finest, 1 / scale))
    size = picture.size if larger == 1 / scale else (round(view[0] * larger), round(view[1] * larger))
    fit = Fit(size[0] / picture.width, size[1] / picture.height)
    if size != picture.size:
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    return Fitted(np.array(picture), fit, view)


def _alike(shapes: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """Places of equal shapes together."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, shape in enumerate(shapes):
        groups.setdefault(shape, []).append(i)
    return list(groups.values())


def _nested(matrix: NDArray[np.float64]) -> tuple[tuple[float, float], tuple[float, float]]:
    (a, b), (c, d) = matrix.tolist()
    return ((a, b), (c, d))
