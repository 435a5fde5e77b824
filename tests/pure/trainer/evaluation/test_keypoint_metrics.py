# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures of localisation, against numpy, numerical integration and pycocotools."""

from __future__ import annotations

import contextlib
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from robot_keypoints.trainer.datasets.keypoint_matching import Truth
from robot_keypoints.trainer.evaluation import coco_oks, keypoint_metrics
from robot_keypoints.trainer.evaluation.keypoint_metrics import Measurement

RNG = np.random.default_rng(5)


def errors(*shape: int) -> np.ndarray:
    """Skewed errors, a fifth of them unknown."""
    found = RNG.lognormal(0.3, 1.1, shape)
    return np.where(RNG.random(shape) < 0.2, np.nan, found)


def test_errors_are_distances_over_the_diagonal() -> None:
    true = np.array([[[10.0, 20.0], [-0.5, 0.0], [-0.6, 0.0], [29.5, 5.0], [np.nan, 1.0]]])
    found = keypoint_metrics.errors_percent(true + np.array([3.0, 4.0]), true, 30, 40)
    assert found[0, :2] == pytest.approx([10.0, 10.0])  # 5 pixels of 50
    assert np.isnan(found[0, 2:]).all()  # the image ends at 29.5


def test_distributions_are_numpys() -> None:
    e = errors(300, 4)
    known = e[~np.isnan(e)]
    found = keypoint_metrics.distribution(e)
    assert found is not None and found["count"] == known.size
    assert found["mean"] == pytest.approx(np.nanmean(e)) and found["median"] == pytest.approx(np.nanmedian(e))
    assert found["deviation"] == pytest.approx(np.nanstd(e)) and found["largest"] == known.max()
    for q, value in found["quantiles"].items():
        assert value == pytest.approx(np.quantile(known, int(q) / 100))
    assert keypoint_metrics.distribution(np.full((3, 2), np.nan)) is None
    json.dumps(found, allow_nan=False)


def test_the_area_is_the_integral_of_the_curve() -> None:
    e = errors(500, 3)
    thresholds, shares = keypoint_metrics.pck_curve(e, 10.0, 20001)
    steps = (shares[1:] + shares[:-1]) / 2 * np.diff(thresholds)
    assert keypoint_metrics.pck_area(e, 10.0) == pytest.approx(steps.sum() / 10, abs=1e-4)
    known = e[~np.isnan(e)]
    for t, share in zip(thresholds[::4000], shares[::4000], strict=True):
        assert share == pytest.approx((known <= t).mean())
    assert keypoint_metrics.pck_area(np.array([0.0, 10.0, 99.0, 5.0])) == pytest.approx((1 + 0 + 0 + 0.5) / 4)
    assert keypoint_metrics.pck_area(np.array([np.nan])) is None


def test_detection_counts_who_is_claimed() -> None:
    confidences = np.array([0.9, 0.5, 0.49, 0.8, 0.1, 0.99])
    visibility = np.array([2, 1, 2, 0, 0, -1])
    found = keypoint_metrics.detection(confidences, visibility)
    assert (found["inside"], found["outside"]) == (3, 2)
    assert found["found"] == pytest.approx(2 / 3) and found["false_positives"] == pytest.approx(1 / 2)
    assert keypoint_metrics.detection(confidences[:1], visibility[:1])["false_positives"] is None


def test_measures_are_split_by_keypoint_and_by_sight() -> None:
    percent, visibility = errors(200, 3), RNG.integers(1, 3, (200, 3))
    percent[:, 2] = np.nan
    visibility = np.where(np.isnan(percent), 0, visibility)
    measured = Measurement(("a", "b", "c"), percent, percent * 2, visibility, np.ones((200, 3)))
    document = json.loads(json.dumps(measured.to_dict(), allow_nan=False))
    assert document["keypoints_measured"] == 2 and document["per_keypoint"]["c"]["percent"] is None
    assert document["per_keypoint"]["b"]["percent"]["mean"] == pytest.approx(np.nanmean(percent[:, 1]))
    assert document["pixels"]["median"] == pytest.approx(2 * np.nanmedian(percent))
    assert document["visible"]["mean"] == pytest.approx(percent[visibility == 2].mean())
    assert document["hidden"]["count"] == (visibility == 1).sum()
    assert document["pck"]["2"] == pytest.approx((percent[visibility > 0] <= 2).mean())
    assert document["per_keypoint"]["a"]["detection"]["found"] == 1.0
    assert document["detection"]["false_positives"] == 1.0


