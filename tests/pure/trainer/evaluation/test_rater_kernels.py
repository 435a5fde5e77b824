# SPDX-License-Identifier: GPL-3.0-or-later
"""People's spread on a photograph: kernels of the right place, size and direction."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from robot_keypoints.trainer.datasets.annotations import Item
from robot_keypoints.trainer.evaluation import rater_kernels
from robot_keypoints.trainer.evaluation.rater_spread import Ratings


def people(count: int, covariance: list[list[float]], seed: int = 0) -> np.ndarray:
    """Places ``(count, 1, 2)`` around (320, 240)."""
    return np.random.default_rng(seed).multivariate_normal((320.0, 240.0), covariance, count)[:, None]


def test_a_kernel_has_the_mean_and_covariance_of_the_people() -> None:
    points = np.concatenate([people(400, [[90.0, 40.0], [40.0, 30.0]]), np.full((400, 2, 2), np.nan)], 1)
    points[0, 1] = (5.0, 5.0)  # one person alone has no spread
    means, covariances = rater_kernels.kernels(points)
    assert means[0] == pytest.approx(points[:, 0].mean(0))
    assert covariances[0] == pytest.approx(np.cov(points[:, 0].T))
    assert np.isnan(means[1:]).all() and np.isnan(covariances[1:]).all()


def test_people_who_agree_have_a_kernel_that_can_be_seen() -> None:
    _, covariances = rater_kernels.kernels(np.full((3, 1, 2), 7.0))
    assert covariances[0] == pytest.approx(np.eye(2) * rater_kernels.LEAST_DEVIATION**2)


def glow(covariance: list[list[float]]) -> np.ndarray:
    """How much colour each pixel of the drawing has, for one keypoint without a name."""
    black = np.zeros((480, 640, 3), np.uint8)
    drawn = np.asarray(Image.open(io.BytesIO(rater_kernels.draw(black, people(200, covariance), ("",)))), float)
    assert drawn.shape == (960, 1280, 3)
    return np.asarray(drawn.max(-1) - drawn.min(-1))  # the people's own dots are white


def test_what_is_drawn_spreads_as_the_people_do() -> None:
    wide, high = glow([[400.0, 0.0], [0.0, 25.0]]), glow([[25.0, 0.0], [0.0, 400.0]])
    v, u = np.indices(wide.shape)
    for picture, deviations in ((wide, (40.0, 10.0)), (high, (10.0, 40.0))):
        for axis, middle, deviation in ((u, 640.0, deviations[0]), (v, 480.0, deviations[1])):
            mean = (picture * axis).sum() / picture.sum()
            spread = np.sqrt((picture * (axis - mean) ** 2).sum() / picture.sum())
            assert mean == pytest.approx(middle, abs=8) and spread == pytest.approx(deviation, rel=0.25)


def test_kernels_beyond_the_edge_and_hostile_names() -> None:
    points = np.array([[[-500.0, 3.0], [0.0, 0.0]], [[-520.0, 9.0], [1e300, 1.0]]])
    drawn = rater_kernels.draw(np.zeros((9, 12, 3), np.uint8), points, ("\x1b[31m" * 100, "$\\frac$"))
    assert Image.open(io.BytesIO(drawn)).size == (1280, 960)


def test_the_photograph_with_most_annotations_is_drawn(tmp_path: Path) -> None:
    points = np.full((3, 3, 2, 2), np.nan)
    points[:2, 0], points[:3, 1], points[:1, 2] = 5.0, 5.0, 5.0
    items = []
    for i in range(3):
        Image.new("RGB", (20, 10)).save(tmp_path / f"{i}.png")
        items.append(Item(f"{i}.png", tmp_path / f"{i}.png", 20, 10, ()))
    ratings = Ratings(("a", "b", "c"), tuple(items), points, np.full((3, 3, 2), 2), ("foot", "hand"))
    assert rater_kernels.most_annotated(ratings, 2) == [1, 0]
    assert rater_kernels.write(tmp_path / "spread.png", ratings) == "1.png"
    assert Image.open(tmp_path / "spread.png").size == (1280, 640)
