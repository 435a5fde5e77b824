# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of a data set as a training wants them: of one size, each time from another view, with weighted keypoints.

A keypoint's weight falls with the variance s² that its label tells of: it is σ² / (σ² + s²), where σ is the standard
deviation of the belief maps' targets and s² the mean of the variances along the two axes, both in the same pixels. A
label as uncertain as a target is wide weighs half, one that tells of no variance weighs 1.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ...core.errors import UserError
from ...core.robot.visibility import inside
from ..datasets import keypoint_matching
from ..datasets.annotations import OUTSIDE, UNKNOWN, Item
from ..images import training_augmentation as limits, views
from ..inference.predictor import Fit, fit_image

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LabelledImage:
    """A decoded image.

    Attributes:
        pixels: RGB ``(h, w, 3)``, with about as many pixels as the training's images, or somewhat more.
        points: in its pixels ``(J, 2)``, NaN where outside or not annotated.
        visibility: ``(J,)``: 2 visible, 1 occluded, 0 outside, -1 not annotated.
        variances: of the points, in its pixels² ``(J,)``.
        to_annotated: from its pixels to those that were annotated ``(2, 3)``.
    """

    pixels: NDArray[np.uint8]
    points: Floats
    visibility: NDArray[np.int64]
    variances: Floats
    to_annotated: Floats = field(default_factory=lambda: np.eye(2, 3))


class DecodedImages:
    """Images of a data set, kept once they are decoded as long as there is room, and else decoded anew."""

    def __init__(
        self, items: Sequence[Item], names: Sequence[str], size: tuple[int, int], *, complete: bool, memory: int
    ) -> None:
        """Remember where the images are; none is read yet.

        Args:
            names: of the training's keypoints.
            size: width and height of the training's images.
            complete: whether robots that are not annotated are known to be outside.
            memory: bytes for pixels.
        """
        self.items = items
        self.size = size
        self._names = names
        self._complete = complete
        self._room = memory
        self._kept: dict[int, LabelledImage | None] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.items)

    @property
    def keypoints(self) -> int:
        """How many a training image has."""
        return len(self._names)

    @property
    def kept(self) -> int:
        """Images in memory."""
        return len(self._kept)

    def read(self, index: int) -> LabelledImage:
        """One image.

        Raises:
            UserError: if it can't be read, or has another size than annotated.
        """
        item = self.items[index]
        photograph = item.picture()
        truth = keypoint_matching.truth(item, self._names, self._complete)
        beyond = (truth.visibility > 0) & ~inside(truth.points, photograph.width, photograph.height)
        points = np.where(beyond[:, None], np.nan, truth.points)
        # Enough pixels for the closest view, as far as the image has them.
        width, height = (round(side * limits.LARGEST_SCALE) for side in self.size)
        fitted = fit_image(photograph.pixels, width, height)
        pixels, fit = fitted.pixels, fitted.fit
        if pixels.size > photograph.pixels[..., :3].size:
            pixels, fit = np.array(Image.fromarray(photograph.pixels).convert("RGB")), Fit(1.0, 1.0)
        total = Fit(*(a * b for a, b in zip(photograph.scale, (fit.scale_u, fit.scale_v), strict=True)))
        area = total.scale_u * total.scale_v
        visibility = np.where(beyond, OUTSIDE, truth.visibility)
        return LabelledImage(
            pixels, total.to_input(points), visibility, truth.variances * area, _matrix_to_image(total)
        )

    def __getitem__(self, index: int) -> LabelledImage | None:
        """One image; None of one that can't be read, which is told of once."""
        with self._lock:
            if index in self._kept:
                return self._kept[index]
        try:
            image: LabelledImage | None = self.read(index)
        except UserError as problem:
            print(f"warning: {problem}; the training goes on without it", file=sys.stderr, flush=True)
            image = None
        size = 0 if image is None else image.pixels.nbytes
        with self._lock:
            if size <= self._room:
                self._kept[index] = image
                self._room -= size
        return image


