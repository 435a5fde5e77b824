# SPDX-License-Identifier: GPL-3.0-or-later
"""The validation images of a run that its model does worst on."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from ...core import run_folder
from ...core.errors import UserError
from ..images.fixed_compositor import FixedCompositor
from ..networks import device
from ..networks.device import Precision
from ..networks.model_file import ModelInfo, load_model
from ..reports.page import Picture
from . import image_errors
from .evaluate import EvaluationSet, evaluate
from .image_errors import Compared
from .run_record import RunRecord
from .sample_set import SampleSet

SHOWN = 12

PATIENCE = 60.0
"""Seconds for predictions; the hardest of those images that were reached are shown."""

SMALL = 1 << 20
"""Bytes of all that a sample has besides its image, at most."""


@dataclass(frozen=True)
class Hardest:
    """The pictures, the hardest one first, of so many images that were looked at, of so many that there are."""

    pictures: tuple[Picture, ...]
    measured: int
    of: int


def hardest(record: RunRecord) -> Hardest:
    """Let the run's best model predict on its validation images.

    Raises:
        UserError: if the model, the images or what lies behind them can't be read, or don't belong together.
    """
    settings = record.settings
    path = record.folder / run_folder.MODEL
    if not path.is_file():
        raise UserError("The run has no model yet")
    images = run_folder.samples(record.folder, "validation")
    if not images.is_file():
        raise UserError("The run has no validation images yet")
    render = settings.render
    most = (settings.training.validation_images + settings.training.test_images) * (
        4 * render.width * render.height + SMALL
    )
    samples = SampleSet.load(images, most)
    where = device.choose("auto")
    network, info = load_model(path, where)
    if samples.images.shape[1:3] != (render.height, render.width) or samples.keypoints.shape[1] != len(info.keypoints):
        raise UserError(f"{images} does not fit the run's settings or its model")
    data = EvaluationSet.of(samples, FixedCompositor.of(settings, validation=True))
    found = evaluate(
        network, data, Precision(where, False, 1.0), settings.training.batch_size,
        deadline=time.monotonic() + PATIENCE, view=settings.input_size,
    )  # fmt: skip
    assert found is not None
    order = np.argsort(-found.losses, kind="stable")[:SHOWN].tolist()
    pictures = []
    for i in order:
        compared = Compared(
            info.keypoints, data.keypoints[i], found.predicted[i], found.errors[i], found.confidences[i]
        )
        drawn = image_errors.draw(data.images[i].permute(1, 2, 0).numpy(), compared)
        pictures.append(Picture(drawn, "image/jpeg", f"Validation image {i}", _caption(info, i, found.errors[i])))
    return Hardest(tuple(pictures), len(found), len(data))


def _caption(info: ModelInfo, i: int, errors: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    if np.isnan(errors).all():
        return f"Image {i}: no keypoint inside"
    worst = int(np.nanargmax(errors))
    return f"Image {i}: mean error {np.nanmean(errors):.1f} %, worst {info.keypoints[worst]} ({errors[worst]:.1f} %)"
