# SPDX-License-Identifier: GPL-3.0-or-later
"""Data sets of images with coloured dots for keypoints, in the form of COCO."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

NAMES = ("foot", "knee", "hand")
COLOURS = ((230, 40, 40), (40, 210, 60), (60, 90, 250))


def write(
    folder: Path, count: int, *, size: tuple[int, int] = (64, 48), names: Sequence[str] = NAMES, seed: int = 0,
    covariance: float | None = None,
) -> Path:  # fmt: skip
    """A data set of ``count`` images.

    Args:
        covariance: of each keypoint's label along each axis, pixels²; None tells of none.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    images, annotations = [], []
    for i in range(count):
        picture = Image.fromarray(rng.integers(90, 130, (size[1], size[0], 3), np.uint8))
        canvas = ImageDraw.Draw(picture)
        points = rng.uniform((6, 6), (size[0] - 7, size[1] - 7), (len(names), 2))
        radius = size[0] / 20
        for (u, v), colour in zip(points, COLOURS, strict=False):
            canvas.ellipse([u - radius, v - radius, u + radius, v + radius], fill=colour)
        picture.save(folder / f"{i:03d}.png")
        images.append({"id": i, "file_name": f"{i:03d}.png", "width": size[0], "height": size[1]})
        entry = {
            "id": i, "image_id": i, "category_id": 1,
            "keypoints": [float(x) for u, v in points for x in (u, v, 2)],
        }  # fmt: skip
        if covariance is not None:
            entry["keypoint_covariances"] = [[[covariance, 0.0], [0.0, covariance]]] * len(names)
        annotations.append(entry)
    categories = [{"id": 1, "name": "dots", "keypoints": list(names)}]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(document), encoding="utf-8")
    return folder