def _matrix_to_image(fit: Fit) -> Floats:
    """:meth:`.Fit.to_image` as ``(2, 3)``."""
    scale = 1.0 / np.array([fit.scale_u, fit.scale_v])
    return np.column_stack([np.diag(scale), 0.5 * scale - 0.5])


@dataclass(frozen=True)
class View:
    """What a training image shows of a data set's image: ``scale`` of its pixels over the image's, turned by ``turn``
    radians, with ``centre`` in its middle, in pixels of the image."""

    scale: float
    turn: float
    centre: tuple[float, float]


def whole_view(image: LabelledImage, size: tuple[int, int]) -> View:
    """All of the image, as large as it can be shown."""
    height, width = image.pixels.shape[:2]
    return View(min(size[0] / width, size[1] / height), 0.0, ((width - 1) / 2, (height - 1) / 2))


def drawn_view(image: LabelledImage, size: tuple[int, int], rng: np.random.Generator) -> View:
    """About as large as predictions see images, but scaled, turned and shifted at random; where the training's images
    have another shape, the keypoints are in the part that is shown if they fit."""
    height, width = image.pixels.shape[:2]
    log = math.log(limits.LARGEST_SCALE)
    scale = math.sqrt(size[0] * size[1] / (width * height)) * math.exp(rng.uniform(-log, log))
    turn = rng.uniform(-limits.LARGEST_TURN, limits.LARGEST_TURN)
    seen = image.points[~np.isnan(image.points[:, 0])]
    centre = []
    for axis, side in enumerate((width, height)):
        extent = size[axis] / scale
        middle = (side - 1) / 2
        if len(seen):
            low, high = seen[:, axis].max() - extent / 2, seen[:, axis].min() + extent / 2
            middle = float(np.clip(middle, low, high)) if low <= high else (low + high) / 2
        centre.append(middle + rng.uniform(-1, 1) * limits.LARGEST_SHIFT * extent)
    return View(scale, turn, (centre[0], centre[1]))


def to_image_of(view: View, size: tuple[int, int]) -> Floats:
    """From the pixels of a view to those of the image, ``(2, 3)``."""
    c, s = math.cos(view.turn), math.sin(view.turn)
    linear: Floats = np.array([[c, s], [-s, c]]) / view.scale
    return np.column_stack([linear, np.array(view.centre) - linear @ ((np.array(size) - 1) / 2)])


def show(image: LabelledImage, view: View, size: tuple[int, int]) -> tuple[NDArray[np.uint8], Floats]:
    """The view of an image as opaque RGBA ``(H, W, 4)``, beyond the border as at the border, and the keypoints in its
    pixels ``(J, 2)``."""
    matrix = to_image_of(view, size)
    points: Floats = np.asarray((image.points - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T, np.float64)
    to_image = views.Views(torch.from_numpy(matrix).float()[None])
    pixels = torch.from_numpy(image.pixels).permute(2, 0, 1)[None].float()
    shown = views.sample(pixels, to_image, size)[0].round_().byte().permute(1, 2, 0).numpy()
    opaque = np.full((*shown.shape[:2], 1), 255, np.uint8)
    return np.concatenate([shown, opaque], -1), points


def keypoint_weights(image: LabelledImage, scale: float, sigma: float, most: float) -> Floats:
    """What each keypoint weighs by its label's variance ``(J,)``: see the module.

    Args:
        scale: of the view.
        sigma: of the targets, pixels of the view.
        most: standard deviations beyond so many times ``sigma`` weigh nothing; 0 leaves none out.
    """
    variances = image.variances * scale**2
    weights = sigma**2 / (sigma**2 + variances)
    if most:
        weights = np.where(variances > (most * sigma) ** 2, 0.0, weights)
    return np.where(image.visibility == UNKNOWN, 0.0, weights)
