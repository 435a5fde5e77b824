# SPDX-License-Identifier: GPL-3.0-or-later
"""Projection and orbiting poses keep the project's conventions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from robot_keypoints.core.camera.intrinsics import BLENDER_FROM_OPENCV, Intrinsics, invert, orbit, transform


def test_x_is_right_y_is_down_z_is_forward() -> None:
    k = Intrinsics(160, 120, 100.0, 110.0, 79.5, 59.5)
    uv, depth = k.project([(0, 0, 2), (1, 0, 2), (0, 1, 2)])
    np.testing.assert_allclose(uv, [(79.5, 59.5), (129.5, 59.5), (79.5, 114.5)])
    np.testing.assert_allclose(depth, 2.0)


def test_projection_is_the_camera_matrix() -> None:
    k = Intrinsics(640, 480, 500.0, 510.0, 300.0, 250.0)
    points = np.random.default_rng(1).normal((0, 0, 4), 1, (100, 3))
    homogeneous = points @ k.matrix.T
    np.testing.assert_allclose(k.project(points)[0], homogeneous[:, :2] / homogeneous[:, 2:])


def test_points_behind_the_camera_have_no_pixels() -> None:
    k = Intrinsics.from_lens(160, 120, 35)
    uv, depth = k.project([(0, 0, -1), (0, 0, 0), (0.1, 0.1, 1)])
    assert np.isnan(uv[:2]).all() and np.isfinite(uv[2]).all()
    assert depth.tolist() == [-1, 0, 1]
    assert k.contains(uv).tolist() == [False, False, True]


def test_image_area_begins_half_a_pixel_before_the_first_centre() -> None:
    k = Intrinsics.from_lens(4, 3, 35)
    inside = [(-0.5, -0.5), (3.49, 2.49), (0, 0)]
    outside = [(-0.51, 0), (0, -0.51), (3.5, 0), (0, 2.5), (math.nan, 0)]
    assert k.contains(inside).all() and not k.contains(outside).any()


def test_lens_spans_the_longer_side() -> None:
    wide, tall = Intrinsics.from_lens(200, 100, 36.0), Intrinsics.from_lens(100, 200, 36.0)
    assert wide.fx == wide.fy == tall.fx == 200.0
    assert (wide.cx, wide.cy) == (99.5, 49.5)
    # A point on the edge of a 36 mm sensor behind a 36 mm lens lies at 45°/2 · 2: tan = 0.5.
    np.testing.assert_allclose(wide.project([(0.5, 0, 1)])[0], [(199.5, 49.5)])


@pytest.mark.parametrize("seed", range(30))
def test_orbit_looks_at_its_target(seed: int) -> None:
    rng = np.random.default_rng(seed)
    azimuth, roll = rng.uniform(-math.pi, math.pi, 2)
    elevation = rng.uniform(-1.5, 1.5)
    distance, target = rng.uniform(0.5, 5), rng.normal(0, 1, 3)
    pose = orbit(azimuth, elevation, distance, roll, target)
    np.testing.assert_allclose(pose[:3, :3].T @ pose[:3, :3], np.eye(3), atol=1e-12)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0)
    np.testing.assert_allclose(transform(invert(pose), [target]), [(0, 0, distance)], atol=1e-9)
    assert np.linalg.norm(pose[:3, 3] - target) == pytest.approx(distance)
    assert math.asin((pose[2, 3] - target[2]) / distance) == pytest.approx(elevation)
    assert math.atan2(pose[1, 3] - target[1], pose[0, 3] - target[0]) == pytest.approx(azimuth)


def test_up_is_up_without_roll() -> None:
    k = Intrinsics.from_lens(160, 120, 35)
    pose = orbit(0.7, 0.4, 3.0, 0.0, (0, 0, 0))
    above, left_of = (0, 0, 0.1), 0.1 * np.array([math.sin(0.7), -math.cos(0.7), 0])
    uv, _ = k.project(transform(invert(pose), [(0, 0, 0), above, left_of]))
    assert uv[1, 1] < uv[0, 1] and uv[1, 0] == pytest.approx(uv[0, 0])
    assert uv[2, 0] < uv[0, 0] and uv[2, 1] == pytest.approx(uv[0, 1])


def test_roll_turns_the_camera_clockwise_in_its_own_image() -> None:
    """The camera's axes turn from right towards down; what it sees turns the other way."""
    k = Intrinsics.from_lens(160, 120, 35)
    straight, rolled = (orbit(0.3, 0.2, 3.0, r, (0, 0, 0)) for r in (0.0, 0.25))
    np.testing.assert_allclose(rolled[:3, 0], math.cos(0.25) * straight[:3, 0] + math.sin(0.25) * straight[:3, 1])
    up = k.project(transform(invert(rolled), [(0, 0, 0), (0, 0, 0.2)]))[0]
    dx, dy = up[1] - up[0]
    assert math.atan2(dx, -dy) == pytest.approx(-0.25, abs=0.01)


def test_blender_cameras_look_along_minus_z() -> None:
    np.testing.assert_array_equal(BLENDER_FROM_OPENCV @ [0, 0, 1, 0], [0, 0, -1, 0])
    np.testing.assert_array_equal(BLENDER_FROM_OPENCV @ [0, 1, 0, 0], [0, -1, 0, 0])
    np.testing.assert_array_equal(BLENDER_FROM_OPENCV @ BLENDER_FROM_OPENCV, np.eye(4))


def test_invert() -> None:
    pose = orbit(1, 0.5, 2, 0.3, (0.1, 0.2, 0.3))
    np.testing.assert_allclose(invert(pose) @ pose, np.eye(4), atol=1e-12)