def similarity(truth: Truth, found: np.ndarray, sigmas: np.ndarray) -> float:
    """OKS as COCO defines it."""
    seen = truth.visibility > 0
    squares = ((found - truth.points) ** 2).sum(-1)[seen]
    assert truth.area is not None
    return float(np.exp(-squares / (2 * truth.area * (2 * sigmas[seen]) ** 2)).mean())


def test_oks_is_cocos(tmp_path: Path) -> None:
    n, j = 40, 5
    sigmas = RNG.uniform(0.03, 0.1, j)
    points = RNG.uniform(20, 180, (n, j, 2))
    visibility = RNG.integers(0, 3, (n, j))
    visibility[0] = 0
    shown = np.where((visibility > 0)[..., None], points, np.nan)
    truths = [Truth(shown[i], visibility[i], 9000.0 + 50 * i, False) for i in range(n)]
    found = points + RNG.normal(0, 1, (n, j, 2)) * RNG.uniform(1, 12, (n, 1, 1))
    confidences = RNG.uniform(0.2, 1, (n, j))
    mine = coco_oks.average_precision(truths, [(200, 200)] * n, found, confidences, list(sigmas))

    # The same from a file and by COCO's own reading of it.
    document = {
        "images": [{"id": i} for i in range(n)], "categories": [{"id": 7, "name": "arm"}],
        "annotations": [
            {
                "id": i + 1, "image_id": i, "category_id": 7, "iscrowd": 0, "area": truths[i].area,
                "bbox": [0, 0, 1, 1],
                "num_keypoints": int((visibility[i] > 0).sum()),
                "keypoints": np.c_[np.nan_to_num(shown[i]), visibility[i]].ravel().tolist(),
            }
            for i in range(n) if (visibility[i] > 0).any()
        ],
    }  # fmt: skip
    (tmp_path / "truth.json").write_text(json.dumps(document), encoding="utf-8")
    results = [
        {
            "image_id": i, "category_id": 7, "score": float(confidences[i].mean()),
            "keypoints": np.c_[found[i], np.ones(j)].ravel().tolist(),
        }
        for i in range(n)
    ]  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(tmp_path / "truth.json"))
        evaluation = COCOeval(coco, coco.loadRes(results), "keypoints")
        evaluation.params.kpt_oks_sigmas = sigmas
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert 0.05 < mine["AP"] < 0.95  # type: ignore[operator]
    assert mine["AP"] == pytest.approx(evaluation.stats[0]) and mine["AR50"] == pytest.approx(evaluation.stats[6])
    assert mine["AP medium"] is None or mine["AP medium"] == pytest.approx(evaluation.stats[3])
    # And recall by the formula: with one robot in each image it is the share that is similar enough.
    close = [similarity(truths[i], found[i], sigmas) for i in range(n) if (visibility[i] > 0).any()]
    assert mine["AR50"] == pytest.approx(np.mean(np.array(close) >= 0.5))


def test_oks_of_nothing_is_nothing() -> None:
    truth = Truth(np.full((2, 2), np.nan), np.zeros(2, np.int64), None, False)
    found = coco_oks.average_precision([truth], [(10, 10)], np.zeros((1, 2, 2)), np.zeros((1, 2)), [0.05, 0.05])
    assert set(found.values()) == {None}


def test_the_diagonal_is_the_images_own() -> None:
    assert keypoint_metrics.errors_percent(np.array([[[1.0, 0]]]), np.zeros((1, 1, 2)), 3, 4)[0, 0] == 100 / math.hypot(
        3, 4
    )
