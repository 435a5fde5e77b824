# SPDX-License-Identifier: GPL-3.0-or-later
"""COCO's average precision by object keypoint similarity [Lin2014], computed by ``pycocotools``."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..datasets.keypoint_matching import Truth

MEASURES = ("AP", "AP50", "AP75", "AP medium", "AP large", "AR", "AR50", "AR75", "AR medium", "AR large")


def average_precision(
    truths: Sequence[Truth], sizes: Sequence[tuple[int, int]], predicted: NDArray[np.float64],
    confidences: NDArray[np.float64], sigmas: Sequence[float],
) -> dict[str, float | None]:  # fmt: skip
    """COCO's ten measures; one robot in each image, whose score is the mean confidence of its keypoints.

    Args:
        truths, sizes: of N images; width and height.
        predicted: pixels ``(N, J, 2)``.
        confidences: ``(N, J)``.
        sigmas: of J keypoints.

    Returns:
        By name; None where COCO has nothing to measure (no robots of that size).

    Raises:
        ImportError: if ``pycocotools`` is missing.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for i, (truth, (width, height)) in enumerate(zip(truths, sizes, strict=True), 1):
        images.append({"id": i, "width": width, "height": height})
        seen = truth.visibility > 0
        if seen.any():
            keypoints = np.concatenate(
                [np.where(seen[:, None], truth.points, 0.0), np.where(seen, truth.visibility, 0)[:, None]], 1
            )
            left, top = truth.points[seen].min(0).tolist()
            right, bottom = truth.points[seen].max(0).tolist()
            annotations.append({
                "id": len(annotations) + 1, "image_id": i, "category_id": 1, "iscrowd": 0,
                "num_keypoints": int(seen.sum()), "keypoints": keypoints.ravel().tolist(), "area": truth.area or 1.0,
                "bbox": [left, top, right - left + 1, bottom - top + 1],
            })  # fmt: skip
        found = np.concatenate([predicted[i - 1], np.ones((len(seen), 1))], 1)
        score = float(confidences[i - 1].mean())
        results.append({"image_id": i, "category_id": 1, "keypoints": found.ravel().tolist(), "score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {}, "images": images, "annotations": annotations, "categories": [{"id": 1, "name": "robot"}]
        }  # fmt: skip
        coco.createIndex()
        if not annotations:
            return dict.fromkeys(MEASURES)
        evaluation = COCOeval(coco, coco.loadRes(results), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.asarray(sigmas, float)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # COCO says -1 where it has nothing to measure.
    return {name: float(v) if v >= 0 else None for name, v in zip(MEASURES, evaluation.stats, strict=True)}
