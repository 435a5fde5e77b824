# SPDX-License-Identifier: GPL-3.0-or-later
"""A small sheet of the hardest validation images of a run, written anew at each validation for whoever watches."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ...core import files
from . import image_errors
from .evaluate import Evaluation, EvaluationSet
from .image_errors import Compared

COLUMNS, ROWS = 2, 3

WIDTH = 240
"""Pixels of the larger side of each image: the sheet has less than half a million, whatever the run's images are."""

QUALITY = 88


def write(path: Path, data: EvaluationSet, found: Evaluation, names: Sequence[str]) -> None:
    """Write the sheet as JPEG, whole or not at all; the hardest image stands first.

    Args:
        found: of at least one image.
        names: of the keypoints.

    Raises:
        UserError: if there is no room, or no right to.
    """
    files.write_bytes(path, sheet(data, found, names))


def sheet(data: EvaluationSet, found: Evaluation, names: Sequence[str]) -> bytes:
    """The sheet as JPEG: the images with the largest losses, with truth and prediction; of few no larger than they."""
    order = np.argsort(-found.losses, kind="stable")[: COLUMNS * ROWS].tolist()
    pictures = []
    for i in order:
        compared = Compared(names, data.keypoints[i], found.predicted[i], found.errors[i], found.confidences[i])
        drawn = image_errors.draw(data.images[i].permute(1, 2, 0).numpy(), compared, WIDTH)
        pictures.append(Image.open(io.BytesIO(drawn)))
    width, height = (max(p.size[axis] for p in pictures) for axis in (0, 1))
    columns = min(COLUMNS, len(pictures))
    whole = Image.new("RGB", (columns * width, math.ceil(len(pictures) / columns) * height), (27, 27, 27))
    for place, picture in enumerate(pictures):
        whole.paste(picture, (place % columns * width, place // columns * height))
    buffer = io.BytesIO()
    whole.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
