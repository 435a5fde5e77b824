# SPDX-License-Identifier: GPL-3.0-or-later
"""Lens distortion agrees with OpenCV's, forwards, backwards and on whole pictures."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from cameras import places, random_camera
from robot_keypoints.core.camera.distortion import LEAST_SCALE, Lens
from robot_keypoints.core.camera.image_resampling import Resampler
from robot_keypoints.core.camera.intrinsics import Intrinsics


@pytest.mark.parametrize("seed", range(20))
def test_projection_is_opencvs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    k = random_camera(rng)
    points = rng.uniform((-0.6, -0.5, 1), (0.6, 0.5, 1), (300, 3)) * rng.uniform(0.3, 8, (300, 1))
    ours, depth = k.project(points)
    theirs, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), k.matrix, np.array(k.distortion))
    seen = ~np.isnan(ours[:, 0])
    assert seen.mean() > 0.9
    np.testing.assert_allclose(ours[seen], theirs[seen, 0], atol=1e-9)
    np.testing.assert_array_equal(depth, points[:, 2])


@pytest.mark.parametrize("seed", range(20))
def test_undistortion_undoes_opencvs_distortion(seed: int) -> None:
    rng = np.random.default_rng(seed)
    k = random_camera(rng)
    plane = rng.uniform((-0.6, -0.5, 1), (0.6, 0.5, 1), (300, 3))
    plane = plane[np.hypot(plane[:, 0], plane[:, 1]) < k.lens.limit - 0.01]
    shown, _ = cv2.projectPoints(plane, np.zeros(3), np.zeros(3), k.matrix, np.array(k.distortion))
    expected = plane @ k.matrix.T
    np.testing.assert_allclose(k.undistort(shown[:, 0]), expected[:, :2], atol=1e-5)


def test_a_pinhole_changes_nothing() -> None:
    points = np.random.default_rng(0).normal(0, 2, (50, 2))
    assert Lens().straight and Lens().limit == math.inf
    np.testing.assert_array_equal(Lens().distort(points), points)
    np.testing.assert_array_equal(Lens().undistort(points), points)


def test_what_folds_back_is_not_shown() -> None:
    lens = Lens(k1=-0.3)
    k = Intrinsics(640, 480, 400, 400, 319.5, 239.5, (-0.3, 0, 0, 0, 0))
    fold = 1 / math.sqrt(0.9)
    assert lens.limit == pytest.approx(math.sqrt((1 - LEAST_SCALE) / 0.9))
    assert lens.limit < fold
    # Without the limit a point far beyond the fold would come back to the middle of the image.
    far = np.array([[1.8, 0.0, 1.0]])
    theirs, _ = cv2.projectPoints(far, np.zeros(3), np.zeros(3), k.matrix, np.array(k.distortion))
    assert 0 < theirs[0, 0, 0] < 640
    uv, depth = k.project(far)
    assert np.isnan(uv).all() and depth[0] == 1.0 and not k.contains(uv)[0]
    inside = np.array([[lens.limit - 1e-6, 0.0]])
    np.testing.assert_allclose(lens.undistort(lens.distort(inside)), inside, atol=1e-6)
    assert np.isnan(lens.undistort([[lens.shown_limit + 1e-4, 0.0]])).all()


@pytest.mark.parametrize("seed", range(60))
def test_every_point_that_is_shown_is_shown_once(seed: int) -> None:
    """No two points share a pixel, whatever the coefficients."""
    rng = np.random.default_rng(seed)
    lens = Lens(*rng.normal(0, (0.5, 0.5, 0.02, 0.02, 0.2)))
    points = rng.uniform(-2, 2, (2000, 2))
    shown = lens.distort(points)
    seen = ~np.isnan(shown[:, 0])
    assert seen.any()
    near = np.hypot(*points.T) < 0.97 * lens.limit
    np.testing.assert_allclose(lens.undistort(shown[seen & near]), points[seen & near], atol=1e-6)


@pytest.mark.parametrize("seed", range(25))
def test_the_picture_is_taken_from_where_the_lens_looks(seed: int) -> None:
    """A pinhole picture whose colours are its own coordinates shows where each pixel was taken from."""
    rng = np.random.default_rng(100 + seed)
    k = random_camera(rng)
    r = Resampler(k)
    exact = places(k, r.left, r.top)
    nothing = np.isnan(exact[..., 0])
    assert (exact[~nothing] > -1e-3).all() and (exact[~nothing] < (r.width - 1, r.height - 1)).all()
    grid = np.stack(np.meshgrid(np.arange(r.width), np.arange(r.height)), axis=2)
    pinhole = np.full((r.height, r.width, 4), 255, np.uint8)
    pinhole[..., :2] = grid
    picture = r.picture(pinhole)
    np.testing.assert_array_equal(picture[..., 3], np.where(nothing, 0, 255))
    # Smooth colours: bilinear interpolation is exact up to rounding, so a wrong place would show.
    assert abs(picture[..., :2] - exact)[~nothing].max() < 1.05
    assert abs((picture[..., :2] - exact)[~nothing].mean()) < 0.06
    numbers = r.nearest((grid[..., 0] + r.width * grid[..., 1]).astype(np.uint16))
    taken = np.stack([numbers % r.width, numbers // r.width], axis=2)
    assert abs(taken - exact)[~nothing].max() < 0.51


def test_a_picture_agrees_with_opencvs() -> None:
    rng = np.random.default_rng(5)
    k = Intrinsics.from_lens(160, 120, 30, principal=(0.03, -0.02), distortion=(-0.15, 0.03, 0.002, -0.003, 0.0))
    r = Resampler(k)
    assert r.width > 160 and r.height > 120 and r.left > 0 and r.top > 0
    pinhole = rng.integers(0, 256, (r.height, r.width, 4), dtype=np.uint8)
    pinhole[..., 3] = 255
    maps = places(k, r.left, r.top).astype(np.float32)
    theirs = cv2.remap(pinhole, maps[..., 0], maps[..., 1], cv2.INTER_LINEAR)
    # OpenCV rounds to thirty-seconds of a pixel.
    difference = abs(r.picture(pinhole).astype(int) - theirs)
    assert difference.mean() < 1.5 and difference.max() < 20


def test_colours_do_not_bleed_out_of_what_is_transparent() -> None:
    k = Intrinsics.from_lens(64, 48, 30, distortion=(-0.15, 0.0, 0.0, 0.0, 0.0))
    r = Resampler(k)
    pinhole = np.zeros((r.height, r.width, 4), np.uint8)
    pinhole[...] = (0, 255, 0, 0)
    pinhole[r.height // 3 : -10, r.width // 4 : -12] = (200, 0, 40, 255)
    pinhole[20, 25] = (200, 0, 40, 100)
    picture = r.picture(pinhole)
    edge = (picture[..., 3] > 20) & (picture[..., 3] < 255)
    assert edge.sum() > 20
    assert abs(picture[edge].astype(int) - (200, 0, 40, 0))[:, :3].max() <= 8
    assert (picture[picture[..., 3] == 0] == 0).all()
    full = picture[..., 3] == 255
    assert abs(picture[full].astype(int) - (200, 0, 40, 255)).max() <= 1


def test_a_mostly_empty_picture_is_bent_as_a_full_one() -> None:
    rng = np.random.default_rng(3)
    for _ in range(40):
        principal = (float(rng.uniform(-0.05, 0.05)), float(rng.uniform(-0.05, 0.05)))
        distortion = (float(rng.uniform(-0.4, 0.2)), 0.0, 0.01, -0.01, 0.0)
        r = Resampler(Intrinsics.from_lens(64, 48, 28.0, 36.0, principal=principal, distortion=distortion))
        some = np.zeros((r.height, r.width, 4), np.uint8)
        (left, right), (top, bottom) = (np.sort(rng.choice(np.arange(4, n - 3), 2, False)) for n in (r.width, r.height))
        some[top:bottom, left:right] = rng.integers(1, 256, (bottom - top, right - left, 4))
        # A pixel in each corner, so that the whole picture is looked at.
        framed = some.copy()
        framed[:: r.height - 1, :: r.width - 1] = 255
        corners = np.zeros_like(some)
        corners[:: r.height - 1, :: r.width - 1] = 255
        elsewhere = r.picture(corners)[..., 3] == 0
        assert np.array_equal(r.picture(some)[elsewhere], r.picture(framed)[elsewhere])
        assert r.picture(some)[elsewhere].any()
    assert not r.picture(np.zeros_like(some)).any()


def test_pixels_the_lens_does_not_show_are_empty() -> None:
    k = Intrinsics.from_lens(160, 120, 20, distortion=(-0.3, 0.0, 0.0, 0.0, 0.0))
    r = Resampler(k)
    picture = r.picture(np.full((r.height, r.width, 4), 255, np.uint8))
    numbers = r.nearest(np.full((r.height, r.width), 7, np.uint16))
    expected = np.isnan(places(k)[..., 0])
    assert 0.02 < expected.mean() < 0.6
    np.testing.assert_array_equal(picture[..., 3] == 0, expected)
    np.testing.assert_array_equal(numbers, np.where(expected, 0, 7))
